//! Holds the statements of this back end to one plan each: SQLite must not plan a cached statement again at its next use.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{
    Connection, StatementStatus,
    trace::{TraceEvent, TraceEventCodes},
};
use souk_domain::{ItemId, OrderId, Place, RequestId, RideId, Sequence, Stars, TimeRange, Timestamp, action};
use uuid::Uuid;

use super::open;
use crate::{
    ByReliability, DueQuery, FeedPosition, Fix, ItemQuery, Lane, LeaseOwner, OrderQuery, OrdersOf, Retention,
    Settlement, Store, SweepPlace, SweepProgress, SweepRequest, Verdict,
    fixture::{self, ALICE, BOB, ITEM, NOW, act, buy},
};

/// By statement: how often it ran, and how often it was planned again.
static SEEN: Mutex<BTreeMap<String, (u32, i32)>> = Mutex::new(BTreeMap::new());

/// What a thread's statements have cost.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    /// How many ran.
    pub(super) statements: u64,
    /// The steps that they took on SQLite's virtual machine.
    pub(super) steps: u64,
}

thread_local! {
    static COST: Cell<Cost> = const { Cell::new(Cost { statements: 0, steps: 0 }) };
    /// The steps that each statement has taken since it was prepared.
    static STEPS: RefCell<HashMap<String, i32>> = RefCell::default();
}

/// Returns what this thread's statements have cost since the last call.
pub(super) fn take_cost() -> Cost {
    COST.take()
}

/// Reports the statements of a connection to this test as they end.
pub(super) fn watch(connection: &mut Connection) {
    let record = |event: TraceEvent<'_>| {
        if let TraceEvent::Profile(statement, _) = event {
            let steps = statement.get_status(StatementStatus::VmStep);
            let before = STEPS.with_borrow_mut(|all| all.insert(statement.sql().into_owned(), steps));
            // Fewer than before: it was prepared again.
            let taken = before.filter(|before| *before <= steps).map_or(steps, |before| steps - before);
            let cost = COST.get();
            let steps = cost.steps + u64::try_from(taken).unwrap_or(0);
            COST.set(Cost { statements: cost.statements + 1, steps });
            let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = seen.entry(statement.sql().into_owned()).or_default();
            entry.0 += 1;
            entry.1 = entry.1.max(statement.get_status(StatementStatus::RePrepare));
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(record)).unwrap();
}

const LONG: Duration = Duration::from_secs(3_600);

async fn write(lane: &mut Box<dyn Lane>, round: u128) {
    act(lane, round + 1, BOB, buy(ITEM)).await;
    act(lane, round + 2, BOB, action::Wish { item: ITEM }).await;
    act(lane, round + 3, BOB, action::Unwish { item: ITEM }).await;
    let stars = Stars::parse(5).unwrap();
    act(lane, round + 4, BOB, action::Rate { item: ITEM, stars, update_existing: true }).await;
    let order = OrderId(i64::try_from(round / 100).unwrap());
    act(lane, round + 5, BOB, action::Cancel { order }).await;
}

async fn read(store: &Store) {
    let reads = &store.reads;
    reads.party(ALICE).await.unwrap();
    reads.raised_epochs().await.unwrap();
    reads.parties(Some(ALICE), false, 10).await.unwrap();
    reads.audit(0, 10).await.unwrap();
    reads.audit_head().await.unwrap();
    reads.item(ITEM).await.unwrap();
    reads.items(&[ITEM]).await.unwrap();
    let (seller, after) = (ALICE, Some(ItemId(0)));
    reads.seller_items(&ItemQuery { seller, withdrawn: false, after, limit: 10 }).await.unwrap();
    reads.order(OrderId(1)).await.unwrap();
    let placed = TimeRange::ALL;
    for of in [OrdersOf::Buyer(BOB), OrdersOf::Seller(ALICE)] {
        let query = OrderQuery { of, item: None, status: None, placed, before: None, limit: 10 };
        reads.orders(&query).await.unwrap();
    }
    reads.ride(RideId(Uuid::nil())).await.unwrap();
    reads.tills(ALICE).await.unwrap();
    reads.sales_summary(ALICE, placed, 10).await.unwrap();
    reads.wishlist(BOB, None, 10).await.unwrap();
    reads.item_feed(FeedPosition(0), 10).await.unwrap();
    reads.feed_end().await.unwrap();
    reads.request(BOB, RequestId(Uuid::nil())).await.unwrap();
    reads.totals().await.unwrap();
    sweep(store).await;
}

async fn sweep(store: &Store) {
    let ranking = &store.ranking;
    for day in [1, 2] {
        let request = SweepRequest { day, now: Timestamp(NOW.0 * day), lease: Duration::ZERO };
        let look = ranking.claim_sweep(request).await.unwrap();
        ranking.sweep(day, SweepPlace::START).await.unwrap();
        let progress = SweepProgress::Through(SweepPlace::START, NOW);
        ranking.advance_sweep(look.mark.epoch, progress).await.unwrap();
    }
}

async fn deliver(store: &Store) {
    let mailboxes = &store.mailboxes;
    let owner = LeaseOwner(Uuid::from_u128(7));
    let due = DueQuery { owner, now: NOW, lease: LONG, mailboxes: ByReliability::each(10), deliveries: 10 };
    for claim in mailboxes.claim_due(&due).await.unwrap() {
        let verdict = Verdict::Released;
        let settlement = Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict };
        mailboxes.settle(&[settlement]).await.unwrap();
    }
    mailboxes.next_due(ByReliability::each(1), NOW).await.unwrap();
    mailboxes.acknowledge(ALICE, Sequence(1)).await.unwrap();
    mailboxes.state(ALICE).await.unwrap();
    mailboxes.probe(ALICE, NOW).await.unwrap();
    mailboxes.expand(10).await.unwrap();
    mailboxes.expire(NOW, Retention { updates: LONG, orders: LONG }, 10).await.unwrap();
    mailboxes.forget_requests(Timestamp(0), 10).await.unwrap();
    mailboxes.forget_events(Timestamp(0), 10).await.unwrap();
    mailboxes.remove_acknowledged(10).await.unwrap();
    mailboxes.due(NOW).await.unwrap();
    let ride = RideId(Uuid::from_u128(9));
    let place = Place::parse(48.0, 11.0).unwrap();
    store.tracks.lengthen(ride, &[Fix { place, at: NOW }], NOW).await.unwrap();
    store.tracks.last(ride, 10).await.unwrap();
    store.tracks.after(ride, 0, 10).await.unwrap();
    store.tracks.forget(Timestamp(0), 10).await.unwrap();
}

#[tokio::test]
async fn a_cached_statement_is_planned_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("shop.db")).unwrap();
    let mut lane = store.lanes.remove(0);
    fixture::open(&mut lane).await;
    // Three times: once to fill the cache, and a first use of what is cached may count as new.
    for round in 1..=3 {
        write(&mut lane, round * 100).await;
        read(&store).await;
        deliver(&store).await;
    }
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let repeated: Vec<_> = seen.iter().filter(|(_, (runs, _))| *runs > 1).collect();
    assert!(repeated.len() >= 40, "only {} statements ran more than once", repeated.len());
    let replanned: Vec<_> = repeated.iter().filter(|(_, (_, replans))| *replans > 0).collect();
    assert!(replanned.is_empty(), "planned again: {replanned:#?}");
}

#[test]
fn memory_statistics_are_off() {
    // Set by `.cargo/config.toml` when the bundled SQLite is compiled.
    let connection = Connection::open_in_memory().unwrap();
    let sql = "SELECT count(*) FROM pragma_compile_options WHERE compile_options = 'DEFAULT_MEMSTATUS=0'";
    let count: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1, "SQLite counts its memory under one lock for all connections");
}

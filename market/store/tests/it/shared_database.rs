//! Promises that only a store shared by several markets makes.

use std::time::Duration;

use souk_domain::{
    Action, CancelReason, Command, Context, EventId, ItemId, Keys, Outcome, Role, SuspensionReason,
    WorkingSet, action, decide,
};
use souk_store::{
    FeedPosition, SaveError, StoreError,
    postgres::{self, PostgresOptions},
};
use uuid::Uuid;

use super::{ALICE, BOB, DAVE, Shop, buy, party, register, reprice};
use souk_testkit::{eventually, postgres::Database};

/// The first request number of the second market, far from those of the first.
const OTHERS: u128 = 1 << 64;

macro_rules! postgres_tests {
    ($($name:ident),+ $(,)?) => {
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                if souk_testkit::postgres::is_there() {
                    super::$name().await;
                }
            })+
        }
    };
}

postgres_tests!(
    everything_is_visible_to_another_market,
    same_request_at_two_markets_is_carried_out_once,
    party_is_changed_by_one_market_at_a_time,
    purchases_at_two_markets_take_turns_on_an_item,
    feed_position_is_visible_only_once_nothing_can_precede_it,
    item_never_moves_back_in_the_feed,
    market_polls_even_if_hints_keep_arriving,
    chain_is_unbroken_across_two_markets,
    replay_waits_for_its_own_commit,
    cancelled_wait_for_the_standby_is_not_a_success,
    session_that_was_cut_is_replaced,
    number_assigned_twice_never_overwrites_an_order,
    constraints_keep_the_accounts_balanced,
    foreign_changed_and_newer_databases_are_refused,
    newer_schema_that_allows_it_is_accepted,
    markets_that_start_together_migrate_once,
);

impl Shop {
    /// Loads and decides a command, but does not save it.
    async fn decided(&mut self, command: &Command) -> WorkingSet {
        let mut keys = Keys::default();
        command.add_keys(&mut keys);
        let mut rows = self.lane.load(&keys).await.unwrap();
        let events = &mut self.events;
        let mut event_ids = || {
            *events += 1;
            EventId(Uuid::from_u128(*events))
        };
        let mut context = Context { now: self.now, steady_now: self.now, event_ids: &mut event_ids };
        decide(&mut rows, command, &mut context).unwrap();
        rows
    }

    async fn quantity(&self, item: ItemId) -> i64 {
        self.store.reads.item(item).await.unwrap().unwrap().quantity
    }
}

async fn everything_is_visible_to_another_market() {
    let mut shop = Shop::postgres().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let replay = shop.command(BOB, buy(lamp, 2));
    let (first, _) = shop.batch(std::slice::from_ref(&replay)).await;
    let mut other = shop.beside(OTHERS).await;
    assert_eq!(other.store.reads.totals().await.unwrap(), shop.store.reads.totals().await.unwrap());
    let (again, _) = other.batch(std::slice::from_ref(&replay)).await;
    assert_eq!(first, again, "a request id is remembered");
    assert!(other.lamp(ALICE, 1).await > lamp, "numbers go on");
}

async fn same_request_at_two_markets_is_carried_out_once() {
    let mut shop = Shop::postgres().await;
    let mut other = shop.beside(OTHERS).await;
    // The request's unique key is the only thing that the two have in common.
    let command = shop.command(99, register(Role::Buyer, 99));
    let rows = shop.decided(&command).await;
    let late = other.decided(&command).await;
    shop.lane.save(&rows).await.unwrap();
    let refused = other.lane.save(&late).await;
    assert!(matches!(refused, Err(SaveError::Conflict(_))), "{refused:?}");
    let (again, receipt) = other.batch(std::slice::from_ref(&command)).await;
    assert!(again[0].is_ok() && receipt.is_none(), "it is answered from the record");
    assert_eq!(shop.store.reads.totals().await.unwrap().parties, 5);
}

async fn party_is_changed_by_one_market_at_a_time() {
    let mut shop = Shop::postgres().await;
    let mut other = shop.beside(OTHERS).await;
    let rename = shop.command(ALICE, register(Role::Seller, 77));
    let stale = shop.decided(&rename).await;
    let reason = SuspensionReason::parse("sells what is not theirs").unwrap();
    // The other market's wait for open transactions has a time limit, so this one can stay open.
    other.act(99, Action::Suspend(action::Suspend { party: party(ALICE), reason })).await.unwrap();
    let refused = shop.lane.save(&stale).await;
    assert!(matches!(refused, Err(SaveError::Conflict(_))), "{refused:?}");
    let alice = shop.store.reads.party(party(ALICE)).await.unwrap().unwrap();
    assert!(alice.suspension.is_some(), "a registration does not undo a suspension that it has not seen");
}

async fn purchases_at_two_markets_take_turns_on_an_item() {
    let mut shop = Shop::postgres().await;
    let lamp = shop.lamp(ALICE, 1).await;
    let mut other = shop.beside(OTHERS).await;
    let command = shop.command(BOB, buy(lamp, 1));
    let rows = shop.decided(&command).await;
    let (refused, saved) = tokio::join!(async { (other.act(DAVE, buy(lamp, 1)).await, other) }, async {
        shop.lane.save(&rows).await
    },);
    saved.unwrap();
    assert!(refused.0.is_err(), "the last unit was sold");
    assert_eq!(shop.quantity(lamp).await, 0);
}

/// If a transaction that began earlier commits later, what was committed in between is not visible before.
async fn feed_position_is_visible_only_once_nothing_can_precede_it() {
    let mut shop = Shop::postgres().await;
    let (lamp, chair) = (shop.lamp(ALICE, 9).await, shop.lamp(ALICE, 9).await);
    let seen = shop.store.reads.feed_end().await.unwrap();
    let mut other = shop.beside(OTHERS).await;
    let command = shop.command(ALICE, reprice(lamp, 900));
    let early = shop.decided(&command).await;
    other.act(ALICE, reprice(chair, 800)).await.unwrap();
    let feed = async |shop: &Shop| shop.store.reads.item_feed(seen, 10).await.unwrap();
    assert!(feed(&shop).await.is_empty(), "a reader that saw the later one would miss the earlier one");
    shop.lane.save(&early).await.unwrap();
    let order: Vec<_> = shop.feed(seen, 2).await.iter().map(|entry| entry.item.id).collect();
    assert_eq!(order, [lamp, chair]);
    assert_eq!(shop.feed(FeedPosition(0), 2).await.len(), 2);
}

/// A transaction gets its place in the feed before it has all its locks, so one with a later place may
/// change an item before it.
async fn item_never_moves_back_in_the_feed() {
    let mut early = Shop::postgres().await;
    let (lamp, chair) = (early.lamp(ALICE, 9).await, early.lamp(ALICE, 9).await);
    let Outcome::Order(order) = early.act(BOB, buy(lamp, 1)).await.unwrap() else { panic!("no order") };
    let (mut late, mut slow) = (early.beside(OTHERS).await, early.beside(2 * OTHERS).await);
    let only_lamp = Keys { items: [lamp].into(), ..Keys::default() };
    slow.lane.load(&only_lamp).await.unwrap();

    let command = early.command(ALICE, reprice(chair, 900));
    let mut keys = Keys { items: [lamp].into(), orders: [order.id].into(), ..Keys::default() };
    command.add_keys(&mut keys);
    let database = early.database.take().unwrap();
    let is_waiting = || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        database.execute(waiting).unwrap() == "1"
    };
    let after_late = async {
        eventually("it has the order and waits for the lamp", is_waiting).await;
        late.act(ALICE, reprice(chair, 800)).await.unwrap();
        let end = late.store.reads.feed_end().await.unwrap();
        slow.lane.abandon().await;
        end
    };
    let (loaded, end) = tokio::join!(early.lane.load(&keys), after_late);
    let mut rows = loaded.unwrap();
    let mut event_ids = || EventId(Uuid::from_u128(1 << 100));
    let mut context = Context { now: early.now, steady_now: early.now, event_ids: &mut event_ids };
    decide(&mut rows, &command, &mut context).unwrap();
    early.lane.save(&rows).await.unwrap();

    eventually("the feed has both", async || early.store.reads.feed_end().await.unwrap() == end).await;
    let last = early.feed(FeedPosition(end.0 - 1), 1).await;
    let found: Vec<_> =
        last.iter().map(|entry| (entry.item.id, entry.item.unit_price.amount_minor())).collect();
    assert_eq!(found, [(chair, 900)]);
}

/// Hints that keep arriving must not postpone the poll that makes up for a lost one.
async fn market_polls_even_if_hints_keep_arriving() {
    let shop = Shop::postgres().await;
    let mut other = shop.beside(OTHERS).await;
    let lamp = other.lamp(ALICE, 1_000_000).await;
    let replicas = shop.store.replicas.clone().unwrap();
    assert!(replicas.hint().await.everything, "it has just begun to listen");
    let mut received = 0;
    let looks = async {
        while !replicas.hint().await.everything {
            received += 1;
        }
    };
    let trade = async {
        loop {
            other.act(BOB, buy(lamp, 1)).await.unwrap();
        }
    };
    let looked = async {
        tokio::select! {
            () = looks => {}
            () = trade => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(3), looked).await.expect("it looks");
    assert!(received > 3, "it was notified of sales, {received} times");
}

async fn chain_is_unbroken_across_two_markets() {
    let mut shop = Shop::postgres().await;
    let lamp = shop.lamp(ALICE, 90).await;
    let mut other = shop.beside(OTHERS).await;
    for _ in 0..5 {
        shop.act(BOB, buy(lamp, 1)).await.unwrap();
        other.act(DAVE, buy(lamp, 1)).await.unwrap();
    }
    let (one, two) = tokio::join!(shop.store.reads.audit_head(), other.store.reads.audit_head());
    assert_eq!(one.unwrap(), two.unwrap());
    let mut verifier = souk_store::audit::Verifier::new(None);
    let rows = shop.store.reads.audit(0, 1_000).await.unwrap();
    rows.iter().try_for_each(|row| verifier.check(row)).unwrap();
    assert_eq!(verifier.finish().unwrap().sequence, 4 + 1 + 10);
}

async fn replay_waits_for_its_own_commit() {
    let mut shop = Shop::postgres().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let command = shop.command(BOB, buy(lamp, 1));
    shop.batch(std::slice::from_ref(&command)).await;
    let count =
        |shop: &Shop| shop.database().execute("SELECT coalesce(sum(answers), 0) FROM replay").unwrap();
    assert_eq!(count(&shop), "0");
    let mut keys = Keys::default();
    command.add_keys(&mut keys);
    shop.lane.load(&keys).await.unwrap();
    shop.lane.confirm(1).await.unwrap();
    assert_eq!(count(&shop), "1");
}

/// If the wait of a commit for its standby is cancelled, PostgreSQL reports success with a warning.
async fn cancelled_wait_for_the_standby_is_not_a_success() {
    let database = Database::on_its_own_server();
    let mut shop = Shop::with(database.open().await, None).await;
    let lamp = shop.lamp(ALICE, 5).await;
    let command = shop.command(BOB, buy(lamp, 1));
    let rows = shop.decided(&command).await;
    database.server().set("synchronous_standby_names", "nobody").unwrap();
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let is_cancelled = || async { database.execute(cancel).unwrap() != "0" };
    let (saved, ()) =
        tokio::join!(shop.lane.save(&rows), eventually("it waits for the standby", is_cancelled));
    database.server().set("synchronous_standby_names", "").unwrap();
    assert!(matches!(saved, Err(SaveError::Indefinite(_))), "{saved:?}");
    let (again, _) = shop.batch(std::slice::from_ref(&command)).await;
    assert!(again[0].is_ok());
    assert_eq!(shop.quantity(lamp).await, 4, "it was done, and is not done twice");
}

/// Ends all sessions except its own, and waits until they have ended.
const CUT: &str = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// A server that has restarted, or a standby that took over, does not know numbers that were taken and not
/// committed, and assigns them again.
async fn number_assigned_twice_never_overwrites_an_order() {
    let mut shop = Shop::postgres().await;
    let lamp = shop.lamp(ALICE, 9).await;
    let mut other = shop.beside(OTHERS).await;
    let order = async |shop: &mut Shop, buyer| match shop.act(buyer, buy(lamp, 1)).await.unwrap() {
        Outcome::Order(order) => order,
        other => panic!("{other:?}"),
    };
    let first = order(&mut shop, BOB).await;
    // The purchase is refused, so its number is kept for the next batch.
    shop.act(BOB, buy(lamp, 99)).await.unwrap_err();
    shop.database().execute(&format!("SELECT setval('order_number', {})", first.id)).unwrap();
    shop.database().execute(CUT).unwrap();
    let (bobs, daves) = (order(&mut shop, BOB).await, order(&mut other, DAVE).await);
    assert_ne!(bobs.id, daves.id);
    for kept in [&first, &bobs, &daves] {
        assert_eq!(shop.store.reads.order(kept.id).await.unwrap().as_ref(), Some(kept));
    }
    // Even if a number is assigned twice, no order is overwritten.
    shop.database().execute(&format!("SELECT setval('order_number', {}, false)", first.id)).unwrap();
    shop.database().execute(CUT).unwrap();
    let command = shop.command(DAVE, buy(lamp, 1));
    let rows = shop.decided(&command).await;
    let refused = shop.lane.save(&rows).await;
    assert!(matches!(refused, Err(SaveError::Conflict(_))), "{refused:?}");
    assert_eq!(shop.store.reads.order(first.id).await.unwrap(), Some(first));
    assert_eq!(shop.quantity(lamp).await, 6);
}

async fn session_that_was_cut_is_replaced() {
    let mut shop = Shop::postgres().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let cut = CUT;
    shop.database().execute(cut).unwrap();
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    assert_eq!(shop.quantity(lamp).await, 4);
    // If the session ends during a transaction, only that batch is lost.
    let command = shop.command(BOB, buy(lamp, 1));
    let rows = shop.decided(&command).await;
    shop.database().execute(cut).unwrap();
    let lost = shop.lane.save(&rows).await;
    assert!(matches!(lost, Err(SaveError::Indefinite(_) | SaveError::Lost(_))), "{lost:?}");
    shop.batch(std::slice::from_ref(&command)).await;
    assert_eq!(shop.quantity(lamp).await, 3);
    let reason = CancelReason::parse("a mistake").unwrap();
    let Outcome::Order(order) = shop.act(BOB, buy(lamp, 1)).await.unwrap() else { panic!("no order") };
    shop.act(ALICE, Action::CancelSale(action::CancelSale { order: order.id, reason })).await.unwrap();
}

/// The database's constraints reject what the rules must never let through.
async fn constraints_keep_the_accounts_balanced() {
    let mut shop = Shop::postgres().await;
    shop.lamp(ALICE, 5).await;
    for wrong in [
        "UPDATE item SET quantity = -1, withdrawn = 6",
        "UPDATE item SET quantity = quantity + 1",
        "UPDATE item SET sold = 1",
    ] {
        assert!(shop.database().execute(wrong).is_err(), "{wrong}");
    }
}

async fn refusal(database: &Database) -> String {
    match postgres::open(database.address(), &PostgresOptions::default(), Uuid::from_u128(1)).await {
        Ok(_) => panic!("it was opened"),
        Err(StoreError::Unsuitable(why)) => why.to_string(),
        Err(other) => panic!("{other}"),
    }
}

async fn foreign_changed_and_newer_databases_are_refused() {
    let foreign = Database::create_bare();
    foreign.execute("CREATE TABLE note (text TEXT)").unwrap();
    assert!(refusal(&foreign).await.contains("another program"));
    let changed = Database::create();
    changed.execute("UPDATE schema_version SET checksum = 'another'").unwrap();
    assert!(refusal(&changed).await.contains("is not the one that this market knows"));
    let newer = Database::create();
    newer.execute("INSERT INTO schema_version (version, min_reader, checksum) VALUES (99, 99, '')").unwrap();
    assert!(refusal(&newer).await.contains("newer market"));
}

async fn newer_schema_that_allows_it_is_accepted() {
    let database = Database::create();
    database
        .execute("INSERT INTO schema_version (version, min_reader, checksum) VALUES (99, 1, '')")
        .unwrap();
    database.execute("ALTER TABLE item ADD COLUMN shelf TEXT").unwrap();
    let mut shop = Shop::with(database.open().await, None).await;
    let lamp = shop.lamp(ALICE, 5).await;
    assert_eq!(shop.quantity(lamp).await, 5);
    shop.database = Some(database);
}

async fn markets_that_start_together_migrate_once() {
    let database = Database::create_bare();
    let options = PostgresOptions::default();
    let open = || postgres::open(database.address(), &options, Uuid::from_u128(1));
    let (one, two, three) = tokio::join!(open(), open(), open());
    for opened in [one, two, three] {
        assert_eq!(opened.unwrap().reads.totals().await.unwrap().parties, 0);
    }
    assert_eq!(database.execute("SELECT count(*) = max(version) FROM schema_version").unwrap(), "t");
}

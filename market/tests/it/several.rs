//! A market with two addresses, which fail, freeze and recover in turn during trade: no call fails, and none
//! takes effect twice.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use souk_certs::{connector::Dial, identity::Role};
use souk_client::{ClientConfig, Connection, MarketAddresses, TillNotice, till};
use souk_proto::v1::{self, sync_line};
use souk_testkit::{gate::Gate, local::StoreKind, postgres::is_there};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::fixture::{Fixture, PATIENCE, Party, draft, eventually};

/// More units than the test sells.
pub(crate) const STOCK: i64 = 1_000_000;
/// The number of concurrent buyers.
const BUYERS: usize = 6;
/// The number of orders between two incidents.
const ORDERS: usize = 40;
/// The number of lines that the till sends.
const LINES: i64 = 600;

/// Connects a party that knows both addresses.
async fn at_both(fixture: &Fixture, gates: &[Gate; 2], role: Role, name: &str) -> Party {
    at(fixture, gates.each_ref().map(|gate| gate.address), role, name).await
}

pub(crate) async fn at(fixture: &Fixture, addresses: [SocketAddr; 2], role: Role, name: &str) -> Party {
    let config = fixture.market.identity(role, name).await.unwrap();
    let market = MarketAddresses::parse(addresses.map(|address| address.to_string())).unwrap();
    let config = ClientConfig { market, ..config };
    Party { connection: Connection::open(&config).await.unwrap() }
}

async fn two_gates(fixture: &Fixture) -> [Gate; 2] {
    [Gate::open(fixture.market.address()).await, Gate::open(fixture.market.address()).await]
}

/// Buyers that keep buying until the trade is ended.
pub(crate) struct Trade {
    item_id: i64,
    done: Arc<AtomicBool>,
    sold: Arc<AtomicUsize>,
    buyers: JoinSet<Vec<i64>>,
}

impl Trade {
    pub(crate) fn begin(bob: &Arc<Party>, item_id: i64) -> Self {
        let (done, sold) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut buyers = JoinSet::new();
        for _ in 0..BUYERS {
            let (bob, done, sold) = (Arc::clone(bob), Arc::clone(&done), Arc::clone(&sold));
            buyers.spawn(async move {
                let mut orders = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    orders.push(bob.buy(item_id, 1).await.expect("no call fails").order_id);
                    sold.fetch_add(1, Ordering::Relaxed);
                }
                orders
            });
        }
        Self { item_id, done, sold, buyers }
    }

    pub(crate) async fn goes_on(&self) {
        let enough = self.sold.load(Ordering::Relaxed) + ORDERS;
        eventually("orders", async || self.sold.load(Ordering::Relaxed) >= enough).await;
    }

    /// Ends the trade and returns the number of orders, after checking that each took effect once.
    pub(crate) async fn end(self, bob: &Party) -> usize {
        self.done.store(true, Ordering::Relaxed);
        let orders: Vec<_> = self.buyers.join_all().await.into_iter().flatten().collect();
        let distinct: HashSet<_> = orders.iter().collect();
        assert_eq!(distinct.len(), orders.len(), "each call has an order of its own");
        let left = bob.item(self.item_id).await.unwrap().quantity;
        assert_eq!(STOCK - left, orders.len() as i64, "what was sold is what was answered");
        orders.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_order_is_lost_doubled_or_refused_while_addresses_fail_and_recover() {
    let fixture = Fixture::open(StoreKind::Sqlite).await;
    let mut gates = two_gates(&fixture).await;
    let lamp = fixture.seller("Alice").await.lamp(STOCK).await;
    fixture.buyer("Bob").await;
    let bob = Arc::new(at_both(&fixture, &gates, Role::Buyer, "Bob").await);
    let trade = Trade::begin(&bob, lamp);
    for round in 0..6 {
        trade.goes_on().await;
        gates[round % 2].shut().await;
        trade.goes_on().await;
        gates[round % 2].reopen().await;
    }
    trade.goes_on().await;
    gates[0].freeze(true);
    trade.goes_on().await;
    gates[0].freeze(false);
    trade.goes_on().await;
    let orders = trade.end(&bob).await;
    println!("orders={orders} lost=0 doubled=0 failed=0, over 6 cuts and a frozen address");
    fixture.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_order_fails_while_one_of_two_markets_restarts() {
    if !is_there() {
        return;
    }
    let fixture = Fixture::on_postgres().await;
    let mut beside = fixture.beside().await;
    let lamp = fixture.seller("Alice").await.lamp(STOCK).await;
    fixture.buyer("Bob").await;
    let both = [fixture.market.address(), beside.market.address()];
    let bob = Arc::new(at(&fixture, both, Role::Buyer, "Bob").await);
    let trade = Trade::begin(&bob, lamp);
    for _ in 0..3 {
        trade.goes_on().await;
        beside.market.restart().await.unwrap();
    }
    trade.goes_on().await;
    let orders = trade.end(&bob).await;
    println!("orders={orders} lost=0 doubled=0 failed=0, over 3 restarts of one of two markets");

    let alice = at(&fixture, both, Role::Seller, "Alice").await;
    for number in 0..10 {
        let name = format!("lantern{number}");
        alice.sell(draft(&name, "home/light", 100, 1)).await.unwrap();
        assert_eq!(alice.search(&name, "").await.len(), 1, "it is in her next search");
    }
    beside.close().await;
    fixture.close().await;
}

fn plus_one(line: i64, item_id: i64) -> v1::SyncLine {
    v1::SyncLine {
        line,
        item: Some(sync_line::Item::ItemId(item_id)),
        change: Some(sync_line::Change::QuantityDelta(1)),
    }
}

async fn answered_by(party: &Party) -> Dial {
    let answer = party.connection.call_with_metadata(v1::WhoAmIRequest {}).await.expect("no call fails");
    party.connection.answered_by(&answer)
}

async fn next(notices: &mut mpsc::Receiver<TillNotice>) -> TillNotice {
    timeout(PATIENCE, notices.recv()).await.expect("a notice in time").expect("a notice")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn till_continues_at_the_other_address_without_a_pause() {
    let fixture = Fixture::open(StoreKind::Memory).await;
    let mut gates = two_gates(&fixture).await;
    let lamp = fixture.seller("Alice").await.lamp(1).await;
    let alice = at_both(&fixture, &gates, Role::Seller, "Alice").await;
    let (till, mut notices) = till::open(alice.connection.clone(), "shop".into(), 0);
    let sender = tokio::spawn(async move {
        for line in 1..=LINES {
            till.send(plus_one(line, lamp)).await.unwrap();
        }
    });
    let (mut answered, mut resumed) = (0, 0);
    loop {
        match next(&mut notices).await {
            TillNotice::Acknowledged(_) => {
                answered += 1;
                // The stream is at one of the two addresses: one of the cuts hits it, the other hits nothing.
                if answered == LINES / 3 || answered == 2 * LINES / 3 {
                    let gate = &mut gates[usize::from(answered > LINES / 2)];
                    gate.shut().await;
                    gate.reopen().await;
                    // Wait until this address has recovered before the other is cut.
                    eventually("the way back", async || answered_by(&alice).await == gate.address.into())
                        .await;
                }
            }
            TillNotice::Resumed { .. } => resumed += 1,
            TillNotice::Interrupted { failure, .. } => panic!("another address is there: {failure}"),
            TillNotice::Ended(failure) => panic!("{failure}"),
            TillNotice::Done => break,
            TillNotice::Event(_) | TillNotice::CaughtUp { .. } => {}
        }
    }
    sender.await.unwrap();
    assert_eq!(answered, LINES);
    assert!(resumed >= 2, "the stream was cut");
    assert_eq!(alice.item(lamp).await.unwrap().quantity, LINES + 1, "no line is lost or doubled");
    fixture.close().await;
}

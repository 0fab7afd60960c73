//! Counts what RateItem and CancelOrder read for a buyer of a million orders.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

use rusqlite::{
    Connection, StatementStatus,
    trace::{TraceEvent, TraceEventCodes},
};
use souk_domain::{Action, ItemId, OrderId, Outcome, RatingSummary, action};

use super::{kept::Kept, load, open, save};
use crate::fixture::{self, ALICE, BOB, act, buy, command, decided, keys_of, lamp, rate};

const ORDERS: i64 = 1_000_000;
/// Each step of SQLite's virtual machine reads one row at most. A command takes a few hundred, however many rows there are.
const MOST_STEPS: i32 = 5_000;

/// Gives the buyer all the orders, of the items 1 and 2 in turn.
fn fill(connection: &Connection) {
    let fill = format!(
        "PRAGMA synchronous = OFF;
         BEGIN;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ORDERS})
         INSERT INTO orders (id, buyer, seller, item, amount_minor, currency, quantity, total_minor, status, placed_at)
             SELECT i, buyer.number, seller.number, 1 + i % 2, 1250, 'GBP', 1, 1250, 'placed', 1
             FROM party AS buyer CROSS JOIN party AS seller CROSS JOIN n
             WHERE buyer.role = 'buyer' AND seller.role = 'seller';
         INSERT INTO purchase SELECT buyer, item, count(*) FROM orders GROUP BY buyer, item;
         INSERT INTO purchase_through SELECT buyer, max(id) FROM orders GROUP BY buyer;
         UPDATE item SET sold = sold + {ORDERS} / 2, supplied = supplied + {ORDERS} / 2 WHERE id IN (1, 2);
         UPDATE counter SET value = {ORDERS} WHERE name = 'order';
         COMMIT;"
    );
    connection.execute_batch(&fill).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
    assert_eq!(count, ORDERS);
}

/// A connection that counts the steps of its statements.
struct Counted {
    connection: Connection,
    kept: Kept,
    steps: Arc<AtomicI32>,
    requests: u128,
}

impl Counted {
    fn new(mut connection: Connection) -> Self {
        let steps = Arc::new(AtomicI32::new(0));
        let counted = Arc::clone(&steps);
        let count = move |event: TraceEvent<'_>| {
            if let TraceEvent::Profile(statement, _) = event {
                counted.fetch_add(statement.get_status(StatementStatus::VmStep), Ordering::Relaxed);
            }
        };
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(count)).unwrap();
        Self { connection, kept: Kept::default(), steps, requests: 1_000 }
    }

    /// Carries out a command of the buyer as a lane does, within the number of steps.
    fn act(&mut self, action: impl Into<Action>) -> Outcome {
        self.requests += 1;
        let command = command(self.requests, BOB, action);
        // A statement counts its steps since it was prepared.
        self.connection.flush_prepared_statement_cache();
        self.steps.store(0, Ordering::Relaxed);
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut rows = load::load(&self.connection, &keys_of(&command), &mut self.kept).unwrap();
        let outcome = decided(&mut rows, &command).unwrap();
        save::save(&self.connection, &rows, &mut self.kept).unwrap();
        self.connection.execute_batch("COMMIT").unwrap();
        self.kept.forget();
        let steps = self.steps.load(Ordering::Relaxed);
        assert!((1..=MOST_STEPS).contains(&steps), "{steps} steps for {:?}", command.action);
        outcome
    }

    fn ratings(&self, item: ItemId) -> i64 {
        let sql = "SELECT rating_count FROM item WHERE id = ?";
        self.connection.query_row(sql, [item.0], |row| row.get(0)).unwrap()
    }
}

#[tokio::test]
async fn rating_and_cancelling_read_few_of_a_million_orders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let mut store = open(&path).unwrap();
    let mut lane = store.lanes.remove(0);
    fixture::open(&mut lane).await;
    act(&mut lane, 4, ALICE, lamp()).await;
    act(&mut lane, 5, ALICE, lamp()).await;
    drop((lane, store));
    let connection = Connection::open(&path).unwrap();
    fill(&connection);
    let mut shop = Counted::new(connection);

    let (common, rare) = (ItemId(1), ItemId(3));
    let rated = shop.act(rate(common));
    assert_eq!(rated, Outcome::Rated(RatingSummary { count: 1, total_stars: 4 }));
    shop.act(action::Cancel { order: OrderId(ORDERS / 2) });
    assert_eq!(shop.ratings(common), 1, "other orders are left");
    // Of another item there is only one order, after all the others.
    let Outcome::Order(order) = shop.act(buy(rare)) else { panic!("an order") };
    shop.act(rate(rare));
    assert_eq!(shop.ratings(rare), 1);
    shop.act(action::Cancel { order: order.id });
    assert_eq!((shop.ratings(common), shop.ratings(rare)), (1, 0));
}

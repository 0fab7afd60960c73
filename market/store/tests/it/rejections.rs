//! What the database refuses to write is told apart, so that the ledger knows what to do.

use std::time::{Duration, Instant};

use souk_domain::{Context, EventId, Keys, decide};
use souk_store::{HealthState, Receipt, SaveError, StoreError};
use souk_testkit::postgres::is_there;
use uuid::Uuid;

use super::{ALICE, Shop, path_in, sell};

/// Tries to save a new item.
async fn try_to_sell(shop: &mut Shop) -> Result<Receipt, SaveError> {
    let command = shop.command(ALICE, sell("Lamp", 1));
    let mut keys = Keys::default();
    command.add_keys(&mut keys);
    let mut rows = shop.lane.load(&keys).await.unwrap();
    let mut event_ids = || EventId(Uuid::nil());
    decide(&mut rows, &command, &mut Context { now: shop.now, event_ids: &mut event_ids }).unwrap();
    shop.lane.save(&rows).await
}

/// Makes PostgreSQL fail with this SQLSTATE when a request is recorded.
fn fail_with(shop: &Shop, state: &str) {
    let function = format!(
        "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}', MESSAGE = 'planted'; END $$"
    );
    shop.database().execute(&function).unwrap();
    let trigger =
        "CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON request FOR EACH ROW EXECUTE FUNCTION fail()";
    shop.database().execute(trigger).unwrap();
}

#[tokio::test]
async fn row_that_a_constraint_rejects_is_no_outage() {
    let mut shop = Shop::sqlite().await;
    let raw = rusqlite::Connection::open(path_in(shop.folder.as_ref())).unwrap();
    let trigger = "CREATE TRIGGER fail BEFORE INSERT ON request BEGIN SELECT RAISE(ABORT, 'planted'); END";
    raw.execute_batch(trigger).unwrap();
    let rejected = try_to_sell(&mut shop).await;
    assert!(matches!(rejected, Err(SaveError::Lost(StoreError::Rejected(_)))), "{rejected:?}");
    raw.execute_batch("DROP TRIGGER fail").unwrap();
    try_to_sell(&mut shop).await.unwrap();

    if !is_there() {
        return;
    }
    let mut shop = Shop::postgres().await;
    fail_with(&shop, "23514");
    let rejected = try_to_sell(&mut shop).await;
    assert!(matches!(rejected, Err(SaveError::Lost(StoreError::Rejected(_)))), "{rejected:?}");
    // Another market may have inserted the row: the batch is retried first.
    fail_with(&shop, "23505");
    let rejected = try_to_sell(&mut shop).await;
    assert!(matches!(rejected, Err(SaveError::Conflict(StoreError::Rejected(_)))), "{rejected:?}");
}

#[tokio::test]
async fn full_disk_of_a_database_server_is_reported_and_passes() {
    if !is_there() {
        return;
    }
    let mut shop = Shop::postgres().await;
    fail_with(&shop, "53100");
    let full = try_to_sell(&mut shop).await;
    assert!(matches!(full, Err(SaveError::Lost(StoreError::Full(_)))), "{full:?}");
    assert_eq!(shop.store.health.state(), HealthState::Full);
    shop.database().execute("DROP TRIGGER fail ON request").unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while shop.store.health.state() != HealthState::Healthy {
        assert!(Instant::now() < deadline, "it never recovers");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    try_to_sell(&mut shop).await.unwrap();
}

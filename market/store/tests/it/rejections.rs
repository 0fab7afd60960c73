//! What the database refuses to write is classified, so that the ledger knows what to do.

use std::time::{Duration, Instant};

use souk_domain::{Command, Context, EventId, Keys, Outcome, Role, decide};
use souk_store::{HealthState, Receipt, SaveError, StoreError};
use souk_testkit::postgres::is_there;
use uuid::Uuid;

use super::{ALICE, BOB, Shop, buy, path_in, register, sell};

/// Tries to save a new item.
async fn try_to_sell(shop: &mut Shop) -> Result<Receipt, SaveError> {
    let command = shop.command(ALICE, sell("Lamp", 1));
    try_to(shop, &[command]).await
}

/// Tries to save what commands change.
async fn try_to(shop: &mut Shop, commands: &[Command]) -> Result<Receipt, SaveError> {
    let mut keys = Keys::default();
    commands.iter().for_each(|command| command.add_keys(&mut keys));
    let mut rows = shop.lane.load(&keys).await.unwrap();
    let mut event_ids = || EventId(Uuid::nil());
    let mut context = Context { now: shop.now, steady_now: shop.now, event_ids: &mut event_ids };
    for command in commands {
        decide(&mut rows, command, &mut context).unwrap();
    }
    shop.lane.save(&rows).await
}

/// A batch whose requests were not looked up.
#[tokio::test]
async fn repeated_request_is_a_conflict_if_it_was_not_looked_up() {
    let mut shop = Shop::sqlite().await;
    assert!(shop.lane.notices_repetitions());
    let lamp = shop.lamp(ALICE, 9).await;
    let command = shop.command(BOB, buy(lamp, 1));
    try_to(&mut shop, std::slice::from_ref(&command)).await.unwrap();
    let mut keys = Keys::default();
    command.add_keys(&mut keys);
    keys.requests.clear();
    let mut rows = shop.lane.load(&keys).await.unwrap();
    assert!(shop.lane.has_requests(&[command.key()]).await.unwrap());
    assert!(!shop.lane.has_requests(&[(command.caller, souk_domain::RequestId(Uuid::max()))]).await.unwrap());
    let mut event_ids = || EventId(Uuid::nil());
    let mut context = Context { now: shop.now, steady_now: shop.now, event_ids: &mut event_ids };
    decide(&mut rows, &command, &mut context).unwrap();
    let repeated = shop.lane.save(&rows).await;
    assert!(matches!(repeated, Err(SaveError::Conflict(StoreError::Rejected(_)))), "{repeated:?}");
    assert_eq!(shop.store.reads.item(lamp).await.unwrap().unwrap().quantity, 8);
}

/// A party whose registration was rolled back has no number, and another one gets it.
#[tokio::test]
async fn rows_of_a_batch_that_failed_are_forgotten() {
    let mut shop = Shop::sqlite().await;
    let lamp = shop.lamp(ALICE, 9).await;
    let raw = rusqlite::Connection::open(path_in(shop.folder.as_ref())).unwrap();
    let trigger = "CREATE TRIGGER fail BEFORE INSERT ON request BEGIN SELECT RAISE(ABORT, 'planted'); END";
    raw.execute_batch(trigger).unwrap();
    let commands = [shop.command(21, register(Role::Buyer, 21)), shop.command(21, buy(lamp, 4))];
    try_to(&mut shop, &commands).await.unwrap_err();
    raw.execute_batch("DROP TRIGGER fail").unwrap();
    for number in [22, 21] {
        shop.act(number, register(Role::Buyer, number)).await.unwrap();
    }
    let outcome = shop.act(21, buy(lamp, 1)).await.unwrap();
    let Outcome::Order(order) = outcome else { panic!("{outcome:?}") };
    assert_eq!(shop.store.reads.order(order.id).await.unwrap(), Some(order));
    assert_eq!(shop.store.reads.item(lamp).await.unwrap().unwrap().quantity, 8);
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

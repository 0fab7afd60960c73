//! Promises that only a store in a file makes.

use souk_domain::{OrderId, Outcome};
use souk_store::{StoreError, sqlite};

use super::{ALICE, BOB, Shop, buy, path_in};

#[tokio::test]
async fn everything_survives_reopening() {
    let mut shop = Shop::sqlite().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let Outcome::Order(order) = shop.act(BOB, buy(lamp, 2)).await.unwrap() else { panic!("no order") };
    let replay = shop.command(BOB, buy(lamp, 1));
    let (first, _) = shop.batch(std::slice::from_ref(&replay)).await;
    let before = shop.store.reads.totals().await.unwrap();
    let mut shop = shop.reopen().await;
    assert_eq!(shop.store.reads.totals().await.unwrap(), before);
    assert_eq!(shop.store.reads.order(order.id).await.unwrap().unwrap(), order);
    let (again, _) = shop.batch(std::slice::from_ref(&replay)).await;
    assert_eq!(first, again, "a request id is remembered");
    assert!(shop.lamp(ALICE, 1).await > lamp, "numbers go on");
    let Outcome::Order(next) = shop.act(BOB, buy(lamp, 1)).await.unwrap() else { panic!("no order") };
    assert_eq!(next.id, OrderId(order.id.0 + 2));
}

#[tokio::test]
async fn second_opener_is_refused() {
    let shop = Shop::sqlite().await;
    let refused = sqlite::open(&path_in(shop.folder.as_ref())).err().unwrap();
    assert!(refused.to_string().contains("another market"), "{refused}");
}

#[test]
fn foreign_newer_and_damaged_files_are_distinguished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE note (text TEXT)").unwrap();
    drop(other);
    assert!(
        matches!(sqlite::open(&path).err().unwrap(), StoreError::Corrupt(why) if why.to_string().contains("another program"))
    );

    let path = folder.path().join("newer.db");
    drop(sqlite::open(&path).unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    assert!(
        matches!(sqlite::open(&path).err().unwrap(), StoreError::Corrupt(why) if why.to_string().contains("newer market"))
    );

    let path = folder.path().join("damaged.db");
    std::fs::write(&path, "not a database at all, just text ".repeat(500)).unwrap();
    assert!(
        matches!(sqlite::open(&path).err().unwrap(), StoreError::Corrupt(why) if why.to_string().contains("damaged.db"))
    );
}

/// The database's constraints reject what the rules must never let through.
#[tokio::test]
async fn constraints_keep_the_accounts_balanced() {
    let mut shop = Shop::sqlite().await;
    shop.lamp(ALICE, 5).await;
    let raw = rusqlite::Connection::open(path_in(shop.folder.as_ref())).unwrap();
    for wrong in [
        "UPDATE item SET quantity = -1, withdrawn = 6",
        "UPDATE item SET quantity = quantity + 1",
        "UPDATE item SET sold = 1",
    ] {
        assert!(raw.execute(wrong, []).is_err(), "{wrong}");
    }
}

//! Two versions on one database: this version works with a schema that the next one has expanded, and keeps
//! its data; it refuses a schema that the next one has contracted.

use std::sync::Arc;

use souk_certs::identity::Role;
use souk_proto::v1;
use souk_testkit::postgres::is_there;

use crate::{
    fixture::{Fixture, Party, draft, pounds},
    several::{STOCK, Trade},
};

/// The migration that a first release of the next version would bring: a column, a table, and a `min_reader`
/// that allows markets of this version.
const EXPANSION: &str = "ALTER TABLE item ADD COLUMN shelf TEXT DEFAULT 'unsorted'; \
     CREATE TABLE shelf_move (item BIGINT NOT NULL, shelf TEXT NOT NULL); \
     INSERT INTO schema_version (version, min_reader, checksum) \
     SELECT max(version) + 1, max(version), 'expanded' FROM schema_version";
/// The migration of its second release, which only markets that know the first can work with.
const CONTRACTION: &str = "ALTER TABLE item ALTER COLUMN shelf SET NOT NULL; \
     INSERT INTO schema_version (version, min_reader, checksum) \
     SELECT max(version) + 1, max(version), 'contracted' FROM schema_version";

/// Returns the value that the next version stores with an item.
fn shelf(fixture: &Fixture, item_id: i64) -> String {
    fixture.database().execute(&format!("SELECT shelf FROM item WHERE id = {item_id}")).unwrap()
}

/// Does everything that updates an item's row, at a market that does not know the new column.
async fn traded(seller: &Party, buyer: &Party, lamp: i64) {
    let change =
        v1::ItemDraft { name: Some("Lantern".into()), unit_price: pounds(999), ..Default::default() };
    assert_eq!(seller.update(lamp, change).await.unwrap().name, "Lantern");
    let restock = v1::ItemDraft { quantity: Some(50), ..Default::default() };
    assert_eq!(seller.update(lamp, restock).await.unwrap().quantity, 50);
    buyer.buy(lamp, 2).await.unwrap();
    buyer.rate(lamp, 4).await.unwrap();
    let found = seller.search("lantern", "").await;
    let lamp = found.iter().find(|item| item.item_id == lamp).expect("it is found");
    assert_eq!((lamp.quantity, lamp.unit_price.clone()), (48, pounds(999)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_keeps_trading_on_an_expanded_schema_and_keeps_its_data() {
    if !is_there() {
        return;
    }
    let fixture = Fixture::on_postgres().await;
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (lamp, chair, stool) = (alice.lamp(5).await, alice.lamp(STOCK).await, alice.lamp(5).await);
    let buying = Trade::begin(&Arc::new(fixture.known(Role::Buyer, "bob").await), chair);
    buying.goes_on().await;
    fixture.database().execute(EXPANSION).unwrap();
    buying.goes_on().await;
    // Existing items have the default, and so have those listed by a market that does not know the column.
    let table = alice.sell(draft("Table", "home", 100, 1)).await.unwrap().item_id;
    assert_eq!([lamp, table].map(|item| shelf(&fixture, item)), ["unsorted", "unsorted"]);

    let moves = format!(
        "UPDATE item SET shelf = 'A-' || id WHERE id IN ({lamp}, {chair}, {stool}); \
         INSERT INTO shelf_move SELECT id, shelf FROM item WHERE shelf <> 'unsorted'"
    );
    fixture.database().execute(&moves).unwrap();
    traded(&alice, &bob, lamp).await;
    let beside = fixture.beside().await;
    let (carol, dave) = (beside.known(Role::Seller, "alice").await, beside.buyer("dave").await);
    traded(&carol, &dave, lamp).await;
    carol.delete(stool).await.unwrap();
    buying.goes_on().await;
    let sold = buying.end(&dave).await as i64;
    assert_eq!(dave.item(chair).await.unwrap().quantity, STOCK - sold, "each order took effect once");
    for item in [lamp, chair, stool] {
        assert_eq!(shelf(&fixture, item), format!("A-{item}"));
    }
    assert_eq!(fixture.database().execute("SELECT count(*) FROM shelf_move").unwrap(), "3");
    beside.close().await;
    fixture.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_refuses_a_contracted_database_and_names_the_version_to_use() {
    if !is_there() {
        return;
    }
    let fixture = Fixture::on_postgres().await;
    fixture.database().execute(EXPANSION).unwrap();
    fixture.beside().await.close().await;
    fixture.database().execute(CONTRACTION).unwrap();
    let message = match fixture.market.beside().await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    };
    for part in ["was brought forward by a newer market", "this one knows", "use that version"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("unreadable"), "nothing is damaged: {message}");
    fixture.close().await;
}

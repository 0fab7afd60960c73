//! A prepared transaction that nobody ends, in another database of the cluster, hides what is committed after it: those
//! who have changed nothing since get answers as of that time, marked as such.

use souk_certs::identity::Role;
use souk_proto::v1;
use souk_testkit::{
    eventually,
    local::StoreKind,
    postgres::{Database, is_there},
};
use tonic::Code;

use crate::fixture::{Fixture, Party, call};

async fn found(party: &Party) -> v1::SearchItemResponse {
    call!(party, SearchItemRequest { query: "lamp".into() }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_transaction_makes_answers_stale_and_marked() {
    if !is_there() {
        return;
    }
    let database = Database::on_its_own_server();
    let fixture = Fixture::open(StoreKind::Postgres(database.address().to_owned())).await;
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    eventually("the lamp is found", async || found(&bob).await.total_size == 1).await;
    assert_eq!(found(&bob).await.as_of_time, None);

    database.execute("CREATE DATABASE elsewhere").unwrap();
    let elsewhere = |sql: &str| database.server().psql("elsewhere", sql).unwrap();
    elsewhere("BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'left-behind'");
    alice.lamp(7).await;
    let answer = found(&bob).await;
    assert_eq!(answer.items.iter().map(|item| item.item_id).collect::<Vec<_>>(), [lamp]);
    eventually("the answers are marked", async || found(&bob).await.as_of_time.is_some()).await;
    let categories = call!(bob, ListCategoriesRequest {}).unwrap();
    assert!(categories.as_of_time.is_some(), "{categories:?}");
    // Alice knows of her own change, and must not be told that it is not there.
    // Without the client's retries.
    let request = v1::SearchItemRequest { query: "lamp".into(), ..Default::default() };
    let refused = alice.connection.catalog().search_item(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    // Purchases do not depend on it.
    bob.buy(lamp, 1).await.unwrap();

    elsewhere("ROLLBACK PREPARED 'left-behind'");
    eventually("the other lamp is found", async || found(&bob).await.total_size == 2).await;
    let known = fixture.known(Role::Seller, "alice").await;
    let answer = found(&known).await;
    assert_eq!((answer.total_size, answer.as_of_time), (2, None));
    fixture.close().await;
}

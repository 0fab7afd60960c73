//! A transaction that somebody has left open anywhere in the cluster hides what is committed after it. The store says so.

use souk_testkit::{
    eventually,
    postgres::{Database, is_there},
};

/// The transaction is prepared, so that no session shows it, and in another database.
#[tokio::test]
async fn abandoned_transaction_in_another_database_is_named() {
    if !is_there() {
        return;
    }
    let database = Database::on_its_own_server();
    let store = database.open().await;
    let replicas = store.replicas.clone().unwrap();
    database.execute("CREATE DATABASE elsewhere").unwrap();
    let elsewhere = |sql: &str| database.server().psql("elsewhere", sql).unwrap();
    elsewhere("BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'left-behind'");
    // Something must be committed after it: until then it hides nothing.
    eventually("the transaction is named", async || {
        database.execute("SELECT pg_current_xact_id()").unwrap();
        replicas.horizon().held_by.is_some()
    })
    .await;
    let held = replicas.horizon();
    let holders = held.held_by.unwrap();
    assert!(held.age.as_secs() >= 5, "{:?}", held.age);
    for part in ["prepared transaction 'left-behind'", "database elsewhere", "ROLLBACK PREPARED"] {
        assert!(holders.contains(part), "{holders}");
    }
    elsewhere("ROLLBACK PREPARED 'left-behind'");
    eventually("the horizon moves again", async || replicas.horizon().held_by.is_none()).await;
    assert_eq!(replicas.horizon().age.as_secs(), 0);
}

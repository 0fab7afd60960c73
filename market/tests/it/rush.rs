//! Many clients behind one address that connect at once, as after an outage.

use souk_certs::identity::Role;
use souk_client::Connection;
use souk_proto::v1;
use souk_testkit::local::StoreKind;
use tokio::task::JoinSet;

use crate::fixture::Fixture;

/// Fewer connections than one party may have open.
const CONNECTIONS_OF_PARTY: usize = 50;
const PARTIES: usize = 4;

/// More handshakes than one address may have under way: the rest waits, as the settings say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_one_address_that_connect_at_once_are_all_served() {
    let fixture = Fixture::open(StoreKind::Memory).await;
    let mut rush = JoinSet::new();
    for number in 0..PARTIES {
        let name = format!("seller{number}");
        fixture.seller(&name).await;
        let config = fixture.ground.identity(Role::Seller, &name).await.unwrap();
        for _ in 0..CONNECTIONS_OF_PARTY {
            let config = config.clone();
            rush.spawn(async move {
                // Once, without the retries of the client library: a connection that is closed is a failure.
                let connection = Connection::open(&config).await.unwrap();
                let token = connection.account().issue_token(v1::IssueTokenRequest {}).await;
                (connection, token.map(|_| ()))
            });
        }
    }
    // Kept open until all have come.
    let served = rush.join_all().await;
    let failed: Vec<_> = served.iter().filter_map(|(_, token)| token.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), served.len(), failed.first());
    drop(served);
    fixture.close().await;
}

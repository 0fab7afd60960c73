//! Rejected identities are recorded in the audit log.

use std::path::Path;

use souk_certs::{clock, identity::Role};
use souk_proto::Reason;
use souk_store::sqlite;
use souk_testkit::local::{LocalMarketOptions, StoreKind};
use tokio::time::timeout;

use crate::{
    fixture::{Fixture, PATIENCE, honest, reason, sell_with},
    forge::{client, foreign_root, from_files, honest_params, sign},
    raw::Pass,
};

/// Waits until the log contains an entry with this subject, and returns it.
async fn logged(store: &Path, what: &str) -> serde_json::Value {
    let found = timeout(PATIENCE, async {
        loop {
            let reads = sqlite::open_reads(store).unwrap();
            for row in reads.audit(0, 1_000).await.unwrap() {
                let line: serde_json::Value = serde_json::from_str(&row.line).unwrap();
                if line["did"] == "Refused" && line["what"].as_str().unwrap().contains(what) {
                    return line;
                }
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what} is not in the audit log"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_identities_are_logged() {
    let fixture = Fixture::with_store(LocalMarketOptions::default(), StoreKind::Sqlite).await;
    let store = fixture.market.path().join("souk.db");
    let alice = format!("seller/{}", fixture.alice.id());

    // Rejected at the handshake, where the identity is unknown.
    let forged = sign(&foreign_root(), &honest_params("spiffe://souk.internal/market"));
    fixture.greet(client(&fixture, Some(forged))).await.unwrap_err();
    fixture.greet(client(&fixture, None)).await.unwrap_err();
    let line = logged(&store, "issued by another authority").await;
    assert_eq!((line["who"].as_str(), line["from"].as_str()), (Some("unknown"), Some("127.0.0.1")));
    logged(&store, "no certificate").await;

    // Rejected by the guard, where the identity is known from the certificate.
    let bearer = format!("Bearer {}", fixture.token().await);
    for _ in 0..3 {
        let refused = sell_with(fixture.channel().await, &honest(&fixture.bob.id(), &bearer)).await;
        assert_eq!(reason(refused), Reason::PartyIdInvalid);
    }
    assert_eq!(logged(&store, "PARTY_ID_INVALID").await["who"], alice.as_str());
    let pass = Pass::of(&fixture, &fixture.alice).await;
    reason(pass.call("/shopping.v1.BuyerService/BuyItem", Vec::new()).await);
    assert_eq!(logged(&store, "ROLE_DENIED").await["who"], alice.as_str());

    // A connection that is cut after a revocation.
    let mallory = fixture.market.identity(Role::Seller, "Mallory").await.unwrap();
    let mut held =
        fixture.shake_hands(client(&fixture, Some(from_files(&mallory.credentials)))).await.unwrap();
    fixture.market.change_pki(|pki| pki.revoke("mallory", clock::now())).unwrap();
    let ended = timeout(PATIENCE, tokio::io::copy(&mut held, &mut tokio::io::sink())).await;
    let _ = ended.expect("the connection is cut");
    logged(&store, "connection cut").await;
    fixture.hold().await;
}

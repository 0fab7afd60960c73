//! The operator's synonyms, which a running market reads again when their file changes.

use std::{fs, path::PathBuf};

use souk_server::config::{Config, SynonymSource};
use souk_testkit::{
    eventually,
    local::{LocalMarket, LocalMarketError, LocalMarketOptions, StoreKind},
};

use crate::fixture::{Fixture, draft};

fn file(config: &Config) -> PathBuf {
    config.tls.cert.with_file_name("synonyms.txt")
}

async fn open(adjust: fn(&mut Config)) -> Result<LocalMarket, LocalMarketError> {
    LocalMarket::open(LocalMarketOptions {
        store: StoreKind::Memory,
        adjust,
        ..LocalMarketOptions::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_synonyms_apply_to_later_searches() {
    let market = open(|config| {
        fs::write(file(config), "sofa, couch").unwrap();
        config.search.synonyms = SynonymSource::File(file(config));
    });
    let market = market.await.unwrap();
    let path = market.path().join("pki/synonyms.txt");
    let fixture = Fixture::over(market);
    let alice = fixture.seller("alice").await;
    alice.sell(draft("Grey couch", "home", 100, 1)).await.unwrap();
    let finds = async |query: &str| alice.search(query, "").await.len();
    assert_eq!((finds("sofa").await, finds("divan").await), (1, 0));
    fs::write(&path, "divan => couch").unwrap();
    eventually("the new synonyms apply", async || finds("divan").await == 1).await;
    assert_eq!(finds("sofa").await, 0);
    fixture.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_does_not_start_with_wrong_synonyms() {
    let market = open(|config| {
        fs::write(file(config), "sofa, couch\n\ntv").unwrap();
        config.search.synonyms = SynonymSource::File(file(config));
    });
    let error = market.await.unwrap_err().to_string();
    assert!(error.contains("synonyms.txt: line 3 has a single word; write `sofa, couch`"), "{error}");
}

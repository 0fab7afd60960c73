//! Token keys in a database that several markets share: each accepts the others' tokens, and nobody who can write to the
//! database can plant a key.

use std::{collections::BTreeSet, path::Path};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header};
use souk_certs::{clock, credentials::Credentials, identity::TrustDomain, pem};
use souk_enrolment::context::Context;
use souk_proto::Reason;
use souk_server::config::Config;
use souk_testkit::{
    actor::Actor,
    authority::LocalAuthority,
    eventually,
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    postgres::{self, Database},
};

use crate::{
    fixture::{Fixture, reason, token},
    raw::Pass,
};

const WHO_AM_I: &str = "/shopping.v1.SessionService/WhoAmI";
const PREFIX: &[u8] = b"souk token key v1\n";
const MICROS_A_DAY: i64 = 86_400_000_000;

async fn on(database: &Database) -> Fixture {
    let store = StoreKind::Postgres(database.address().to_owned());
    Fixture::with_store(LocalMarketOptions::default(), store).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markets_with_keys_of_their_own_accept_each_others_tokens() {
    if !postgres::is_there() {
        return;
    }
    let database = Database::create();
    let fixture = on(&database).await;
    let authority = LocalAuthority::open(&fixture.market).await;
    let mut markets = Vec::new();
    for name in ["market-1", "market-2"] {
        let folder = fixture.market.path().join(name);
        authority.admit_market_as(name, &folder).await;
        let join = |config: &mut Config| config.tls.use_context(&folder).unwrap();
        markets.push(fixture.market.beside_with(join).await.unwrap());
    }
    let kid = |pass: &Pass| jsonwebtoken::decode_header(pass.token()).unwrap().kid;
    let operators = Pass::of(&fixture, &fixture.alice).await;
    let mut passes = Vec::new();
    for market in &markets {
        let alice = Actor::enter(market, fixture.alice.role, "Alice").await.unwrap();
        passes.push(Pass::of_token(&fixture, &fixture.alice, &token(&alice).await).await);
    }
    let keys: BTreeSet<_> = passes.iter().chain([&operators]).map(kid).collect();
    assert_eq!(keys.len(), 3, "each has its own key");
    for (market, pass) in
        [(&markets[1], &passes[0]), (&markets[0], &passes[1]), (&fixture.market, &passes[0])]
    {
        // The other market may have published its key since this one looked last.
        eventually("the other market's token is accepted", async || at(market, &fixture, pass).await.is_ok())
            .await;
    }
    // The key of an operator's file goes to other markets as a file.
    assert_eq!(reason(at(&markets[0], &fixture, &operators).await), Reason::TokenInvalid);
    for market in markets {
        market.close().await.unwrap();
    }
    fixture.hold().await;
}

/// Presents alice's token at a market.
async fn at(market: &LocalMarket, fixture: &Fixture, pass: &Pass) -> Result<Vec<u8>, tonic::Status> {
    let channel = market.channel(fixture.alice.role, "Alice").await.unwrap();
    crate::raw::call(channel, pass.request(Vec::new()), WHO_AM_I).await
}

/// A key of somebody who can write to the database.
struct Planter {
    pair: Ed25519KeyPair,
    pem: String,
}

impl Planter {
    fn new() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let pem = pem::encode("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref());
        Self { pair, pem }
    }

    fn id(&self) -> String {
        let hash = digest(&SHA256, self.pair.public_key().as_ref());
        URL_SAFE_NO_PAD.encode(&hash.as_ref()[..12])
    }

    /// Plants the key in a PostgreSQL database, with a signature by these credentials or none.
    fn plant(&self, database: &Database, certificate: &Credentials, signs: bool) {
        database.execute(&self.row(certificate, signs, |hex| format!("'\\x{hex}'"))).unwrap();
    }

    /// Returns the statement that plants the key. `literal` encodes bytes that are given in hexadecimal.
    fn row(&self, certificate: &Credentials, signs: bool, literal: fn(String) -> String) -> String {
        let now = i64::try_from(clock::now().unix_timestamp_nanos() / 1_000).unwrap();
        let (public, leaf, end) =
            (self.pair.public_key().as_ref(), certificate.leaf_der(), now + MICROS_A_DAY);
        let mut text = Vec::new();
        for part in [self.id().as_bytes(), public, leaf.as_ref()] {
            text.extend((part.len() as u64).to_be_bytes());
            text.extend(part);
        }
        text.extend(now.to_be_bytes());
        text.extend(end.to_be_bytes());
        let signature = if signs { certificate.sign_statement(PREFIX, &text).unwrap() } else { Vec::new() };
        let bytes =
            |bytes: &[u8]| literal(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let (id, public, leaf, signature) = (self.id(), bytes(public), bytes(&leaf), bytes(&signature));
        format!("INSERT INTO token_key VALUES ('{id}', {public}, {now}, {end}, {leaf}, {signature})")
    }

    /// Signs the claims of a genuine token of alice again, and presents the result over her connection.
    async fn present(&self, fixture: &Fixture, genuine: &str) -> Result<Vec<u8>, tonic::Status> {
        let claims: serde_json::Value = {
            let claims = genuine.split('.').nth(1).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
        };
        let header = Header { kid: Some(self.id()), ..jsonwebtoken::decode_header(genuine).unwrap() };
        let key = EncodingKey::from_ed_pem(self.pem.as_bytes()).unwrap();
        let forged = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        Pass::of_token(fixture, &fixture.alice, &forged).await.call(WHO_AM_I, Vec::new()).await
    }
}

fn load(certificate: &Path) -> Credentials {
    let files = souk_certs::credentials::CredentialFiles::beside(certificate);
    Credentials::load(&files, &TrustDomain::default(), clock::now()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_key_planted() {
    if !postgres::is_there() {
        return;
    }
    let database = Database::create();
    let fixture = on(&database).await;
    let mallory = fixture.seller("Mallory").await;
    let genuine = fixture.token().await;
    let (seller, market) =
        (load(&mallory.config.credentials.cert), load(&fixture.market.path().join("pki/market.pem")));
    let (authority, host) =
        (LocalAuthority::open(&fixture.market).await, fixture.market.path().join("market-2"));
    authority.admit_market_as("market-2", &host).await;
    let [unsigned, by_seller, by_market, by_host] = [(); 4].map(|()| Planter::new());
    unsigned.plant(&database, &market, false);
    by_seller.plant(&database, &seller, true);
    by_host.plant(&database, &load(&Context::at(&host).credential_files().cert), true);
    // One that is right in everything counts, or the others would prove nothing.
    by_market.plant(&database, &market, true);
    eventually("the rows have been read", async || by_market.present(&fixture, &genuine).await.is_ok()).await;
    for planter in [unsigned, by_seller] {
        assert_eq!(reason(planter.present(&fixture, &genuine).await), Reason::TokenInvalid);
    }
    // That of another host counts, until the host is revoked.
    by_host.present(&fixture, &genuine).await.unwrap();
    authority.pki().revoke("market-2", clock::now()).unwrap();
    let refused = async || by_host.present(&fixture, &genuine).await.is_err();
    eventually("the revoked host's key does not count", refused).await;
    by_market.present(&fixture, &genuine).await.unwrap();
    fixture.hold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_key_planted_in_a_file() {
    let mut fixture = Fixture::with_store(LocalMarketOptions::default(), StoreKind::Sqlite).await;
    let mallory = fixture.seller("Mallory").await;
    let genuine = fixture.token().await;
    let (seller, market) =
        (load(&mallory.config.credentials.cert), load(&fixture.market.path().join("pki/market.pem")));
    let [unsigned, by_seller, by_market] = [(); 3].map(|()| Planter::new());
    // The market has its file for itself while it runs.
    fixture.market.stop().await.unwrap();
    let file = rusqlite::Connection::open(fixture.market.path().join("souk.db")).unwrap();
    for (planter, certificate, signs) in
        [(&unsigned, &market, false), (&by_seller, &seller, true), (&by_market, &market, true)]
    {
        file.execute(&planter.row(certificate, signs, |hex| format!("x'{hex}'")), ()).unwrap();
    }
    drop(file);
    fixture.market.start().await.unwrap();
    eventually("the rows have been read", async || by_market.present(&fixture, &genuine).await.is_ok()).await;
    for planter in [unsigned, by_seller] {
        assert_eq!(reason(planter.present(&fixture, &genuine).await), Reason::TokenInvalid);
    }
    fixture.hold().await;
}

//! Which published keys count, and that two markets on a store verify each other's tokens.

use std::{
    sync::{Barrier, Mutex, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use souk_authority::pki::IssueOptions;
use souk_certs::credentials::CredentialFiles;
use souk_certs::identity::Role as CertificateRole;
use souk_store::{MarketKeys, PublishedKey, StoreError};
use tempfile::TempDir;

use super::{
    super::market_key::{self, Discounted, KEY_LIFE},
    *,
};

/// Two markets on one store, each with a token key of its own.
struct Two {
    pki: Pki,
    store: Arc<dyn MarketKeys>,
    here: Market,
    there: Market,
    _folder: TempDir,
}

struct Market {
    tokens: Arc<Tokens>,
    present: Arc<ArcSwap<Credentials>>,
    published: PublishedKeys,
}

impl Market {
    fn open(pki: &Pki, store: &Arc<dyn MarketKeys>) -> Self {
        let tokens = Arc::new(Tokens::new(new_keys(), &TrustDomain::default()));
        let present = Arc::new(ArcSwap::from_pointee(load(&pki.market().unwrap().files())));
        let clock = Clock::new(|| at(0));
        let published =
            PublishedKeys::new(Arc::clone(store), (Arc::clone(&tokens), true), Arc::clone(&present), clock);
        Self { tokens, present, published }
    }

    fn token(&self, certificate: &PeerCertificate) -> String {
        let id = (at(0), random::uuid_v4());
        let issued = self.tokens.issue(certificate, PartyId(ALICE), Role::Seller, 0, id).unwrap();
        issued.token.reveal().to_owned()
    }

    fn own_row(&self) -> PublishedKey {
        market_key::publish(&self.tokens.own_key().public_key, &self.present.load(), at(0), KEY_LIFE).unwrap()
    }
}

fn load(files: &CredentialFiles) -> Credentials {
    Credentials::load(files, &TrustDomain::default(), begin()).unwrap()
}

impl Two {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), begin()).unwrap();
        let store = souk_store::memory::open().market_keys;
        let (here, there) = (Market::open(&pki, &store), Market::open(&pki, &store));
        Self { pki, store, here, there, _folder: folder }
    }

    /// Alice's certificate.
    fn alice(&mut self) -> PeerCertificate {
        let options = IssueOptions { uuid: Some(ALICE), ..IssueOptions::default() };
        let alice = self.pki.issue("alice", CertificateRole::Seller, &options, begin()).unwrap();
        load(&alice.files()).identity().clone()
    }
}

#[tokio::test]
async fn markets_on_a_store_verify_each_others_tokens() {
    let mut two = Two::open();
    let alice = two.alice();
    let token = two.there.token(&alice);
    assert_eq!(two.here.tokens.verify(&token, &alice), Err(TokenFault::Header), "not published yet");
    assert!(two.here.tokens.names_unknown_key(&token));
    two.there.published.refresh().await.unwrap();
    two.here.published.look_up().await;
    assert!(two.here.tokens.verify(&token, &alice).is_ok());
    assert!(!two.here.tokens.names_unknown_key(&token));
    assert!(!two.here.tokens.names_unknown_key("no.token.at-all"));
}

#[tokio::test]
async fn row_counts_while_its_certificate_stands() {
    let mut two = Two::open();
    let alice = two.alice();
    two.there.published.refresh().await.unwrap();
    two.here.published.refresh().await.unwrap();
    let token = two.there.token(&alice);
    let generation = two.here.tokens.generation();
    assert!(!two.here.published.judge(), "nothing has changed");
    assert_eq!(two.here.tokens.generation(), generation);
    // The other market's certificate is revoked, and this one's renewed before.
    let other = load(&two.pki.market().unwrap().files());
    let row = two.there.own_row();
    two.pki.revoke("market", begin()).unwrap();
    two.pki.renew("market", true, begin()).unwrap();
    let renewed = load(&two.pki.market().unwrap().files());
    assert_eq!(market_key::judged(&row, &other, at(0)).map(drop), Ok(()));
    assert_eq!(market_key::judged(&row, &renewed, at(0)).map(drop), Err(Discounted::Certificate));
    two.here.present.store(Arc::new(renewed));
    assert!(two.here.published.judge(), "cached tokens must be forgotten");
    assert_eq!(two.here.tokens.verify(&token, &alice), Err(TokenFault::Header));
    assert!(two.here.tokens.generation() > generation);
}

/// How long a judgement that was overtaken waits for the one that overtook it, which a correct one keeps waiting.
const OVERTAKEN: Duration = Duration::from_millis(300);

/// A point in a judgement, after it has begun and before it has read the time, at which a test does something else.
static IN_JUDGEMENT: OnceLock<Barrier> = OnceLock::new();

#[tokio::test]
async fn judgement_by_old_credentials_does_not_come_last() {
    let mut two = Two::open();
    two.there.published.refresh().await.unwrap();
    let key = two.there.tokens.own_key().id;
    let (tokens, present) = (Arc::clone(&two.here.tokens), Arc::clone(&two.here.present));
    // Stops the first judgement on a thread of this name, and goes on after a while.
    let clock = Clock::new(|| {
        if thread::current().name() == Some("early")
            && let Some(reached) = IN_JUDGEMENT.get()
        {
            reached.wait();
            thread::park_timeout(OVERTAKEN);
        }
        at(0)
    });
    let published =
        PublishedKeys::new(Arc::clone(&two.store), (Arc::clone(&tokens), true), Arc::clone(&present), clock);
    published.refresh().await.unwrap();
    assert!(tokens.knows(&key));
    two.pki.revoke("market", begin()).unwrap();
    two.pki.renew("market", true, begin()).unwrap();
    let renewed = load(&two.pki.market().unwrap().files());
    let reached = IN_JUDGEMENT.get_or_init(|| Barrier::new(2));
    thread::scope(|scope| {
        let early = thread::Builder::new().name("early".to_owned()).spawn_scoped(scope, || published.judge());
        let early = early.unwrap();
        reached.wait();
        // As the component that takes over changed files does.
        present.store(Arc::new(renewed));
        published.judge();
        early.thread().unpark();
        early.join().unwrap();
    });
    assert!(!tokens.knows(&key), "the revoked market's key counts again");
}

#[tokio::test]
async fn planted_row_does_not_count() {
    let mut two = Two::open();
    let seller =
        two.pki.issue("mallory", CertificateRole::Seller, &IssueOptions::default(), begin()).unwrap();
    let seller = load(&seller.files());
    let mallory = Tokens::new(new_keys(), &TrustDomain::default());
    let public = mallory.own_key().public_key;
    let by_seller = market_key::publish(&public, &seller, at(0), KEY_LIFE).unwrap();
    let unsigned = PublishedKey {
        certificate: two.here.own_row().certificate,
        signature: Vec::new(),
        ..by_seller.clone()
    };
    let judged = |row: &PublishedKey| market_key::judged(row, &two.here.present.load(), at(0)).map(drop);
    assert_eq!(judged(&by_seller), Err(Discounted::NotAMarket));
    assert_eq!(judged(&unsigned), Err(Discounted::Signature));
    // A genuine row with another key, id, end or certificate.
    let genuine = two.there.own_row();
    assert_eq!(judged(&genuine), Ok(()));
    for changed in [
        PublishedKey { public_key: public.clone(), id: by_seller.id.clone(), ..genuine.clone() },
        PublishedKey { not_before: at(1), ..genuine.clone() },
        PublishedKey { not_after: at(2), ..genuine.clone() },
    ] {
        assert_eq!(judged(&changed), Err(Discounted::Signature));
    }
    let renamed = PublishedKey { id: by_seller.id.clone(), ..genuine.clone() };
    assert_eq!(judged(&renamed), Err(Discounted::Id));
    for row in [by_seller, unsigned] {
        two.store.publish(&row, at(0)).await.unwrap();
        two.here.published.refresh().await.unwrap();
        assert!(!two.here.tokens.knows(&row.id));
    }
}

#[test]
fn validity_is_bounded() {
    let two = Two::open();
    let credentials = two.there.present.load();
    let public = two.there.tokens.own_key().public_key;
    let row = market_key::publish(&public, &credentials, at(0), KEY_LIFE).unwrap();
    let judged = |row: &PublishedKey, seconds| market_key::judged(row, &credentials, at(seconds)).map(drop);
    let life = i64::try_from(KEY_LIFE.as_secs()).unwrap();
    assert_eq!((judged(&row, life), judged(&row, life + 1)), (Ok(()), Err(Discounted::Validity)));
    assert_eq!((judged(&row, -300), judged(&row, -301)), (Ok(()), Err(Discounted::Validity)));
    let long = market_key::publish(&public, &credentials, at(0), 2 * KEY_LIFE).unwrap();
    assert_eq!(long.not_after, row.not_after);
}

/// A store that counts how often it is read.
#[derive(Default)]
struct Counting(Mutex<usize>);

#[async_trait]
impl MarketKeys for Counting {
    async fn publish(&self, _key: &PublishedKey, _now: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn published(&self, _now: Timestamp) -> Result<Vec<PublishedKey>, StoreError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        tokio::task::yield_now().await;
        Ok(Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_cause_one_read_a_second_in_all() {
    let two = Two::open();
    let counting = Arc::new(Counting::default());
    let store: Arc<dyn MarketKeys> = counting.clone();
    let market = Market::open(&two.pki, &store);
    let reads = || *counting.0.lock().unwrap();
    let looks = || (0..100).map(|_| market.published.look_up());
    futures::future::join_all(looks()).await;
    assert_eq!(reads(), 1);
    tokio::time::advance(Duration::from_millis(999)).await;
    futures::future::join_all(looks()).await;
    assert_eq!(reads(), 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    futures::future::join_all(looks()).await;
    assert_eq!(reads(), 2);
}

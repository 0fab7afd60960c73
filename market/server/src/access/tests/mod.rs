//! Unit tests of access control, without sockets. `market/tests` tests it over real connections.

mod guard;
mod market_keys;
mod token;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use souk_authority::{
    Authority, LeafOptions,
    pki::{InitOptions, Pki},
};
use souk_certs::{
    credentials::Credentials,
    identity::{Identity, PeerCertificate, TrustDomain},
    random::{self, Random},
};
use souk_domain::{PartyId, Role, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use super::*;

/// The time at which tests start: 2026-01-01T00:00:00Z, in seconds since 1970.
const BEGIN: i64 = 1_767_225_600;
const ALICE: Uuid = Uuid::from_u128(0xa11ce);
const BOB: Uuid = Uuid::from_u128(0xb0b);

fn at(seconds_later: i64) -> Timestamp {
    Timestamp((BEGIN + seconds_later) * 1_000_000)
}

/// A fixture with an authority and the token keys of a market.
struct Chain {
    authority: Authority,
    tokens: Arc<Tokens>,
}

impl Chain {
    fn new() -> Self {
        let domain = TrustDomain::default();
        let begin = OffsetDateTime::from_unix_timestamp(BEGIN).unwrap();
        let authority = Authority::create(&domain, begin, Random::SYSTEM).unwrap();
        Self { authority, tokens: Arc::new(Tokens::new(new_keys(), &domain)) }
    }

    /// Issues a certificate. Each call issues another one, even for the same identity.
    fn certificate(&self, identity: Identity) -> Arc<PeerCertificate> {
        let begin = OffsetDateTime::from_unix_timestamp(BEGIN).unwrap();
        let (issued, _) = self.authority.issue(&identity, &LeafOptions::default(), begin).unwrap();
        Arc::new(issued.peer)
    }

    /// Issues a token to a seller or a buyer.
    fn token(&self, certificate: &PeerCertificate, epoch: i64, seconds_later: i64) -> String {
        let role = if certificate.spiffe_id().contains("seller") { Role::Seller } else { Role::Buyer };
        let party = PartyId(certificate.identity().uuid().unwrap());
        let issued = self
            .tokens
            .issue(certificate, party, role, epoch, (at(seconds_later), random::uuid_v4()))
            .unwrap();
        issued.token.reveal().to_owned()
    }
}

fn new_keys() -> TokenKeys {
    TokenKeys::from_pem(TokenKeys::generate().unwrap().as_bytes()).unwrap()
}

fn begin() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(BEGIN).unwrap()
}

/// Returns the published keys of a market that is alone on its store.
fn alone(tokens: &Arc<Tokens>) -> Arc<PublishedKeys> {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), begin()).unwrap();
    let market = pki.market().unwrap();
    let credentials = Credentials::load(&market.files(), &TrustDomain::default(), begin()).unwrap();
    let store = souk_store::memory::open().market_keys;
    let present = Arc::new(ArcSwap::from_pointee(credentials));
    Arc::new(PublishedKeys::new(store, (Arc::clone(tokens), true), present, Clock::new(|| at(0))))
}

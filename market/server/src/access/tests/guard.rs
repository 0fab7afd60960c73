//! Tests of the guard as an interceptor: the calls that it admits, and the reasons for rejecting the others.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use proptest::prelude::*;
use souk_certs::acceptor::PeerInfo;
use souk_proto::{
    Reason,
    metadata::{AUTHORIZATION, BEARER_PREFIX, PARTY_ID},
};
use tonic::{Request, Status, metadata::MetadataValue, service::Interceptor as _};

use super::*;
use crate::config::{Config, LimitConfig};

const SELLERS: Admission = Admission::Token(&[Role::Seller]);

/// Returns the time of the test clock in microseconds, one per test thread.
fn now() -> Timestamp {
    NOW.with(|now| Timestamp(now.load(Ordering::Relaxed)))
}

thread_local! {
    static NOW: AtomicI64 = const { AtomicI64::new(BEGIN * 1_000_000) };
}

fn set_time(seconds_later: i64) {
    NOW.with(|now| now.store(at(seconds_later).0, Ordering::Relaxed));
}

struct Gate {
    chain: Chain,
    access: Arc<Access>,
}

impl Gate {
    /// Applies a standing of alice, as a commit would.
    fn stands(&self, epoch: i64, is_suspended: bool) {
        self.access.note_standing(&Standing { party: PartyId(ALICE), epoch, is_suspended });
    }

    fn open() -> Self {
        let chain = Chain::new();
        let access = Arc::new(Access::open(AccessParts {
            tokens: Arc::clone(&chain.tokens),
            published: alone(&chain.tokens),
            revoked: Arc::default(),
            epochs: Epochs::default(),
            suspended: Suspended::default(),
            refusals: crate::audit::Refusals::default(),
            clock: Clock::new(now),
        }));
        Self { chain, access }
    }

    fn ask(&self, admission: Admission, request: Request<()>) -> Result<Caller, Reason> {
        let answer = Guard::new(Arc::clone(&self.access), admission).call(request);
        let admitted = answer.map_err(|status| reason(&status))?;
        Ok(admitted.extensions().get::<Caller>().expect("a caller").clone())
    }
}

fn reason(status: &Status) -> Reason {
    Reason::of(status).expect("every refusal has a reason")
}

/// Begins a connection with this certificate.
fn connection(certificate: &Arc<PeerCertificate>) -> KnownPeer {
    let address = SocketAddr::from(([192, 0, 2, 1], 50_000));
    KnownPeer::new(PeerInfo { address, certificate: Arc::clone(certificate) })
}

/// A request over a connection.
struct Call(Request<()>);

impl Call {
    fn over(certificate: &Arc<PeerCertificate>) -> Self {
        Self::on(&connection(certificate))
    }

    fn on(connection: &KnownPeer) -> Self {
        let mut request = Request::new(());
        request.extensions_mut().insert(connection.clone());
        Self(request)
    }

    fn party(mut self, text: &str) -> Self {
        self.0.metadata_mut().append(PARTY_ID, MetadataValue::try_from(text).unwrap());
        self
    }

    fn token(self, token: &str) -> Self {
        self.authorization(&format!("{BEARER_PREFIX}{token}"))
    }

    fn authorization(mut self, text: &str) -> Self {
        self.0.metadata_mut().append(AUTHORIZATION, MetadataValue::try_from(text).unwrap());
        self
    }
}

#[test]
fn a_caller_is_who_the_certificate_says() {
    let gate = Gate::open();
    let alice = gate.chain.certificate(Identity::Seller(ALICE));
    let token = gate.chain.token(&alice, 0, 0);
    for _ in 0..2 {
        let call = Call::over(&alice).party(&ALICE.to_string()).token(&token);
        let caller = gate.ask(SELLERS, call.0).unwrap();
        assert_eq!((caller.party, caller.role), (PartyId(ALICE), Role::Seller));
        assert!(caller.token.is_some(), "the second time from the cache");
    }
    let call = Call::over(&alice).party(&ALICE.to_string());
    assert_eq!(gate.ask(Admission::Certificate, call.0).unwrap().token, None);
}

#[test]
fn the_party_id_is_there_once_and_canonical() {
    let gate = Gate::open();
    let alice = gate.chain.certificate(Identity::Seller(ALICE));
    let token = gate.chain.token(&alice, 0, 0);
    let own = ALICE.to_string();
    let values: [&[&str]; 9] = [
        &[],
        &[&BOB.to_string()],
        &[&own.to_uppercase()],
        &[&ALICE.simple().to_string()],
        &[&ALICE.braced().to_string()],
        &[&Uuid::nil().to_string()],
        &["no uuid at all"],
        &[&own, &own],
        &[&own, &BOB.to_string()],
    ];
    for values in values {
        let call = values.iter().fold(Call::over(&alice), |call, value| call.party(value)).token(&token);
        assert_eq!(gate.ask(SELLERS, call.0).unwrap_err(), Reason::PartyIdInvalid, "{values:?}");
    }
}

#[test]
fn the_token_is_there_once_as_a_bearer() {
    let gate = Gate::open();
    let alice = gate.chain.certificate(Identity::Seller(ALICE));
    let token = gate.chain.token(&alice, 0, 0);
    let (bearer, long) = (format!("Bearer {token}"), format!("Bearer {}", "x".repeat(2_049)));
    let values: [&[&str]; 7] =
        [&[], &[""], &["Bearer "], &[&token], &[&format!("Basic {token}")], &[&bearer, &bearer], &[&long]];
    for values in values {
        let call = Call::over(&alice).party(&ALICE.to_string());
        let call = values.iter().fold(call, |call, value| call.authorization(value));
        assert_eq!(gate.ask(SELLERS, call.0).unwrap_err(), Reason::TokenRequired, "{values:?}");
    }
    // RFC 9110 §11.1: the name of the scheme may be in any case.
    for scheme in ["bearer", "BEARER"] {
        let call = Call::over(&alice).party(&ALICE.to_string()).authorization(&format!("{scheme} {token}"));
        gate.ask(SELLERS, call.0).unwrap();
    }
    let call = Call::over(&alice).party(&ALICE.to_string()).token("not.a.token");
    assert_eq!(gate.ask(SELLERS, call.0).unwrap_err(), Reason::TokenInvalid);
}

#[test]
fn only_parties_and_only_the_right_role_pass() {
    let gate = Gate::open();
    let bob = gate.chain.certificate(Identity::Buyer(BOB));
    let token = gate.chain.token(&bob, 0, 0);
    let call = || Call::over(&bob).party(&BOB.to_string()).token(&token).0;
    assert_eq!(gate.ask(SELLERS, call()).unwrap_err(), Reason::RoleDenied);
    assert!(gate.ask(Admission::Token(&[Role::Buyer]), call()).is_ok());

    let market = gate.chain.certificate(Identity::Market);
    let call = Call::over(&market).party(&BOB.to_string()).token(&token);
    assert_eq!(gate.ask(SELLERS, call.0).unwrap_err(), Reason::CertificateRequired);
    let unknown = Call(Request::new(())).party(&BOB.to_string()).token(&token);
    assert_eq!(gate.ask(SELLERS, unknown.0).unwrap_err(), Reason::CertificateRequired);
}

#[test]
fn a_remembered_token_still_ends_with_time_epoch_and_certificate() {
    let gate = Gate::open();
    let alice = gate.chain.certificate(Identity::Seller(ALICE));
    ends_with_time_epoch_and_certificate(&gate, &alice, || connection(&alice));
}

#[test]
fn a_token_remembered_by_its_connection_ends_as_well() {
    let gate = Gate::open();
    let alice = gate.chain.certificate(Identity::Seller(ALICE));
    let only = connection(&alice);
    ends_with_time_epoch_and_certificate(&gate, &alice, || only.clone());
}

fn ends_with_time_epoch_and_certificate(
    gate: &Gate,
    alice: &PeerCertificate,
    connection: impl Fn() -> KnownPeer,
) {
    let token = gate.chain.token(alice, 0, 0);
    let ask = |token: &str| {
        gate.ask(SELLERS, Call::on(&connection()).party(&ALICE.to_string()).token(token).0).map(|_| ())
    };
    ask(&token).unwrap();

    set_time(TOKEN_LIFE.as_secs().cast_signed() + 30);
    assert_eq!(ask(&token).unwrap_err(), Reason::TokenExpired);
    set_time(0);

    gate.stands(1, false);
    assert_eq!(ask(&token).unwrap_err(), Reason::TokenInvalid);
    let next = gate.chain.token(alice, 1, 0);
    ask(&next).unwrap();
    assert_eq!(ask(&gate.chain.token(alice, 2, 0)).unwrap_err(), Reason::TokenInvalid, "a future epoch");
    ask(&next).unwrap();
    gate.stands(1, true);
    assert_eq!(ask(&next).unwrap_err(), Reason::AccountSuspended);
    gate.stands(1, false);

    gate.access.revoke(Arc::new(HashSet::from([alice.serial().to_vec()])));
    assert_eq!(ask(&next).unwrap_err(), Reason::CertificateRevoked);
    gate.access.revoke(Arc::default());
    ask(&next).unwrap();
    gate.chain.tokens.replace_keys(new_keys());
    assert_eq!(ask(&next).unwrap_err(), Reason::TokenInvalid, "its key is gone");
    let next = gate.chain.token(alice, 1, 0);
    ask(&next).unwrap();
    set_time(alice.not_after().unix_timestamp() - BEGIN + 1);
    assert_eq!(ask(&next).unwrap_err(), Reason::CertificateExpired);
}

#[test]
fn a_connection_that_has_shown_a_good_token_must_show_it_again() {
    let gate = Gate::open();
    let alice = gate.chain.certificate(Identity::Seller(ALICE));
    let (only, token) = (connection(&alice), gate.chain.token(&alice, 0, 0));
    let own = ALICE.to_string();
    let ask = |party: &str, token: &str| gate.ask(SELLERS, Call::on(&only).party(party).token(token).0);
    ask(&own, &token).unwrap();
    let (claims, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{claims}.{other}{}", &signature[1..]);
    for wrong in [&forged, &token[1..], &token[..token.len() - 1], &format!("{token}A"), "not.a.token"] {
        assert_eq!(ask(&own, wrong).unwrap_err(), Reason::TokenInvalid, "{wrong}");
    }
    assert_eq!(gate.ask(SELLERS, Call::on(&only).party(&own).0).unwrap_err(), Reason::TokenRequired);
    assert_eq!(ask(&BOB.to_string(), &token).unwrap_err(), Reason::PartyIdInvalid);
    assert_eq!(ask(&own.to_uppercase(), &token).unwrap_err(), Reason::PartyIdInvalid);
    ask(&own, &token).unwrap();
    assert!(!format!("{only:?}").contains(&token), "it is a secret");
}

#[test]
fn a_remembered_token_is_remembered_for_its_certificate_alone() {
    let gate = Gate::open();
    let alice = gate.chain.certificate(Identity::Seller(ALICE));
    let token = gate.chain.token(&alice, 0, 0);
    gate.ask(SELLERS, Call::over(&alice).party(&ALICE.to_string()).token(&token).0).unwrap();
    let mallory = gate.chain.certificate(Identity::Seller(BOB));
    let stolen = Call::over(&mallory).party(&BOB.to_string()).token(&token);
    assert_eq!(gate.ask(SELLERS, stolen.0).unwrap_err(), Reason::TokenInvalid);
}

#[test]
fn a_suspended_party_is_refused_with_a_good_token_and_without() {
    let gate = Gate::open();
    let alice = gate.chain.certificate(Identity::Seller(ALICE));
    let token = gate.chain.token(&alice, 0, 0);
    let ask = |admission| gate.ask(admission, Call::over(&alice).party(&ALICE.to_string()).token(&token).0);
    for admission in [SELLERS, Admission::Certificate] {
        ask(admission).unwrap();
        gate.stands(0, true);
        assert_eq!(ask(admission).unwrap_err(), Reason::AccountSuspended);
        gate.stands(0, false);
        ask(admission).unwrap();
    }
}

#[test]
fn operators_and_nobody_else_get_at_the_operators_service() {
    let gate = Gate::open();
    let ask = |identity: Identity, party: Uuid| {
        let certificate = gate.chain.certificate(identity);
        let call = Call::over(&certificate).party(&party.to_string());
        let answer = Guard::new(Arc::clone(&gate.access), Admission::Operator).call(call.0);
        answer
            .map(|admitted| admitted.extensions().get::<Operator>().expect("an operator").id)
            .map_err(|status| reason(&status))
    };
    assert_eq!(ask(Identity::Operator(ALICE), ALICE), Ok(PartyId(ALICE)));
    assert_eq!(ask(Identity::Operator(ALICE), BOB), Err(Reason::PartyIdInvalid));
    assert_eq!(ask(Identity::Seller(ALICE), ALICE), Err(Reason::RoleDenied));
    assert_eq!(ask(Identity::Buyer(ALICE), ALICE), Err(Reason::RoleDenied));
    assert_eq!(ask(Identity::Market, ALICE), Err(Reason::CertificateRequired));
    assert_eq!(ask(Identity::Authority, ALICE), Err(Reason::CertificateRequired));
    // An operator can call no other service.
    let operator = gate.chain.certificate(Identity::Operator(ALICE));
    let call = Call::over(&operator).party(&ALICE.to_string());
    assert_eq!(gate.ask(Admission::Certificate, call.0).unwrap_err(), Reason::CertificateRequired);
}

/// Returns a counter of calls with a burst of 3, by the identity of the caller. Each call is on a connection of its own.
fn counter() -> impl Fn(Identity) -> Result<(), Duration> {
    let defaults = Config::load(None).unwrap().limits;
    let limits =
        LimitConfig { seller_calls_per_second: 1, buyer_calls_per_second: 1, burst_calls: 3, ..defaults };
    let rates = CallRates::new(&limits);
    move |identity| rates.of(identity).count()
}

#[test]
fn operators_and_markets_have_a_rate_too() {
    let count = counter();
    for identity in [Identity::Operator(ALICE), Identity::Market, Identity::Operator(BOB)] {
        for _ in 0..3 {
            count(identity).unwrap();
        }
        count(identity).unwrap_err();
    }
    // A seller with the operator's UUID has a rate of its own.
    count(Identity::Seller(ALICE)).unwrap();
}

#[test]
fn one_party_over_its_rate_does_not_slow_another() {
    let count = counter();
    for _ in 0..3 {
        count(Identity::Seller(ALICE)).unwrap();
    }
    let wait = count(Identity::Seller(ALICE)).unwrap_err();
    assert_eq!(Reason::of(&rate_limited(wait)), Some(Reason::RateLimited));
    count(Identity::Seller(BOB)).unwrap();
}

#[test]
fn a_refusal_holds_nothing_of_the_token() {
    let gate = Gate::open();
    let alice = gate.chain.certificate(Identity::Seller(ALICE));
    let token = gate.chain.token(&gate.chain.certificate(Identity::Seller(BOB)), 0, 0);
    let call = Call::over(&alice).party(&ALICE.to_string()).token(&token);
    let status = Guard::new(Arc::clone(&gate.access), SELLERS).call(call.0).unwrap_err();
    let text = format!("{status:?}");
    assert!(token.split('.').all(|part| !text.contains(part)), "{text}");
}

proptest! {
    #[test]
    fn no_metadata_makes_the_guard_panic(party in "[ -~]{0,80}", authorization in "[ -~]{0,200}") {
        let gate = Gate::open();
        let alice = gate.chain.certificate(Identity::Seller(ALICE));
        let call = Call::over(&alice).party(&party).authorization(&authorization);
        prop_assert!(gate.ask(SELLERS, call.0).is_err());
    }
}

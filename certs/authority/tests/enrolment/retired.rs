//! Parties whose certificate is of a root that was retired: they may renew, and nothing else.

use std::fs;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType};
use souk_certs::clock::{self, Clock};
use souk_certs::identity::{Role, TrustDomain};
use souk_certs::random::Random;
use souk_enrolment::context::Context;
use souk_enrolment::host::join_host;
use souk_enrolment::join::{check_renewed, renew};
use souk_enrolment::key::PartyKey;
use souk_enrolment::renewal::{self, Outcome, ROOT_SETTLES};
use souk_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use souk_proto::v1::{self, ListCertificatesRequest};
use souk_proto::{Reason, v1::trust_service_client::TrustServiceClient};
use time::{Duration, OffsetDateTime};

use super::world::{Member, World, reason, refusal};

/// Changes the root and retires the one before, and waits until the service knows.
async fn change(world: &mut World) {
    let mut pki = world.pki();
    pki.new_root(clock::now()).unwrap();
    pki.retire_root(true, clock::now()).unwrap();
    world.stop().await;
    world.start().await;
}

#[tokio::test]
async fn party_of_a_retired_root_still_renews() {
    let mut world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    change(&mut world).await;
    change(&mut world).await;
    alice.trust(&world.bundle());
    let key = PartyKey::generate().unwrap();
    let renewed = renew(&world.dial(), &alice.credentials(), &key).await.unwrap();
    let (identity, root) = (alice.joined.peer.identity(), world.pki().root().clone());
    check_renewed(&renewed, &key, &[root], identity, &TrustDomain::default(), clock::now()).unwrap();
    // Once: then the new one is its certificate.
    let again = renew(&world.dial(), &alice.credentials(), &PartyKey::generate().unwrap()).await;
    assert_eq!(refusal(again), Some(Reason::RenewalSuperseded));
    world.serves_others().await;
}

#[tokio::test]
async fn certificate_of_a_retired_root_is_good_for_nothing_else() {
    let mut world = World::new().await;
    let olga = Member::join(&world.invite(Role::Operator, "olga"), Role::Operator).await.unwrap();
    let market = Member::join(&world.invite(Role::Market, "m1"), Role::Market).await.unwrap();
    change(&mut world).await;
    for member in [&olga, &market] {
        member.trust(&world.bundle());
    }
    let mut operator = EnrolmentServiceClient::new(world.connect(&olga.credentials()).await.unwrap());
    let refused = operator.list_certificates(ListCertificatesRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CertificateExpired));
    let mut follower = TrustServiceClient::new(world.connect(&market.credentials()).await.unwrap());
    let refused = follower.watch_trust(v1::WatchTrustRequest { known_sequence: 0 }).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CertificateExpired));
}

#[tokio::test]
async fn revoked_party_of_a_retired_root_does_not_renew() {
    let mut world = World::new().await;
    let early = Member::join(&world.invite(Role::Seller, "early"), Role::Seller).await.unwrap();
    let late = Member::join(&world.invite(Role::Seller, "late"), Role::Seller).await.unwrap();
    world.pki().revoke("early", clock::now()).unwrap();
    change(&mut world).await;
    // The list of the retired root says nothing of this.
    world.pki().revoke("late", clock::now()).unwrap();
    let signed = world.signed();
    for member in [&early, &late] {
        member.trust(&world.bundle());
        let refused = renew(&world.dial(), &member.credentials(), &PartyKey::generate().unwrap()).await;
        refused.unwrap_err();
    }
    assert_eq!(world.signed(), signed);
}

/// Signs a certificate that says what another one says, for another key.
fn forged(root: &str, root_key: &str, serial: &[u8], spiffe_id: &str, key: &KeyPair) -> String {
    let issuer = Issuer::from_ca_cert_pem(root, KeyPair::from_pem(root_key).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.serial_number = Some(rcgen::SerialNumber::from_slice(serial));
    params.not_before = clock::now() - Duration::HOUR;
    params.not_after = clock::now() + Duration::DAY;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(spiffe_id.try_into().unwrap())];
    params.signed_by(key, &issuer).unwrap().pem()
}

#[tokio::test]
async fn stolen_key_of_a_retired_root_renews_nobody() {
    let mut world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let stolen = ["ca.pem", "ca.key"].map(|file| fs::read_to_string(world.dir().join(file)).unwrap());
    change(&mut world).await;
    let peer = &alice.joined.peer;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = forged(&stolen[0], &stolen[1], peer.serial(), peer.spiffe_id(), &key);
    let thief = Member::join(&world.invite(Role::Buyer, "thief"), Role::Buyer).await.unwrap();
    fs::write(thief.folder.path().join("party.pem"), certificate).unwrap();
    fs::write(thief.folder.path().join("party.key"), key.serialize_pem()).unwrap();
    let signed = world.signed();
    let refused = renew(&world.dial(), &thief.credentials(), &PartyKey::generate().unwrap()).await;
    assert_eq!(refusal(refused), Some(Reason::CertificateRequired));
    assert_eq!(world.signed(), signed);
    world.serves_others().await;
}

#[tokio::test]
async fn party_of_a_compromised_root_does_not_renew() {
    let mut world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    change(&mut world).await;
    let mut pki = world.pki();
    pki.new_root(clock::now()).unwrap();
    pki.retire_compromised_root(clock::now()).unwrap();
    world.stop().await;
    world.start().await;
    alice.trust(&world.bundle());
    let (signed, credentials) = (world.signed(), alice.credentials());
    renew(&world.dial(), &credentials, &PartyKey::generate().unwrap()).await.unwrap_err();
    assert_eq!(world.signed(), signed);
}

fn in_two_days() -> OffsetDateTime {
    clock::now() + ROOT_SETTLES * 2
}

#[tokio::test]
async fn market_shows_a_certificate_of_a_new_root_when_its_clients_know_it() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let market = Context::at(folder.path());
    let sources = (Clock::SYSTEM, Random::SYSTEM);
    join_host(&market, &world.invite(Role::Market, "m1"), Vec::new(), sources).await.unwrap();
    let look = async |clock| renewal::renew(&market, clock, Random::SYSTEM).await.unwrap();
    assert_eq!(look(Clock::SYSTEM).await, Outcome::NotDue);
    world.pki().new_root(clock::now()).unwrap();
    world.stop().await;
    world.start().await;
    renewal::take(&market, &[world.bundle()], Clock::SYSTEM, Random::SYSTEM).unwrap();
    assert_eq!(look(Clock::SYSTEM).await, Outcome::NotDue);
    assert!(renewal::is_of_trusted_root(&market).unwrap());
    let refused = world.pki().retire_root(false, clock::now()).unwrap_err().to_string();
    assert!(refused.contains("m1"), "{refused}");
    let later = look(Clock::new(in_two_days)).await;
    assert!(matches!(later, Outcome::Renewed(_)), "{later:?}");
    world.pki().retire_root(false, clock::now()).unwrap();
    renewal::take(&market, &[world.bundle()], Clock::SYSTEM, Random::SYSTEM).unwrap();
    assert!(renewal::is_of_trusted_root(&market).unwrap());
    assert_eq!(look(Clock::SYSTEM).await, Outcome::NotDue);
}

#[tokio::test]
async fn market_whose_root_was_retired_renews_at_once() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let market = Context::at(folder.path());
    let sources = (Clock::SYSTEM, Random::SYSTEM);
    join_host(&market, &world.invite(Role::Market, "m1"), Vec::new(), sources).await.unwrap();
    change(&mut world).await;
    renewal::catch_up(&market, Clock::SYSTEM, Random::SYSTEM).await.unwrap();
    assert!(!renewal::is_of_trusted_root(&market).unwrap());
    let renewed = renewal::renew(&market, Clock::SYSTEM, Random::SYSTEM).await.unwrap();
    assert!(matches!(renewed, Outcome::Renewed(_)), "{renewed:?}");
    assert!(renewal::is_of_trusted_root(&market).unwrap());
}

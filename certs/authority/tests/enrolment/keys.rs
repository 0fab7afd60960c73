//! What is taken from a signing request: the public key, if its holder has signed the request, and nothing else.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SigningKey,
};
use souk_authority::invitation::book::NewInvitation;
use souk_certs::clock;
use souk_certs::identity::{PeerCertificate, Role, TrustDomain};
use souk_enrolment::join::join;
use souk_enrolment::key::PartyKey;
use souk_proto::{Reason, v1};
use time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::world::{Member, World, reason, refusal, request};

/// Sends a request with this CSR for a fresh invitation, and returns the certificate or the reason of the refusal.
async fn send(world: &World, csr: Vec<u8>) -> Result<Vec<u8>, Option<Reason>> {
    let name = format!("party-{}", souk_certs::random::uuid_v4().simple());
    let code = world.invite(Role::Seller, &name);
    let mut stranger = world.stranger(&code).await;
    let request = v1::JoinRequest { csr, ..request(&code, v1::Role::Seller, &PartyKey::generate().unwrap()) };
    let answer = stranger.join(request).await.map_err(|status| reason(&status));
    if answer.is_err() {
        // It is not used up by that.
        assert!(Member::join(&code, Role::Seller).await.is_ok());
    }
    Ok(answer?.into_inner().certificate)
}

/// Asserts that the request is refused, and that nothing was signed for it.
async fn refuses(csr: Vec<u8>) {
    let world = World::new().await;
    assert_eq!(send(&world, csr).await, Err(Some(Reason::KeyRefused)));
    assert_eq!(world.signed(), 1, "for the bystander alone");
    world.logs(&["refuse", "KEY_REFUSED"]).await;
    world.serves_others().await;
}

/// A key that claims to be another: it signs with its own.
struct Claimed<'a> {
    own: &'a KeyPair,
    claimed: &'a KeyPair,
}

impl rcgen::PublicKeyData for Claimed<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.claimed.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.claimed.algorithm()
    }
}

impl SigningKey for Claimed<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.own.sign(message)
    }
}

#[tokio::test]
async fn csr_of_somebody_elses_key() {
    let (own, claimed) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let csr =
        CertificateParams::default().serialize_request(&Claimed { own: &own, claimed: &claimed }).unwrap();
    refuses(csr.der().to_vec()).await;
}

#[tokio::test]
async fn csr_with_another_kind_of_key() {
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        refuses(CertificateParams::default().serialize_request(&key).unwrap().der().to_vec()).await;
    }
}

#[tokio::test]
async fn csr_that_is_none() {
    let good = PartyKey::generate().unwrap().request().unwrap().to_vec();
    let mut tail = good.clone();
    tail.push(0);
    for csr in
        [Vec::new(), b"-----BEGIN CERTIFICATE REQUEST-----".to_vec(), good[..good.len() - 1].to_vec(), tail]
    {
        refuses(csr).await;
    }
}

#[tokio::test]
async fn csr_with_ca_flag_and_names() {
    let world = World::new().await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["market.souk.internal".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    params.subject_alt_names.push(SanType::URI("spiffe://souk.internal/market".try_into().unwrap()));
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    let certificate = send(&world, csr).await.unwrap();
    let (_, parsed) = X509Certificate::from_der(&certificate).unwrap();
    assert!(!parsed.is_ca());
    assert!(!parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
    let names = parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len();
    assert_eq!(names, 2, "the SPIFFE ID and its DNS name");
    let peer = PeerCertificate::from_der(&certificate.clone().into(), &TrustDomain::default()).unwrap();
    assert_eq!(peer.identity().role(), Role::Seller);
    assert_eq!(world.signed(), 1);
    world.serves_others().await;
}

#[tokio::test]
async fn request_of_17_kib_is_refused() {
    let world = World::new().await;
    let sent = send(&world, vec![0; 17 * 1024]).await;
    assert_eq!(sent, Err(Some(Reason::MessageTooLarge)));
    assert_eq!(world.signed(), 1);
    world.serves_others().await;
}

#[tokio::test]
async fn key_of_a_revoked_certificate_joins_no_more() {
    let world = World::new().await;
    let key = PartyKey::generate().unwrap();
    let code = world.invite(Role::Seller, "alice");
    join(&code, Role::Seller, &key, clock::now()).await.unwrap();
    world.pki().revoke("alice", clock::now()).unwrap();
    let new =
        NewInvitation { role: Role::Seller, name: "alice".to_owned(), again: true, validity: Duration::DAY };
    let again = world.pki().invite(new, clock::now()).unwrap().0;
    let refused = join(&again, Role::Seller, &key, clock::now()).await;
    assert_eq!(refusal(refused), Some(Reason::KeyRefused));
    // The invitation is not used up.
    Member::join(&again, Role::Seller).await.unwrap();
    world.serves_others().await;
}

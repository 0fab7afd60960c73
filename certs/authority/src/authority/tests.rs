use rcgen::{CertificateSigningRequest, CustomExtension, ExtendedKeyUsagePurpose, SanType};
use souk_certs::identity::{Identity, PeerCertificate};
use time::macros::datetime;
use uuid::Uuid;
use x509_parser::prelude::GeneralName;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn authority() -> Authority {
    Authority::create(&TrustDomain::default(), NOW, Random::SYSTEM).unwrap()
}

fn seller() -> Identity {
    Identity::Seller(Uuid::from_u128(7))
}

/// Checks everything that the profile of a leaf prescribes.
fn assert_profile(authority: &Authority, issued: &Issued, identity: Identity) {
    let (_, leaf) = X509Certificate::from_der(&issued.certificate).unwrap();
    let (_, root) = X509Certificate::from_der(authority.certificate()).unwrap();
    leaf.verify_signature(Some(root.public_key())).unwrap();
    assert_eq!(leaf.issuer(), root.subject());
    assert_eq!(leaf.validity().not_before.to_datetime(), NOW - Duration::minutes(5));
    assert_eq!(leaf.validity().not_after.to_datetime(), NOW + Duration::days(90));
    assert_eq!((leaf.raw_serial().len(), leaf.raw_serial()[0] & 0xc0), (16, 0x40));

    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.flags == 1, "digitalSignature only: {usage:?}");
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any && !extended.code_signing);
    assert!(extended.other.is_empty());
    let constraints = leaf.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);
    let mut extensions: Vec<_> =
        leaf.extensions().iter().map(|extension| extension.oid.to_id_string()).collect();
    extensions.sort();
    // Subject key id, key usage, alternative name, basic constraints, authority key id and extended key usage, and no
    // other extension.
    assert_eq!(extensions, ["2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35", "2.5.29.37"]);

    let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    let (domain, uri) = (TrustDomain::default(), identity.spiffe_id(authority.trust_domain()));
    assert_eq!(names[..], [GeneralName::URI(&uri), GeneralName::DNSName(&identity.dns_name(&domain))]);
    assert_eq!(issued.peer.identity(), identity);
}

fn request(params: CertificateParams) -> (CertificateSigningRequest, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (params.serialize_request(&key).unwrap(), key)
}

#[test]
fn a_leaf_has_the_profile_and_fits_its_key() {
    let authority = authority();
    let (issued, key) = authority.issue(&seller(), &LeafOptions::default(), NOW).unwrap();
    assert_profile(&authority, &issued, seller());
    let (_, leaf) = X509Certificate::from_der(&issued.certificate).unwrap();
    let key = KeyPair::from_pem(&key).unwrap();
    assert_eq!(leaf.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
}

#[test]
fn a_root_may_sign_leaves_and_lists_and_nothing_else() {
    let authority = authority();
    let (_, root) = X509Certificate::from_der(authority.certificate()).unwrap();
    let constraints = root.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = root.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    assert_eq!(root.validity().not_after.to_datetime(), NOW + Duration::days(3652));
    assert_ne!(
        root.subject(),
        X509Certificate::from_der(self::authority().certificate()).unwrap().1.subject()
    );
}

#[test]
fn serial_numbers_are_drawn_from_the_given_source() {
    let chosen = Random::new(|bytes| bytes.fill(0xff));
    let authority = Authority::create(&TrustDomain::default(), NOW, chosen).unwrap();
    let (issued, _) = authority.issue(&seller(), &LeafOptions::default(), NOW).unwrap();
    let mut serial = [0xff; SERIAL_LENGTH];
    serial[0] = 0x7f;
    assert_eq!(issued.peer.serial(), serial);
}

#[test]
fn a_loaded_authority_signs_like_the_one_that_was_made() {
    let made = authority();
    let (domain, certificate, key) = (TrustDomain::default(), made.certificate_pem(), made.key_pem());
    let loaded = Authority::load(&domain, certificate, &key, Random::SYSTEM).unwrap();
    let (issued, _) = loaded.issue(&seller(), &LeafOptions::default(), NOW).unwrap();
    assert_profile(&made, &issued, seller());
}

#[test]
fn a_damaged_or_mismatched_authority_is_refused() {
    let (ours, other) = (authority(), authority());
    let load = |certificate: &str, key: &str| {
        Authority::load(&TrustDomain::default(), certificate, key, Random::SYSTEM).map(drop).unwrap_err()
    };
    assert!(matches!(load("", &ours.key_pem()), AuthorityError::Certificate));
    assert!(matches!(load(ours.certificate_pem(), "nonsense"), AuthorityError::Key));
    assert!(matches!(load(ours.certificate_pem(), &other.key_pem()), AuthorityError::KeyMismatch));
    let (leaf, key) = ours.issue(&seller(), &LeafOptions::default(), NOW).unwrap();
    assert!(matches!(load(&leaf.certificate_pem, &key), AuthorityError::Certificate));
}

#[test]
fn no_leaf_outlives_the_root_and_an_expired_root_signs_none() {
    let authority = authority();
    let late = authority.not_after() - Duration::days(1);
    let (issued, _) = authority.issue(&seller(), &LeafOptions::default(), late).unwrap();
    assert_eq!(issued.peer.not_after(), authority.not_after());
    let after = authority.not_after() + Duration::seconds(1);
    let refused = authority.issue(&seller(), &LeafOptions::default(), after).map(drop);
    assert!(matches!(refused, Err(AuthorityError::Expired { .. })));
}

#[test]
fn a_request_yields_its_public_key_and_nothing_else() {
    let authority = authority();
    let mut greedy = CertificateParams::default();
    greedy.distinguished_name = common_name("market");
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning, ExtendedKeyUsagePurpose::Any];
    greedy.subject_alt_names = vec![
        SanType::URI("spiffe://souk.internal/market".try_into().unwrap()),
        SanType::DnsName("market.souk.internal".try_into().unwrap()),
    ];
    // An unknown extension must neither be copied into the certificate nor make the request fail.
    greedy.custom_extensions =
        vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0])];
    let (csr, key) = request(greedy);
    let issued = authority.sign_csr(&csr.pem().unwrap(), &seller(), &LeafOptions::default(), NOW).unwrap();
    assert_profile(&authority, &issued, seller());
    let (_, leaf) = X509Certificate::from_der(&issued.certificate).unwrap();
    assert_eq!(leaf.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
    assert!(!leaf.subject().to_string().contains("market"));
}

#[test]
fn a_request_that_is_not_signed_by_its_own_key_is_refused() {
    let (ours, _) = request(CertificateParams::default());
    let (_, other_key) = request(CertificateParams::default());
    // Replace the public key in the request. Both keys have the same length.
    let raw = key_of(&ours);
    let mut der = ours.der().to_vec();
    let at = der.windows(raw.len()).position(|window| window == raw).unwrap();
    der[at..at + raw.len()].copy_from_slice(other_key.public_key_raw());
    let refused = sign_der(&der);
    assert!(matches!(refused, Err(AuthorityError::RequestSignature)), "{refused:?}");
}

#[test]
fn a_request_with_a_key_of_another_kind_is_refused() {
    for kind in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(kind).unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap();
        let refused = sign_der(csr.der());
        assert!(matches!(refused, Err(AuthorityError::RequestKey)), "{refused:?}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let authority = authority();
    let (csr, _) = request(CertificateParams::default());
    let mut longer = csr.der().to_vec();
    longer.push(0);
    assert!(matches!(sign_der(&longer), Err(AuthorityError::Request)));
    for text in ["", "-----BEGIN CERTIFICATE REQUEST-----\n!\n-----END CERTIFICATE REQUEST-----\n"] {
        let refused = authority.sign_csr(text, &seller(), &LeafOptions::default(), NOW).map(drop);
        assert!(matches!(refused, Err(AuthorityError::Request)), "{refused:?}");
    }
}

#[test]
fn further_names_are_checked_and_the_own_one_is_not_repeated() {
    let authority = authority();
    let leaf = |dns: &str| LeafOptions { dns: vec![dns.to_owned()], ..LeafOptions::default() };
    let own = Identity::Market.dns_name(authority.trust_domain());
    let (issued, _) = authority.issue(&Identity::Market, &leaf(&own), NOW).unwrap();
    assert_profile(&authority, &issued, Identity::Market);
    for bad in ["", "a b", "-a.example", "https://market.example", "markt.exämple", "a..b"] {
        let refused = authority.issue(&Identity::Market, &leaf(bad), NOW).map(drop);
        assert!(matches!(refused, Err(AuthorityError::DnsName { .. })), "accepted {bad:?}");
    }
}

#[test]
fn only_the_identity_of_exactly_one_uri_counts() {
    let key = KeyPair::generate().unwrap();
    let read = |uris: &[&str]| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        let certificate = params.self_signed(&key).unwrap();
        PeerCertificate::from_der(certificate.der(), &TrustDomain::default())
    };
    let market = "spiffe://souk.internal/market";
    assert_eq!(read(&[market]).unwrap().identity(), Identity::Market);
    assert_eq!(read(&[]), Err(CertificateError::NotOneUri));
    assert_eq!(read(&[market, market]), Err(CertificateError::NotOneUri));
    assert_eq!(read(&[market, "https://example.org/"]), Err(CertificateError::NotOneUri));
    assert!(matches!(read(&["spiffe://elsewhere/market"]), Err(CertificateError::Identity(_))));
    let authority = authority();
    let root = PeerCertificate::from_der(authority.certificate(), &TrustDomain::default());
    assert_eq!(root, Err(CertificateError::Authority));
}

fn sign_der(der: &[u8]) -> Result<(), AuthorityError> {
    let pem = souk_certs::pem::encode("CERTIFICATE REQUEST", der);
    authority().sign_csr(&pem, &seller(), &LeafOptions::default(), NOW).map(drop)
}

/// Returns the public key in a request.
fn key_of(csr: &CertificateSigningRequest) -> Vec<u8> {
    use x509_parser::certification_request::X509CertificationRequest;
    let (_, request) = X509CertificationRequest::from_der(csr.der()).unwrap();
    request.certification_request_info.subject_pki.subject_public_key.data.to_vec()
}

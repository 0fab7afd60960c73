//! What is accepted, and what is not.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use souk_certs::identity::{Identity, TrustDomain};
use souk_proto::v1;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::accept::{MAX_AHEAD, Refused, Trusted, accept};
use super::bundle::{BundleError, MAX_BUNDLE_BYTES, MAX_ROOTS, SignedBundle, TrustBundle, TrustedRoot};
use super::keep::{install, trusted_by};
use super::walk::{CATCH_UP_GRACE, MAX_WALK, WalkRefused, walk};
use crate::context::{Context, Generation};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

/// A root with its key.
pub(crate) struct Root {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Root {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).unwrap();
        Self { certificate, issuer }
    }

    pub(crate) fn with_list(&self, number: u64) -> TrustedRoot {
        TrustedRoot { certificate: self.certificate.clone(), list: self.with_list_of(number, 0) }
    }

    /// Signs a list with so many entries.
    fn with_list_of(&self, number: u64, revoked: u64) -> CertificateRevocationListDer<'static> {
        let entry = |serial: u64| RevokedCertParams {
            serial_number: [[0x7f; 12].as_slice(), &serial.to_be_bytes()].concat().into(),
            revocation_time: NOW,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: NOW,
            next_update: NOW + Duration::days(30),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: (0..revoked).map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().der().clone()
    }

    fn leaf(&self, identity: Identity) -> CertificateDer<'static> {
        self.leaf_valid(identity, NOW - Duration::days(1), NOW + Duration::days(90))
    }

    pub(crate) fn leaf_valid(
        &self,
        identity: Identity,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> CertificateDer<'static> {
        let domain = TrustDomain::default();
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec![identity.dns_name(&domain)]).unwrap();
        let uri = identity.spiffe_id(&domain);
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (from, until);
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }
}

pub(crate) fn bundle(sequence: i64, roots: Vec<TrustedRoot>) -> TrustBundle {
    TrustBundle {
        sequence,
        trust_domain: TrustDomain::default(),
        created_at: NOW,
        roots,
        markets: vec!["market.example.org:7443".to_owned()],
        authorities: vec!["ca.example.org:7442".to_owned()],
    }
}

pub(crate) fn signed(bundle: &TrustBundle, signers: &[&Root]) -> SignedBundle {
    let signers: Vec<_> = signers.iter().map(|root| (&root.certificate, root.issuer.key())).collect();
    bundle.sign(&signers).unwrap()
}

/// What is trusted with bundle 5 of this root, whose list is number 7.
fn trusting(root: &Root) -> Trusted {
    trusting_sequence(root, 5)
}

/// What is trusted with a bundle of this number; the root's list is number 7.
pub(crate) fn trusting_sequence(root: &Root, sequence: i64) -> Trusted {
    let contents = bundle(sequence, vec![root.with_list(7)]);
    let stored = signed(&contents, &[root]);
    let list = contents.roots[0].list.clone();
    Trusted::in_use(TrustDomain::default(), std::slice::from_ref(&root.certificate), &[list], Some(&stored))
}

#[test]
fn bundle_survives_its_encoding() {
    let root = Root::new("one");
    let contents = bundle(6, vec![root.with_list(8)]);
    let there = signed(&contents, &[&root]);
    let back = SignedBundle::from_bytes(&there.to_bytes()).unwrap();
    assert_eq!(back, there);
    assert_eq!(back.open().unwrap(), contents);
    assert!(back.is_signed_by(&root.certificate) && !back.is_signed_by(&Root::new("one").certificate));
    assert!(contents.ca_pem().starts_with("-----BEGIN CERTIFICATE-----\n"));
    souk_certs::pem::check(contents.ca_pem().as_bytes()).unwrap();
    souk_certs::pem::check(contents.crl_pem().as_bytes()).unwrap();
}

#[test]
fn newer_bundle_of_a_trusted_root_is_accepted() {
    let (root, next) = (Root::new("one"), Root::new("two"));
    let trusted = trusting(&root);
    assert_eq!(trusted.sequence(), 5);
    let both = signed(&bundle(9, vec![next.with_list(7), root.with_list(7)]), &[&next, &root]);
    let accepted = accept(&trusted, &both, NOW - MAX_AHEAD).unwrap();
    assert_eq!((accepted.trusted().sequence(), accepted.trusted().roots().len()), (9, 2));
    // What is written to the disk, and read again, says the same.
    let (roots, lists): (Vec<_>, Vec<_>) =
        accepted.bundle().roots.iter().map(|root| (root.certificate.clone(), root.list.clone())).unzip();
    let again = Trusted::in_use(TrustDomain::default(), &roots, &lists, Some(accepted.signed()));
    assert_eq!(&again, accepted.trusted());
    assert_eq!(accept(&again, &both, NOW).unwrap_err(), Refused::InUse);
}

#[test]
fn forged_bundle_is_refused() {
    let (root, liar) = (Root::new("one"), Root::new("one"));
    let trusted = trusting(&root);
    let offered = bundle(6, vec![liar.with_list(8)]);
    assert_eq!(accept(&trusted, &signed(&offered, &[&liar]), NOW).unwrap_err(), Refused::Forged);
    // Well signed, and then changed.
    let mut wire = v1::SignedTrustBundle::from(signed(&bundle(6, vec![root.with_list(8)]), &[&root]));
    let last = wire.bundle.len() - 1;
    wire.bundle[last] ^= 1;
    let changed = SignedBundle::try_from(wire).unwrap();
    assert_eq!(accept(&trusted, &changed, NOW).unwrap_err(), Refused::Forged);
    // The signature of another under the name of the trusted root.
    let mut wire = v1::SignedTrustBundle::from(signed(&offered, &[&liar]));
    let good = v1::SignedTrustBundle::from(signed(&bundle(6, vec![root.with_list(8)]), &[&root]));
    wire.signatures[0].root_sha256.clone_from(&good.signatures[0].root_sha256);
    let renamed = SignedBundle::try_from(wire).unwrap();
    assert_eq!(accept(&trusted, &renamed, NOW).unwrap_err(), Refused::Forged);
}

#[test]
fn a_market_can_not_pad_a_bundle_with_signatures() {
    let root = Root::new("one");
    let genuine = v1::SignedTrustBundle::from(signed(&bundle(6, vec![root.with_list(8)]), &[&root]));
    let padded = |print: usize, bytes: usize| {
        let junk = v1::TrustSignature { root_sha256: vec![7; print], ecdsa_p256_sha256: vec![7; bytes] };
        let mut wire = genuine.clone();
        wire.signatures.splice(0..0, std::iter::repeat_n(junk, 7));
        SignedBundle::try_from(wire)
    };
    for (print, bytes) in [(32, 600 * 1024), (32, 81), (31, 72), (600 * 1024, 72)] {
        assert!(matches!(padded(print, bytes), Err(BundleError::Malformed(_))), "{print}, {bytes}");
    }
    // Those of a plausible length are left out of what is kept.
    let offered = padded(32, 80).unwrap();
    let accepted = accept(&trusting(&root), &offered, NOW).unwrap();
    assert_eq!(accepted.signed(), &SignedBundle::try_from(genuine).unwrap());
}

#[test]
fn the_largest_bundle_that_is_accepted_can_be_installed_and_read() {
    let home = tempfile::tempdir().unwrap();
    let context = Context::at(home.path());
    let root = Root::new("one");
    let contents = |sequence, revoked| {
        let list = root.with_list_of(8, revoked);
        bundle(sequence, vec![TrustedRoot { certificate: root.certificate.clone(), list }])
    };
    let first = contents(5, 0);
    let locked = context.lock().unwrap();
    let leaf = root.leaf(Identity::Buyer(uuid::Uuid::nil()));
    locked
        .install(&Generation {
            certificate: souk_certs::pem::encode("CERTIFICATE", &leaf),
            key: String::new(),
            roots: first.ca_pem(),
            lists: first.crl_pem(),
            trust: signed(&first, &[&root]).to_bytes(),
        })
        .unwrap();
    // An entry with a serial number of 20 bytes takes 39.
    let large = signed(&contents(6, 4_100_000 / 39), &[&root]);
    assert!((4_000_000..MAX_BUNDLE_BYTES).contains(&large.size()), "{}", large.size());
    let domain = TrustDomain::default();
    let accepted = accept(&trusted_by(&context, &domain).unwrap(), &large, NOW).unwrap();
    assert!(install(&locked, &accepted, uuid::Uuid::nil()).unwrap());
    assert_eq!(&trusted_by(&context, &domain).unwrap(), accepted.trusted());
}

#[test]
fn older_and_forked_bundles_are_refused() {
    let root = Root::new("one");
    let trusted = trusting(&root);
    let older = signed(&bundle(4, vec![root.with_list(9)]), &[&root]);
    assert_eq!(accept(&trusted, &older, NOW).unwrap_err(), Refused::Older { offered: 4, in_use: 5 });
    let forked = signed(&bundle(5, vec![root.with_list(9)]), &[&root]);
    assert_eq!(accept(&trusted, &forked, NOW).unwrap_err(), Refused::Forked { sequence: 5 });
}

#[test]
fn list_number_does_not_go_back() {
    let root = Root::new("one");
    let trusted = trusting(&root);
    let older = signed(&bundle(6, vec![root.with_list(6)]), &[&root]);
    assert_eq!(accept(&trusted, &older, NOW).unwrap_err(), Refused::OlderList);
    // 256 has more bytes than 7, and a lower first byte.
    let newer = signed(&bundle(6, vec![root.with_list(256)]), &[&root]);
    assert!(accept(&trusted, &newer, NOW).is_ok());
}

#[test]
fn root_without_its_list_is_refused() {
    let (root, other) = (Root::new("one"), Root::new("two"));
    let missing = TrustedRoot { list: root.with_list(8).list, ..other.with_list(8) };
    let contents = bundle(6, vec![root.with_list(8), missing]);
    let signers = [(&root.certificate, root.issuer.key())];
    let no_list = |error| matches!(error, BundleError::NoList { root } if root == "CN=two");
    assert!(no_list(contents.sign(&signers).unwrap_err()), "the authority does not publish it");
    // A list in the root's name that another has signed.
    let impostor = TrustedRoot { list: Root::new("one").with_list(8).list, ..root.with_list(8) };
    assert!(matches!(bundle(6, vec![impostor]).sign(&signers), Err(BundleError::NoList { .. })));
}

#[test]
fn bundle_from_the_future_is_refused() {
    let root = Root::new("one");
    let offered = signed(&bundle(6, vec![root.with_list(8)]), &[&root]);
    let just_before = NOW - MAX_AHEAD - Duration::SECOND;
    let refused = accept(&trusting(&root), &offered, just_before).unwrap_err();
    assert_eq!(refused, Refused::FromTheFuture { created_at: NOW });
}

#[test]
fn other_domain_is_refused() {
    let root = Root::new("one");
    let contents =
        TrustBundle { trust_domain: "other.example".parse().unwrap(), ..bundle(6, vec![root.with_list(8)]) };
    let refused = accept(&trusting(&root), &signed(&contents, &[&root]), NOW).unwrap_err();
    assert!(matches!(refused, Refused::OtherDomain { found, .. } if found.as_str() == "other.example"));
}

#[test]
fn size_and_number_of_roots_are_bounded() {
    let root = Root::new("one");
    let signers = [(&root.certificate, root.issuer.key())];
    let many = (0..=MAX_ROOTS).map(|number| Root::new(&number.to_string()).with_list(1)).collect();
    assert_eq!(bundle(6, many).sign(&signers).unwrap_err(), BundleError::Roots { roots: MAX_ROOTS + 1 });
    assert_eq!(bundle(6, Vec::new()).sign(&signers).unwrap_err(), BundleError::Roots { roots: 0 });
    let markets = vec!["x".repeat(MAX_BUNDLE_BYTES)];
    let large = TrustBundle { markets, ..bundle(6, vec![root.with_list(8)]) };
    assert!(matches!(large.sign(&signers), Err(BundleError::TooLarge { .. })));
}

#[test]
fn stored_bundle_of_another_root_does_not_count() {
    let (root, other) = (Root::new("one"), Root::new("two"));
    let stored = signed(&bundle(50, vec![other.with_list(7)]), &[&other]);
    let domain = TrustDomain::default();
    let trusted = Trusted::in_use(domain, std::slice::from_ref(&root.certificate), &[], Some(&stored));
    assert_eq!(trusted.sequence(), 0);
}

/// The chain of an authority whose root changed from `first` to `second` and on to `third`.
fn chain(first: &Root, second: &Root, third: &Root) -> Vec<SignedBundle> {
    vec![
        signed(&bundle(6, vec![second.with_list(1), first.with_list(8)]), &[second, first]),
        signed(&bundle(7, vec![second.with_list(2)]), &[second, first]),
        signed(&bundle(9, vec![third.with_list(1), second.with_list(3)]), &[third, second]),
        signed(&bundle(11, vec![third.with_list(2)]), &[third, second]),
        signed(&bundle(12, vec![third.with_list(3)]), &[third]),
    ]
}

#[test]
fn roots_that_changed_while_away_are_caught_up_with() {
    let [first, second, third] = ["one", "two", "three"].map(Root::new);
    let trusted = trusting(&first);
    let chain = chain(&first, &second, &third);
    let authority = third.leaf(Identity::Authority);
    let newest = chain.last().unwrap();
    assert_eq!(accept(&trusted, newest, NOW).unwrap_err(), Refused::Forged, "not at one step");
    let accepted = walk(&trusted, &chain, &authority, NOW - CATCH_UP_GRACE, NOW).unwrap();
    assert_eq!(
        (accepted.trusted().sequence(), accepted.trusted().roots()),
        (12, &[third.certificate.clone()][..])
    );
    let ended = walk(&trusted, &chain, &authority, NOW - CATCH_UP_GRACE - Duration::SECOND, NOW);
    assert!(matches!(ended, Err(WalkRefused::EndedLongAgo { .. })));
    let gap = [&chain[..1], &chain[4..]].concat();
    assert!(matches!(walk(&trusted, &gap, &authority, NOW, NOW), Err(WalkRefused::Step(Refused::Forged))));
    assert!(matches!(walk(&trusted, &[], &authority, NOW, NOW), Err(WalkRefused::Empty)));
}

#[test]
fn last_roots_must_verify_the_connection() {
    let [first, second, thief] = ["one", "two", "three"].map(Root::new);
    let trusted = trusting(&first);
    // Signed with the first root's key, which was stolen after the root had been retired.
    let chain = [signed(&bundle(90, vec![thief.with_list(1)]), &[&thief, &first])];
    // The connection is the real authority's, or somebody's that is not called authority.
    for leaf in [second.leaf(Identity::Authority), thief.leaf(Identity::Market)] {
        let refused = walk(&trusted, &chain, &leaf, NOW, NOW);
        assert!(matches!(refused, Err(WalkRefused::NotTheAuthority)));
    }
}

#[test]
fn long_walk_is_refused() {
    let root = Root::new("one");
    let chain: Vec<_> = (0..=MAX_WALK as i64 + 1)
        .map(|number| signed(&bundle(6 + number, vec![root.with_list(8)]), &[&root]))
        .collect();
    let leaf = root.leaf(Identity::Authority);
    assert!(matches!(walk(&trusting(&root), &chain, &leaf, NOW, NOW), Err(WalkRefused::TooLong)));
    assert!(walk(&trusting(&root), &chain[1..], &leaf, NOW, NOW).is_ok());
}

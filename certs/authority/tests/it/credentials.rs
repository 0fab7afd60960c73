//! One test per mistake with certificate files: the error variant, the path in the message, and what to do.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, SanType};
use souk_authority::pki::Party;
use souk_certs::clock;
use souk_certs::credentials::{CredentialError, CredentialFiles, Credentials, FileRole};
use souk_certs::identity::{Identity, Role, TrustDomain};
use time::{Duration, OffsetDateTime};

use crate::world::World;

fn load_at(files: &CredentialFiles, now: OffsetDateTime) -> Result<Credentials, CredentialError> {
    Credentials::load(files, &TrustDomain::default(), now)
}

fn refusal(files: &CredentialFiles) -> CredentialError {
    load_at(files, clock::now()).map(drop).unwrap_err()
}

/// Checks that the message contains the path of the file and what to do.
fn assert_says(error: &CredentialError, path: &Path, remedy: &str) {
    let message = error.to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert!(message.contains(remedy), "{message}");
}

fn seller() -> (World, Party) {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    (world, alice)
}

#[test]
fn files_beside_the_certificate_are_found() {
    let (world, alice) = seller();
    let credentials = world.load(&alice);
    assert_eq!(credentials.identity().identity(), alice.identity);
    assert!(credentials.revoked_serials().is_empty());
    assert!(!format!("{credentials:?}").contains("PRIVATE"));
}

#[test]
fn files_elsewhere_are_found_at_their_configured_paths() {
    let (world, alice) = seller();
    let place = |file: &str| {
        let to = world.outside(&format!("other-{file}"));
        fs::rename(world.path(file), &to).unwrap();
        to
    };
    let files = CredentialFiles {
        cert: place("alice.pem"),
        key: Some(place("alice.key")),
        ca: Some(place("ca.pem")),
        crl: Some(place("crl.pem")),
    };
    assert_eq!(load_at(&files, clock::now()).unwrap().identity().identity(), alice.identity);
}

#[test]
fn a_missing_file_is_named_with_the_flag_that_names_another() {
    let (world, alice) = seller();
    for (file, role, remedy) in [
        ("alice.pem", FileRole::Certificate, "--cert"),
        ("alice.key", FileRole::Key, "--key"),
        ("ca.pem", FileRole::Ca, "--ca"),
    ] {
        let aside = world.outside("aside");
        fs::rename(world.path(file), &aside).unwrap();
        let error = refusal(&alice.files());
        assert!(matches!(&error, CredentialError::Missing { file, .. } if *file == role), "{error:?}");
        assert_says(&error, &world.path(file), remedy);
        fs::rename(&aside, world.path(file)).unwrap();
    }
}

#[test]
fn a_revocation_list_is_optional_unless_named_or_for_the_market() {
    let (world, alice) = seller();
    let market = world.pki.market().unwrap();
    fs::remove_file(world.path("crl.pem")).unwrap();
    world.load(&alice);
    let named = CredentialFiles { crl: Some(world.path("crl.pem")), ..alice.files() };
    for files in [named, market.files()] {
        let error = refusal(&files);
        assert!(matches!(error, CredentialError::Missing { file: FileRole::Crl, .. }), "{error:?}");
        assert_says(&error, &world.path("crl.pem"), "gen-certs.sh crl");
    }
}

#[test]
fn a_folder_in_place_of_a_file_cannot_be_read() {
    let (world, alice) = seller();
    let files = CredentialFiles { ca: Some(world.pki.dir().to_owned()), ..alice.files() };
    let error = refusal(&files);
    assert!(matches!(error, CredentialError::Unreadable { file: FileRole::Ca, .. }), "{error:?}");
    assert_says(&error, world.pki.dir(), "check its permissions");
}

#[test]
fn a_file_without_a_certificate_is_distinguished_from_one_with() {
    let (world, alice) = seller();
    let key_as_certificate =
        CredentialFiles { cert: world.path("alice.key"), key: alice.key.clone(), ..alice.files() };
    let error = refusal(&key_as_certificate);
    assert!(matches!(error, CredentialError::NoCertificate { file: FileRole::Certificate, .. }), "{error:?}");
    let key_as_ca = CredentialFiles { ca: alice.key.clone(), ..alice.files() };
    let error = refusal(&key_as_ca);
    assert!(matches!(error, CredentialError::NoCertificate { file: FileRole::Ca, .. }), "{error:?}");
    assert_says(&error, &world.path("alice.key"), "BEGIN CERTIFICATE");
}

#[test]
fn a_key_that_is_none_or_encrypted_is_refused() {
    let (world, alice) = seller();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for contents in ["", encrypted, &fs::read_to_string(&alice.cert).unwrap()] {
        fs::write(world.path("alice.key"), contents).unwrap();
        let error = refusal(&alice.files());
        assert!(matches!(error, CredentialError::NoKey { .. }), "{error:?}");
        assert_says(&error, &world.path("alice.key"), "unencrypted");
    }
}

#[test]
fn another_partys_key_does_not_fit() {
    let (mut world, alice) = seller();
    let bob = world.party("bob", Role::Buyer);
    let error = refusal(&CredentialFiles { key: bob.key, ..alice.files() });
    assert!(matches!(error, CredentialError::KeyMismatch { .. }), "{error:?}");
    assert_says(&error, &world.path("bob.key"), "does not belong to");
}

#[test]
fn another_authoritys_certificate_is_refused() {
    let (world, alice) = seller();
    let elsewhere = World::new();
    let files = CredentialFiles {
        ca: Some(elsewhere.path("ca.pem")),
        crl: Some(elsewhere.path("crl.pem")),
        ..alice.files()
    };
    let error = refusal(&files);
    assert!(matches!(error, CredentialError::NotSignedByCa { .. }), "{error:?}");
    assert_says(&error, &world.path("alice.pem"), "ca.pem that came with it");
}

#[test]
fn another_authoritys_revocation_list_is_refused() {
    let (_world, alice) = seller();
    let elsewhere = World::new();
    let error = refusal(&CredentialFiles { crl: Some(elsewhere.path("crl.pem")), ..alice.files() });
    assert!(matches!(error, CredentialError::BadCrl { .. }), "{error:?}");
    assert_says(&error, &elsewhere.path("crl.pem"), "same folder");
}

#[test]
fn a_damaged_revocation_list_is_refused_and_not_taken_for_an_empty_one() {
    let (world, alice) = seller();
    for contents in ["", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"] {
        fs::write(world.path("crl.pem"), contents).unwrap();
        let error = refusal(&alice.files());
        assert!(matches!(error, CredentialError::BadCrl { .. }), "{error:?}");
    }
}

/// A block that a parser would skip is an error with its file and line, in every file.
#[test]
fn no_block_of_a_file_is_skipped_silently() {
    let (world, alice) = seller();
    let bom = |text: &str| format!("\u{feff}{text}");
    let indented = |text: &str| format!("# ours\n  {text}");
    for file in ["alice.pem", "alice.key", "ca.pem", "crl.pem"] {
        let path = world.path(file);
        let good = fs::read_to_string(&path).unwrap();
        for (text, line) in [
            (bom(&good), 1),
            (indented(&good), 2),
            // The first block is good, so a parser is content with it.
            (format!("{good}{}", bom(&good)), good.lines().count() + 1),
        ] {
            fs::write(&path, text).unwrap();
            let error = refusal(&alice.files());
            assert!(matches!(error, CredentialError::Pem { .. }), "{file}: {error:?}");
            assert_says(&error, &path, &format!("line {line} "));
        }
        fs::write(&path, good).unwrap();
    }
    world.load(&alice);
}

/// A root's own validity is not looked at by TLS libraries.
#[test]
fn an_expired_root_is_not_trusted() {
    let (world, alice) = seller();
    let ca = fs::read_to_string(world.path("ca.pem")).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Souk of old");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.not_before = clock::now() - Duration::days(20);
    params.not_after = clock::now() - Duration::days(1);
    let expired = params.self_signed(&key).unwrap().pem();

    fs::write(world.path("ca.pem"), format!("{ca}{expired}")).unwrap();
    let credentials = world.load(&alice);
    let [warning] = credentials.warnings() else { panic!("{:?}", credentials.warnings()) };
    assert!(warning.contains("Souk of old") && warning.contains("expired"), "{warning}");
    let mut leaf = CertificateParams::default();
    let uri = Identity::Market.spiffe_id(&TrustDomain::default());
    leaf.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf_key = KeyPair::generate().unwrap();
    let forged = leaf.signed_by(&leaf_key, &rcgen::Issuer::from_ca_cert_pem(&expired, key).unwrap()).unwrap();
    assert!(!credentials.accept(forged.der(), clock::now()));

    fs::write(world.path("ca.pem"), expired).unwrap();
    let error = refusal(&alice.files());
    assert!(matches!(error, CredentialError::ExpiredCa { .. }), "{error:?}");
    assert_says(&error, &world.path("ca.pem"), "new ca.pem");
}

/// Otherwise every party of the root without a list would be rejected later, one by one.
#[test]
fn a_list_is_demanded_for_each_root() {
    let (mut world, alice) = seller();
    let one_list = fs::read(world.path("crl.pem")).unwrap();
    world.pki.new_root(clock::now()).unwrap();
    world.load(&alice);
    fs::write(world.path("crl.pem"), one_list).unwrap();
    let error = refusal(&alice.files());
    assert!(matches!(error, CredentialError::NoCrlOfRoot { .. }), "{error:?}");
    assert_says(&error, &world.path("crl.pem"), "from the same folder");
}

#[test]
fn warnings_are_returned_for_programs_without_a_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let (world, alice) = seller();
    assert_eq!(world.load(&alice).warnings(), &[] as &[String]);
    fs::set_permissions(world.path("alice.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let loaded = load_at(&alice.files(), clock::now() + Duration::days(31)).unwrap();
    let [key, list] = loaded.warnings() else { panic!("{:?}", loaded.warnings()) };
    assert!(key.contains("chmod 600") && key.contains("alice.key"), "{key}");
    assert!(list.contains("out of date") && list.contains("crl.pem"), "{list}");
}

#[test]
fn an_expired_certificate_says_when_and_how_to_renew() {
    let (world, alice) = seller();
    let later = clock::now() + Duration::days(91);
    let error = load_at(&alice.files(), later).map(drop).unwrap_err();
    assert!(matches!(error, CredentialError::Expired { .. }), "{error:?}");
    assert_says(&error, &world.path("alice.pem"), "gen-certs.sh renew alice");
    assert_says(&error, &world.path("alice.pem"), &alice.not_after.date().to_string());
}

#[test]
fn a_certificate_of_the_future_points_at_the_clock() {
    let (world, alice) = seller();
    let error = load_at(&alice.files(), clock::now() - Duration::hours(1)).map(drop).unwrap_err();
    assert!(matches!(error, CredentialError::NotYetValid { .. }), "{error:?}");
    assert_says(&error, &world.path("alice.pem"), "clock");
}

#[test]
fn the_first_and_the_last_second_are_valid() {
    let (_world, alice) = seller();
    load_at(&alice.files(), alice.not_before).unwrap();
    load_at(&alice.files(), alice.not_after).unwrap();
}

#[test]
fn a_revoked_certificate_is_refused_by_its_own_holder() {
    let (mut world, alice) = seller();
    world.pki.revoke("alice", clock::now()).unwrap();
    let error = refusal(&alice.files());
    assert!(matches!(error, CredentialError::Revoked { .. }), "{error:?}");
    assert_says(&error, &world.path("alice.pem"), "operator");
}

#[test]
fn the_market_knows_the_revoked_serials() {
    let (mut world, alice) = seller();
    let serial = world.load(&alice).identity().serial().to_vec();
    world.pki.revoke("alice", clock::now()).unwrap();
    let revoked = world.market().revoked_serials();
    assert!(revoked.contains(&serial) && revoked.len() == 1);
}

#[test]
fn a_revocation_list_past_its_time_still_revokes_and_does_not_stop_the_market() {
    let (mut world, _alice) = seller();
    world.pki.revoke("alice", clock::now()).unwrap();
    let later = clock::now() + Duration::days(31);
    let market = load_at(&world.pki.market().unwrap().files(), later).unwrap();
    assert_eq!(market.revoked_serials().len(), 1);
    souk_certs::server::server_config(&market, souk_certs::server::ClientPolicy::AnyParty).unwrap();
}

#[test]
fn a_certificate_of_another_trust_domain_is_refused() {
    let (world, alice) = seller();
    let domain: TrustDomain = "bazaar.internal".parse().unwrap();
    let error = Credentials::load(&alice.files(), &domain, clock::now()).map(drop).unwrap_err();
    assert!(matches!(error, CredentialError::WrongIdentity { .. }), "{error:?}");
    assert_says(&error, &world.path("alice.pem"), "names no party of this market");
}

#[test]
fn a_certificate_without_an_identity_is_refused() {
    let (world, _alice) = seller();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName("market.souk.internal".try_into().unwrap())];
    fs::write(world.path("web.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let error = refusal(&CredentialFiles::beside(world.path("web.pem")));
    assert!(matches!(error, CredentialError::WrongIdentity { .. }), "{error:?}");
    let error = refusal(&CredentialFiles::beside(world.path("ca.pem")));
    assert!(matches!(error, CredentialError::WrongIdentity { .. }), "{error:?}");
}

/// Returns a certificate that the authority signed outside of its profile: without the key usage that TLS requires.
#[test]
fn a_certificate_that_no_peer_would_accept_is_refused() {
    let (world, _alice) = seller();
    let ca_key = KeyPair::from_pem(&fs::read_to_string(world.path("ca.key")).unwrap()).unwrap();
    let ca_pem = fs::read_to_string(world.path("ca.pem")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&ca_pem, ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    let uri = Identity::Market.spiffe_id(&TrustDomain::default());
    params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
    fs::write(world.path("odd.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    fs::write(world.path("odd.key"), key.serialize_pem()).unwrap();
    let error = refusal(&CredentialFiles::beside(world.path("odd.pem")));
    assert!(matches!(error, CredentialError::Unusable { .. }), "{error:?}");
}

//! The folder: modes, names, renewal, revocation, and what is never overwritten.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use rcgen::{CertificateParams, KeyPair};
use souk_authority::pki::{InitOptions, IssueOptions, Pki, PkiError, Setup, Status};
use souk_certs::clock;
use souk_certs::credentials::{CredentialFiles, Credentials};
use souk_certs::identity::{Identity, Role, TrustDomain};
use time::Duration;

use crate::world::World;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn forced() -> IssueOptions {
    IssueOptions { force: true, ..IssueOptions::default() }
}

fn csr() -> String {
    CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

#[test]
fn keys_are_readable_by_their_owner_only_and_the_folder_is_closed() {
    let mut world = World::new();
    world.party("alice", Role::Seller);
    world.pki.renew("alice", false, clock::now()).unwrap();
    assert_eq!(mode(world.pki.dir()), 0o700);
    let mut keys = 0;
    for entry in fs::read_dir(world.pki.dir()).unwrap() {
        let path = entry.unwrap().path();
        let secret = fs::read_to_string(&path).unwrap().contains("PRIVATE KEY");
        keys += usize::from(secret);
        assert!(!secret || mode(&path) == 0o600, "{} has mode {:o}", path.display(), mode(&path));
    }
    // Of ca, market, token and alice, and alice's old key.
    assert_eq!(keys, 5);
}

#[test]
fn nothing_is_overwritten_without_force() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let before = fs::read(&alice.cert).unwrap();
    let again = world.pki.issue("alice", Role::Seller, &IssueOptions::default(), clock::now());
    assert!(matches!(again, Err(PkiError::NameTaken { .. })), "{again:?}");
    let signed = world.pki.sign_csr(&csr(), "alice", Role::Seller, &IssueOptions::default(), clock::now());
    assert!(matches!(signed, Err(PkiError::NameTaken { .. })), "{signed:?}");
    let init = Pki::init(world.pki.dir(), &InitOptions::default(), clock::now()).map(drop);
    assert!(matches!(init, Err(PkiError::Initialised { .. })), "{init:?}");
    assert_eq!(fs::read(&alice.cert).unwrap(), before);

    fs::write(world.path("dora.key"), "mine").unwrap();
    let in_the_way = world.pki.issue("dora", Role::Buyer, &IssueOptions::default(), clock::now());
    assert!(matches!(in_the_way, Err(PkiError::FileInTheWay { .. })), "{in_the_way:?}");
    assert_eq!(fs::read_to_string(world.path("dora.key")).unwrap(), "mine");
}

#[test]
fn force_replaces_a_party_by_another_and_revokes_the_former() {
    let mut world = World::new();
    let first = world.party("alice", Role::Seller);
    let config = world.load(&first);
    let second = world.pki.issue("alice", Role::Seller, &forced(), clock::now()).unwrap();
    assert_ne!(first.identity, second.identity);
    assert_eq!(world.load(&second).identity().identity(), second.identity);
    assert!(world.market().revoked_serials().contains(config.identity().serial()));
    assert_eq!(world.pki.parties().len(), 2);
}

#[test]
fn init_with_force_keeps_the_old_files_in_a_subfolder() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let old_key = fs::read(world.path("ca.key")).unwrap();
    fs::write(world.path("notes.txt"), "mine").unwrap();
    let options = InitOptions { force: true, ..InitOptions::default() };
    let pki = Pki::init(world.pki.dir(), &options, clock::now()).unwrap();
    assert_eq!(pki.parties().len(), 1);
    assert!(!alice.cert.exists() && world.path("notes.txt").exists());
    let replaced =
        fs::read_dir(pki.dir()).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    let replaced = replaced.unwrap();
    assert_eq!(fs::read(replaced.join("ca.key")).unwrap(), old_key);
    assert_eq!((mode(&replaced), mode(&replaced.join("alice.key"))), (0o700, 0o600));
    Credentials::load(&CredentialFiles::beside(replaced.join("alice.pem")), pki.trust_domain(), clock::now())
        .unwrap();
}

#[test]
fn renewal_keeps_the_identity_and_changes_key_and_serial() {
    let mut world = World::new();
    let first = world.party("alice", Role::Seller);
    let old_key = fs::read(world.path("alice.key")).unwrap();
    let second = world.pki.renew("alice", false, clock::now()).unwrap();
    assert_eq!(first.identity, second.identity);
    assert_ne!(first.serial, second.serial);
    assert_ne!(fs::read(world.path("alice.key")).unwrap(), old_key);
    world.load(&second);
    // The replaced certificate is still valid, as a fallback.
    assert_eq!(fs::read(world.path("alice.old.key")).unwrap(), old_key);
    let old = CredentialFiles::beside(world.path("alice.old.pem"));
    let old = Credentials::load(&old, &TrustDomain::default(), clock::now()).unwrap();
    assert_eq!(old.identity().identity(), first.identity);
}

#[test]
fn the_markets_further_names_survive_renewal() {
    let folder = tempfile::tempdir().unwrap();
    let options = InitOptions {
        dns: vec!["market.example.org".to_owned()],
        ip: vec!["192.0.2.7".parse().unwrap()],
        trust_domain: "bazaar.internal".parse().unwrap(),
        ..InitOptions::default()
    };
    Pki::init(folder.path(), &options, clock::now()).unwrap();
    let mut pki = Pki::open(folder.path()).unwrap();
    assert_eq!(pki.trust_domain().as_str(), "bazaar.internal");
    let market = pki.renew("market", false, clock::now()).unwrap();
    let pem = fs::read(&market.cert).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let names = format!("{:?}", pem.parse_x509().unwrap().subject_alternative_name().unwrap().unwrap().value);
    assert!(names.contains("market.bazaar.internal") && names.contains("market.example.org"), "{names}");
    assert!(names.contains("IPAddress"), "{names}");
}

#[test]
fn revocation_covers_every_certificate_of_the_party_and_the_number_grows() {
    let mut world = World::new();
    let first = world.party("alice", Role::Seller);
    let first = world.load(&first);
    let second = world.pki.renew("alice", false, clock::now()).unwrap();
    let second = world.load(&second);
    let number = world.pki.crl_number();
    assert_eq!(world.pki.revoke("alice", clock::now()).unwrap(), 2);
    assert!(world.pki.crl_number() > number);
    let revoked = world.market().revoked_serials();
    assert!(revoked.contains(first.identity().serial()) && revoked.contains(second.identity().serial()));
    assert_eq!(world.pki.find("alice").unwrap().status(clock::now()), Status::Revoked);

    let number = world.pki.crl_number();
    assert_eq!(world.pki.revoke("alice", clock::now()).unwrap(), 0);
    assert_eq!(world.pki.refresh_crl(clock::now()).unwrap(), number + 2);
    assert_eq!(world.market().revoked_serials().len(), 2);
}

#[test]
fn a_revoked_party_comes_back_only_on_request_and_with_a_new_key() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    world.pki.revoke("alice", clock::now()).unwrap();
    let refused = world.pki.renew("alice", false, clock::now());
    assert!(matches!(refused, Err(PkiError::Revoked { .. })), "{refused:?}");
    let back = world.pki.renew("alice", true, clock::now()).unwrap();
    assert_eq!((back.identity, back.revoked), (alice.identity, None));
    world.load(&back);
    assert_eq!(world.market().revoked_serials().len(), 1);
}

#[test]
fn a_revoked_certificate_leaves_the_list_only_long_after_it_expired() {
    let mut world = World::new();
    world.party("alice", Role::Seller);
    world.pki.revoke("alice", clock::now()).unwrap();
    let listed = |world: &mut World, days: i64| {
        let now = clock::now() + Duration::days(days);
        world.pki.renew("market", false, now).unwrap();
        let market =
            Credentials::load(&world.pki.market().unwrap().files(), &TrustDomain::default(), now).unwrap();
        market.revoked_serials().len()
    };
    // It could be renewed for 30 days, and then stays on the list for 30 more.
    assert_eq!(listed(&mut world, 91), 1);
    assert_eq!(listed(&mut world, 149), 1);
    assert_eq!(listed(&mut world, 151), 0);
}

#[test]
fn a_signed_request_keeps_its_identity_when_signed_again() {
    let mut world = World::new();
    let dora =
        world.pki.sign_csr(&csr(), "dora", Role::Buyer, &IssueOptions::default(), clock::now()).unwrap();
    assert!(dora.key.is_none() && !world.path("dora.key").exists());
    let renewed = world.pki.renew("dora", false, clock::now());
    assert!(matches!(renewed, Err(PkiError::KeyElsewhere { .. })), "{renewed:?}");
    let again = world.pki.sign_csr(&csr(), "dora", Role::Buyer, &forced(), clock::now()).unwrap();
    assert_eq!(again.identity, dora.identity);
    let other_role = world.pki.sign_csr(&csr(), "dora", Role::Seller, &forced(), clock::now()).unwrap();
    assert_ne!(other_role.identity.uuid(), dora.identity.uuid());
}

#[test]
fn a_uuid_belongs_to_one_name() {
    let mut world = World::new();
    let uuid = souk_certs::random::uuid_v4();
    let with_uuid = IssueOptions { uuid: Some(uuid), ..IssueOptions::default() };
    let alice = world.pki.issue("alice", Role::Seller, &with_uuid, clock::now()).unwrap();
    assert_eq!(alice.identity, Identity::Seller(uuid));
    let eve = world.pki.sign_csr(&csr(), "eve", Role::Seller, &with_uuid, clock::now());
    assert!(matches!(eve, Err(PkiError::UuidTaken { .. })), "{eve:?}");
}

#[test]
fn names_are_slugs_and_neither_the_authoritys_nor_the_markets() {
    let mut world = World::new();
    let long = "a".repeat(64);
    for name in
        ["", "Alice", "a b", "../eve", "a/b", "-a", "a-", "a.old", "é", "ca", "crl", "token", "index", &long]
    {
        let refused = world.pki.issue(name, Role::Seller, &forced(), clock::now());
        assert!(matches!(refused, Err(PkiError::Name(_))), "accepted {name:?}");
        assert!(matches!(world.pki.find(name), Err(PkiError::UnknownParty { .. })), "found {name:?}");
    }
    for (name, role) in [("market", Role::Seller), ("alice", Role::Market)] {
        let refused = world.pki.issue(name, role, &forced(), clock::now());
        assert!(matches!(refused, Err(PkiError::MarketName)), "accepted {name:?} as {role}");
    }
}

#[test]
fn changes_at_the_same_time_all_happen() {
    let world = World::new();
    thread::scope(|scope| {
        for worker in 0..4 {
            let dir = world.pki.dir();
            scope.spawn(move || {
                // Opened before the changes of the others.
                let mut pki = Pki::open(dir).unwrap();
                for count in 0..5 {
                    let name = format!("party-{worker}-{count}");
                    pki.issue(&name, Role::Buyer, &IssueOptions::default(), clock::now()).unwrap();
                }
            });
        }
    });
    let parties = Pki::open(world.pki.dir()).unwrap().parties();
    assert_eq!(parties.len(), 21);
    let identities: HashSet<_> = parties.iter().map(|party| party.identity).collect();
    let serials: HashSet<_> = parties.iter().map(|party| &party.serial).collect();
    assert_eq!((identities.len(), serials.len()), (21, 21));
    for party in &parties {
        world.load(party);
    }
}

#[test]
fn a_folder_without_an_authority_or_with_a_damaged_index_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Pki::open(folder.path()).map(drop);
    assert!(matches!(opened, Err(PkiError::NotInitialised { .. })), "{opened:?}");
    let mut world = World::new();
    let index = fs::read_to_string(world.path("index.json")).unwrap();
    for damaged in
        ["", "{", &index.replace("\"version\": 2", "\"version\": 3"), &index.replace("market", "Market")]
    {
        fs::write(world.path("index.json"), damaged).unwrap();
        assert!(matches!(Pki::open(world.pki.dir()), Err(PkiError::Index { .. })));
        let changed = world.pki.refresh_crl(clock::now());
        assert!(matches!(changed, Err(PkiError::Index { .. })), "{changed:?}");
    }
}

#[test]
fn a_folder_of_before_the_enrolment_service_goes_on_and_can_get_one() {
    let mut world = World::new();
    world.party("alice", Role::Seller);
    // As the first version wrote it, with a party whose name is reserved since.
    let index = fs::read_to_string(world.path("index.json")).unwrap();
    let mut first: serde_json::Value = serde_json::from_str(&index).unwrap();
    first["version"] = 1.into();
    for added in ["trust_sequence", "trust_floor"] {
        first.as_object_mut().unwrap().remove(added).unwrap();
    }
    first["certificates"][1]["name"] = "trust".into();
    fs::write(world.path("index.json"), first.to_string()).unwrap();
    let mut pki = Pki::open(world.pki.dir()).unwrap();
    assert_eq!(pki.renew("trust", false, clock::now()).unwrap().identity.role(), Role::Seller);
    assert!(!world.path("trust").exists() && !world.path("audit.ndjson").exists());
    let refused = pki.issue("authority", Role::Seller, &IssueOptions::default(), clock::now());
    assert!(matches!(refused, Err(PkiError::Reserved { .. })), "{refused:?}");
    let setup =
        Setup { public: "ca.example.org:7442".parse().unwrap(), markets: Vec::new(), ephemeral: false };
    pki.set_up(&setup, clock::now()).unwrap();
    assert_eq!(Pki::open(world.pki.dir()).unwrap().setup(), Some(&setup));
    assert_eq!(pki.find("authority").unwrap().identity, Identity::Authority);
}

#[test]
fn the_token_key_is_an_ed25519_key_that_can_sign() {
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
    use rustls_pki_types::PrivatePkcs8KeyDer;
    use rustls_pki_types::pem::PemObject;
    let world = World::new();
    let der = PrivatePkcs8KeyDer::from_pem_file(world.pki.token_key_path()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).unwrap();
    let signature = key.sign(b"token");
    UnparsedPublicKey::new(&ED25519, key.public_key().as_ref()).verify(b"token", signature.as_ref()).unwrap();
}

//! Reloading files while a program runs, and closing connections whose certificate is no longer accepted.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use souk_authority::pki::{InitOptions, IssueOptions, Party, Pki};
use souk_certs::acceptor::AcceptorLimits;
use souk_certs::clock;
use souk_certs::connector::{ConnectOptions, channel, dial_error};
use souk_certs::credentials::{CredentialError, CredentialFiles, StaleLists};
use souk_certs::identity::{Identity, Role, TrustDomain};
use souk_certs::rotation::{FileWatch, Rotation, RotationError};
use souk_certs::server::ClientPolicy;
use tokio::time::timeout;

use crate::echo::{Server, ask, ask_on};
use crate::world::{DEADLINE, World, until};

fn begin(files: CredentialFiles) -> Rotation {
    Rotation::begin(files, TrustDomain::default(), StaleLists::Warn, clock::now()).unwrap()
}

async fn open_market(world: &World, limits: AcceptorLimits) -> Server {
    Server::start(&world.market(), ClientPolicy::AnyParty, limits).await
}

fn connect(world: &World, market: &Server, party: &Party) -> tonic::transport::Channel {
    let (tls, domain) = (world.client(party).into(), TrustDomain::default());
    channel(market.address.into(), Identity::Market, tls, &domain, ConnectOptions::default())
}

#[test]
fn a_renewed_certificate_and_a_newer_list_are_taken_over() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let mut rotation = begin(alice.files());
    let before = rotation.current().identity().serial().to_vec();
    world.pki.renew("alice", false, clock::now()).unwrap();
    let bob = world.party("bob", Role::Buyer);
    world.pki.revoke("bob", clock::now()).unwrap();
    let taken = rotation.reload(clock::now()).unwrap();
    assert_ne!(taken.identity().serial(), before);
    assert_eq!(taken.revoked_serials().len(), 1);
    assert_eq!(bob.identity.role(), Role::Buyer);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut world = World::new();
    let (alice, carol) = (world.party("alice", Role::Seller), world.party("carol", Role::Seller));
    let mut rotation = begin(alice.files());
    let serial = rotation.current().identity().serial().to_vec();
    let (cert, key) = (alice.files().cert, alice.files().key_path());
    let (own, own_key) = (fs::read(&cert).unwrap(), fs::read(&key).unwrap());

    fs::write(&cert, fs::read(carol.files().cert).unwrap()).unwrap();
    let mismatch = rotation.reload(clock::now()).unwrap_err();
    assert!(
        matches!(mismatch, RotationError::Credentials(CredentialError::KeyMismatch { .. })),
        "{mismatch:?}"
    );

    fs::write(&key, fs::read(carol.files().key_path()).unwrap()).unwrap();
    let other = rotation.reload(clock::now()).unwrap_err();
    assert!(matches!(other, RotationError::OtherIdentity { .. }), "{other:?}");

    fs::write(&cert, "half a certi").unwrap();
    assert!(rotation.reload(clock::now()).is_err());
    assert_eq!(rotation.current().identity().serial(), serial);

    fs::write(&cert, own).unwrap();
    fs::write(&key, own_key).unwrap();
    rotation.reload(clock::now()).unwrap();
}

#[test]
fn a_list_never_goes_back() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let list = world.path("crl.pem");
    let old = fs::read(&list).unwrap();
    // From a one-byte number to a longer one: the comparison must be numeric.
    for _ in 0..300 {
        world.pki.refresh_crl(clock::now()).unwrap();
    }
    let newest = fs::read(&list).unwrap();
    let mut rotation = begin(alice.files());
    fs::write(&list, old).unwrap();
    let refused = rotation.reload(clock::now()).unwrap_err();
    assert!(matches!(refused, RotationError::OlderList { .. }), "{refused:?}");
    fs::remove_file(&list).unwrap();
    let gone = rotation.reload(clock::now()).unwrap_err();
    assert!(matches!(gone, RotationError::OlderList { .. }), "{gone:?}");
    fs::write(&list, newest).unwrap();
    rotation.reload(clock::now()).unwrap();
}

#[test]
fn a_stale_list_is_a_matter_of_policy() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let later = clock::now() + time::Duration::days(31);
    let load = |stale| Rotation::begin(alice.files(), TrustDomain::default(), stale, later);
    load(StaleLists::Warn).unwrap();
    let refused = load(StaleLists::Refuse).unwrap_err();
    assert!(matches!(refused, CredentialError::StaleCrl { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_watch_reports_a_change_once_it_is_at_rest() {
    let folder = tempfile::tempdir().unwrap();
    let [there, later] = ["there", "later"].map(|name| folder.path().join(name));
    fs::write(&there, "1").unwrap();
    let mut watch = FileWatch::new([there.clone(), later.clone()]).start().unwrap();
    let quiet = timeout(Duration::from_millis(700), watch.recv()).await;
    assert!(quiet.is_err(), "nothing has changed");
    for change in 0..3 {
        match change {
            0 => fs::write(&there, "22").unwrap(),
            1 => fs::write(&later, "new").unwrap(),
            _ => fs::remove_file(&there).unwrap(),
        }
        timeout(DEADLINE, watch.recv()).await.expect("it is noticed").unwrap();
    }
    // The way Kubernetes swaps a mounted secret: a link to another folder.
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    for dir in [&old, &new] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("tls.pem"), "same length").unwrap();
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&old, &link).unwrap();
    let mut watch = FileWatch::new([link.join("tls.pem")]).start().unwrap();
    std::os::unix::fs::symlink(&new, folder.path().join("link.next")).unwrap();
    fs::rename(folder.path().join("link.next"), &link).unwrap();
    timeout(DEADLINE, watch.recv()).await.expect("it is noticed").unwrap();
}

#[tokio::test]
async fn a_cut_connection_ends_at_once_and_only_it() {
    let mut world = World::new();
    let (alice, bob) = (world.party("alice", Role::Seller), world.party("bob", Role::Buyer));
    let market = open_market(&world, AcceptorLimits::default()).await;
    let (alices, bobs) = (connect(&world, &market, &alice), connect(&world, &market, &bob));
    ask_on(&alices).await.unwrap();
    ask_on(&bobs).await.unwrap();
    assert_eq!(market.acceptor.connections(), 2);
    let cut = market.acceptor.cut(|peer, _| peer.certificate.identity() == alice.identity);
    assert_eq!(cut.len(), 1);
    // An idle connection is closed too, not only one that is written to.
    until("alice's connection is gone", || market.acceptor.connections() == 1).await;
    ask_on(&bobs).await.unwrap();
}

#[tokio::test]
async fn connections_are_bounded_for_all_and_for_each() {
    let mut world = World::new();
    let parties = ["alice", "bob", "carol"].map(|name| world.party(name, Role::Seller));
    let [alice, bob, carol] = &parties;
    let limits = AcceptorLimits { connections: 3, connections_of_party: 2, ..AcceptorLimits::default() };
    let market = open_market(&world, limits).await;
    let open: Vec<_> = [alice, alice].map(|party| connect(&world, &market, party)).into();
    for channel in &open {
        ask_on(channel).await.unwrap();
    }
    let third = ask(market.address.into(), Identity::Market, world.client(alice)).await.unwrap_err();
    assert!(dial_error(&third).is_some(), "{third:?}");
    let bobs = connect(&world, &market, bob);
    ask_on(&bobs).await.unwrap();
    let carols = ask(market.address.into(), Identity::Market, world.client(carol)).await.unwrap_err();
    assert!(dial_error(&carols).is_some(), "{carols:?}");
    drop(open);
    until("room again", || market.acceptor.connections() == 1).await;
    ask(market.address.into(), Identity::Market, world.client(carol)).await.unwrap();
}

#[tokio::test]
async fn two_roots_are_trusted_at_once_while_the_root_changes() {
    let mut old = World::new();
    let (alice, folder) = (old.party("alice", Role::Seller), tempfile::tempdir().unwrap());
    let mut new = Pki::init(&folder.path().join("pki"), &InitOptions::default(), clock::now()).unwrap();
    let same = IssueOptions { uuid: alice.identity.uuid(), ..IssueOptions::default() };
    let renewed_alice = new.issue("alice", Role::Seller, &same, clock::now()).unwrap();
    assert_eq!(renewed_alice.identity, alice.identity, "she keeps her account");

    let market = old.pki.market().unwrap();
    let mut rotation = begin(market.files());
    let joined = |name: &str| {
        let both = [old.path(name), new.dir().join(name)].map(|path| fs::read_to_string(path).unwrap());
        fs::write(old.path(name), both.concat()).unwrap();
    };
    joined("ca.pem");
    joined("crl.pem");
    let both = Arc::clone(rotation.reload(clock::now()).unwrap());
    let server = Server::start(&both, ClientPolicy::AnyParty, AcceptorLimits::default()).await;
    // Her new certificate, with both roots in ca.pem.
    for name in ["ca.pem", "crl.pem"] {
        fs::copy(old.path(name), new.dir().join(name)).unwrap();
    }
    for party in [&alice, &renewed_alice] {
        let seen = ask(server.address.into(), Identity::Market, old.client(party)).await.unwrap();
        assert_eq!(seen, alice.identity.spiffe_id(&TrustDomain::default()));
    }
    let leaf = |party: &Party| CertificateDer::from_pem_file(&party.cert).unwrap();
    assert!(both.accept(&leaf(&alice), clock::now()) && both.accept(&leaf(&renewed_alice), clock::now()));
    assert!(!old_only(&old).accept(&leaf(&renewed_alice), clock::now()));
}

/// Returns the market's credentials from before the change, with only the first root.
fn old_only(world: &World) -> Arc<souk_certs::credentials::Credentials> {
    let first = |name: &str, end: &str| {
        let text = fs::read_to_string(world.path(name)).unwrap();
        let (pem, _) = text.split_at(text.find(end).unwrap() + end.len());
        fs::write(world.path(name), pem).unwrap();
    };
    first("ca.pem", "-----END CERTIFICATE-----\n");
    first("crl.pem", "-----END X509 CRL-----\n");
    Arc::clone(begin(world.pki.market().unwrap().files()).current())
}

#[tokio::test]
async fn a_change_is_reported_although_the_files_keep_changing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crl.pem");
    fs::write(&path, "0").unwrap();
    let mut changed = FileWatch::new([path.clone()]).start().unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let mut length = 0;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            length = (length + 1) % 1_000;
            fs::write(&path, "x".repeat(length)).unwrap();
            std::thread::yield_now();
        }
    });
    timeout(DEADLINE, changed.recv()).await.unwrap().unwrap();
    drop(stop);
    writer.join().unwrap();
}

/// Copies files of the authority's folder to the market's.
fn carry(from: &World, to: &Path, names: &[&str]) {
    for name in names {
        fs::copy(from.path(name), to.join(name)).unwrap();
    }
}

#[test]
fn new_roots_are_in_force_before_the_own_certificate_is_of_them() {
    let mut world = World::new();
    let folder = world.outside("market");
    fs::create_dir(&folder).unwrap();
    carry(&world, &folder, &["market.pem", "market.key", "ca.pem", "crl.pem"]);
    let files = CredentialFiles::beside(folder.join("market.pem"));
    let (mut by_hand, mut by_bundle) = (begin(files.clone()), begin(files).outliving_root());
    let leaf = |party: &Party| CertificateDer::from_pem_file(&party.cert).unwrap();
    let mallory = leaf(&world.party("mallory", Role::Seller));
    assert!(by_bundle.current().accept(&mallory, clock::now()));

    world.pki.new_root(clock::now()).unwrap();
    world.pki.retire_root(true, clock::now()).unwrap();
    carry(&world, &folder, &["ca.pem", "crl.pem"]);
    let not_signed = |refused: RotationError| {
        assert!(
            matches!(refused, RotationError::Credentials(CredentialError::NotSignedByCa { .. })),
            "{refused:?}"
        );
    };
    // Where files are copied by hand, it may be the wrong ca.pem.
    not_signed(by_hand.reload(clock::now()).unwrap_err());
    let alice = leaf(&world.party("alice", Role::Seller));
    let taken = Arc::clone(by_bundle.reload(clock::now()).unwrap());
    assert!(!taken.accept(&mallory, clock::now()) && taken.accept(&alice, clock::now()));

    // Another certificate of a root that is not trusted is no renewal.
    carry(&World::new(), &folder, &["market.pem", "market.key"]);
    not_signed(by_bundle.reload(clock::now()).unwrap_err());
    world.pki.renew("market", true, clock::now()).unwrap();
    carry(&world, &folder, &["market.pem", "market.key"]);
    for rotation in [&mut by_hand, &mut by_bundle] {
        assert!(!rotation.reload(clock::now()).unwrap().accept(&mallory, clock::now()));
    }
}

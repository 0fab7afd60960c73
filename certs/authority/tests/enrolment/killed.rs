//! An authority that is killed at any step.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use souk_authority::invitation::book::FILE as INVITATIONS;
use souk_authority::log::FILE as LOG;
use souk_authority::pki::{InitOptions, Pki, PkiError};
use souk_certs::clock;
use souk_certs::identity::Role;
use souk_enrolment::join::{join, renew};
use souk_enrolment::key::PartyKey;
use souk_proto::Reason;

use super::world::{Member, World, refusal};

/// The files that a join changes, in the order in which it must write them: the use of the invitation before anything is
/// signed, and the index and the log before the certificate.
const STEPS: [&str; 4] = [INVITATIONS, "index.json", LOG, "alice.pem"];

fn modified(dir: &Path, file: &str) -> SystemTime {
    fs::metadata(dir.join(file)).unwrap().modified().unwrap()
}

#[tokio::test]
async fn killed_at_each_step() {
    for done in 0..=STEPS.len() {
        let mut world = World::new().await;
        let code = world.invite(Role::Seller, "alice");
        let key = PartyKey::generate().unwrap();
        let before: Vec<_> = STEPS.iter().map(|file| fs::read(world.dir().join(file)).ok()).collect();
        let first = join(&code, Role::Seller, &key, clock::now()).await.unwrap();
        world.stop().await;
        let times: Vec<_> = STEPS.iter().map(|file| modified(world.dir(), file)).collect();
        assert!(times.is_sorted(), "written in another order: {times:?}");
        // As if it had been killed after so many of them.
        for (file, contents) in STEPS.iter().zip(before).skip(done) {
            let path = world.dir().join(file);
            match contents {
                Some(contents) => fs::write(path, contents).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        }
        world.start().await;
        // If the use was recorded, the code is bound to the key.
        if done > 0 {
            let thief = Member::join(&code, Role::Seller).await;
            assert_eq!(refusal(thief), Some(Reason::InvitationUsed), "after {done}");
        }
        let again = join(&code, Role::Seller, &key, clock::now()).await.unwrap();
        assert_eq!(done == STEPS.len(), again.certificate == first.certificate, "after {done}");
        assert!(world.signed() <= 2, "after {done}");
        // Every certificate that anybody has can be revoked, except the one whose answer nobody has got.
        let serial: String = again.peer.serial().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(world.pki().certificates().iter().any(|party| party.serial == serial));
        world.pki().revoke("alice", clock::now()).unwrap();
        assert!(
            world
                .pki()
                .certificates()
                .iter()
                .filter(|party| party.name.as_str() == "alice")
                .all(|party| party.revoked.is_some())
        );
        world.serves_others().await;
    }
}

#[tokio::test]
async fn killed_between_a_list_and_its_bundle() {
    let mut world = World::new().await;
    let bundles = fs::read_dir(world.dir().join("trust")).unwrap().count();
    let kept = fs::read(world.dir().join("trust/000001.bin")).unwrap();
    world.stop().await;
    world.pki().revoke("authority", clock::now()).unwrap_or_default();
    world.pki().refresh_crl(clock::now()).unwrap();
    // The lists and the index were written, and the bundle was not.
    fs::remove_dir_all(world.dir().join("trust")).unwrap();
    fs::create_dir(world.dir().join("trust")).unwrap();
    fs::write(world.dir().join("trust/000001.bin"), kept).unwrap();
    let mut pki = world.pki();
    pki.publish(clock::now()).unwrap();
    let newest = world.bundle().open().unwrap();
    assert!(newest.sequence > 3, "no sequence is used twice, even if its bundle was never seen");
    assert_eq!(bundles, 1);
}

#[tokio::test]
async fn killed_between_signing_and_answering_a_renewal() {
    let mut world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let key = PartyKey::generate().unwrap();
    let before = fs::read(world.dir().join("alice.pem")).unwrap();
    renew(&world.dial(), &alice.credentials(), &key).await.unwrap();
    world.stop().await;
    // The index was written, and the certificate was not.
    fs::write(world.dir().join("alice.pem"), before).unwrap();
    world.start().await;
    let again = renew(&world.dial(), &alice.credentials(), &key).await.unwrap();
    alice.write(&again.certificate, &key);
    renew(&world.dial(), &alice.credentials(), &PartyKey::generate().unwrap()).await.unwrap();
    world.serves_others().await;
}

#[tokio::test]
async fn killed_while_its_own_certificate_is_issued() {
    let mut world = World::new().await;
    world.stop().await;
    // The file before was moved away, and the next one was not written.
    let path = world.dir().join("authority.pem");
    fs::rename(&path, world.dir().join("authority.old.pem")).unwrap();
    world.start().await;
    world.serves_others().await;
}

#[tokio::test]
async fn killed_between_the_index_and_the_list_of_a_revocation() {
    let mut world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    world.stop().await;
    let kept = ["crl.pem", "trust/000001.bin"].map(|file| (file, fs::read(world.dir().join(file)).unwrap()));
    world.pki().revoke("alice", clock::now()).unwrap();
    fs::remove_dir_all(world.dir().join("trust")).unwrap();
    fs::create_dir(world.dir().join("trust")).unwrap();
    for (file, contents) in kept {
        fs::write(world.dir().join(file), contents).unwrap();
    }
    world.start().await;
    assert!(world.connect(&alice.credentials()).await.is_err(), "the list lacks the certificate");
    world.serves_others().await;
}

#[tokio::test]
async fn killed_while_the_root_changes() {
    let mut world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    world.stop().await;
    let before = fs::read(world.dir().join("ca.pem")).unwrap();
    world.pki().new_root(clock::now()).unwrap();
    // The new root's key was written, and its certificate was not.
    fs::write(world.dir().join("ca.pem"), before).unwrap();
    let mut pki = world.pki();
    assert_eq!(&alice.joined.root, pki.root());
    assert!(!pki.is_root_retiring());
    pki.new_root(clock::now()).unwrap();
    assert_ne!(&alice.joined.root, world.pki().root());
    world.start().await;
    world.serves_others().await;
}

#[test]
fn killed_while_the_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let init = || Pki::init(folder.path(), &InitOptions::default(), clock::now());
    init().unwrap();
    assert!(matches!(init(), Err(PkiError::Initialised { .. })));
    for left in [&["ca.key"][..], &["ca.key", "ca.pem"], &["ca.key", "ca.pem", "index.json", "crl.pem"]] {
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !left.iter().any(|file| path.ends_with(file)) {
                fs::remove_file(path).unwrap();
            }
        }
        fs::write(folder.path().join(".beginning"), "").unwrap();
        assert!(matches!(Pki::open(folder.path()), Err(PkiError::NotInitialised { .. })), "{left:?}");
        init().unwrap();
        Pki::open(folder.path()).unwrap().market().unwrap();
    }
}

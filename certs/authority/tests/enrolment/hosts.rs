//! Markets that join with `market join`: again after an interruption, and with another code in the place of a certificate.

use std::fs;
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use souk_authority::invitation::book::NewInvitation;
use souk_certs::clock::{self, Clock};
use souk_certs::credentials::Credentials;
use souk_certs::identity::{Role, TrustDomain};
use souk_certs::random::Random;
use souk_enrolment::code::InvitationCode;
use souk_enrolment::context::{Context, Description};
use souk_enrolment::host::{HostJoinError, join_host};
use tempfile::TempDir;
use time::Duration;

use super::world::World;

/// The folder of a market's host.
struct Host {
    context: Context,
    _folder: TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { context: Context::at(folder.path().join("market")), _folder: folder }
    }

    async fn join(&self, code: &InvitationCode) -> Result<Description, HostJoinError> {
        join_host(&self.context, code, Vec::new(), (Clock::SYSTEM, Random::SYSTEM)).await
    }

    /// Redeems the code, and fails to write the certificate.
    async fn fail_to_join(&self, code: &InvitationCode) {
        drop(self.context.lock().unwrap());
        let in_the_way = self.context.folder().join("gen");
        fs::write(&in_the_way, "").unwrap();
        let failed = self.join(code).await.unwrap_err();
        assert!(matches!(failed, HostJoinError::Context(_)), "{failed}");
        fs::remove_file(in_the_way).unwrap();
    }

    fn serial(&self) -> Vec<u8> {
        self.context.certificate(&TrustDomain::default()).unwrap().serial().to_vec()
    }

    /// Asserts that a market can use the folder.
    fn works(&self) {
        let files = self.context.credential_files();
        Credentials::load(&files, &TrustDomain::default(), clock::now()).unwrap();
    }

    /// Returns how many keys of joins are kept.
    fn keys(&self) -> usize {
        fs::read_dir(self.context.folder().join("joining")).map_or(0, Iterator::count)
    }
}

fn again(world: &World, name: &str) -> InvitationCode {
    let (name, validity) = (name.to_owned(), Duration::DAY);
    let new = NewInvitation { role: Role::Market, name, again: true, validity };
    world.pki().invite(new, clock::now()).unwrap().0
}

#[tokio::test]
async fn next_code_does_not_present_the_key_of_the_one_before() {
    let (world, host) = (World::new().await, Host::new());
    host.fail_to_join(&world.invite(Role::Market, "m1")).await;
    assert_eq!(world.signed(), 1);
    world.pki().revoke("m1", clock::now()).unwrap();
    host.join(&again(&world, "m1")).await.unwrap();
    host.works();
}

#[tokio::test]
async fn interrupted_join_goes_on_with_the_same_key() {
    let (world, host) = (World::new().await, Host::new());
    let code = world.invite(Role::Market, "m1");
    host.fail_to_join(&code).await;
    host.join(&code).await.unwrap();
    let serial = host.serial();
    host.join(&code).await.unwrap();
    assert_eq!((world.signed(), host.serial(), host.keys()), (1, serial, 0));
    host.works();
}

#[tokio::test]
async fn revoked_market_joins_again_in_its_folder() {
    let (world, host) = (World::new().await, Host::new());
    host.join(&world.invite(Role::Market, "m1")).await.unwrap();
    let (before, number) = (host.serial(), host.context.number().unwrap());
    world.pki().revoke("m1", clock::now()).unwrap();
    let code = again(&world, "m1");
    let description = host.join(&code).await.unwrap();
    assert_eq!((description.invitation, description.name.as_str()), (code.id(), "m1"));
    assert_eq!(host.context.description().unwrap().unwrap(), description);
    assert_ne!(host.serial(), before);
    assert_eq!(host.context.number().unwrap(), number.map(|number| number + 1));
    assert_eq!(host.keys(), 0);
    host.works();
}

#[tokio::test]
async fn everybody_joins_again_after_a_theft() {
    let (mut world, host) = (World::new().await, Host::new());
    host.join(&world.invite(Role::Market, "m1")).await.unwrap();
    world.pki().new_root(clock::now()).unwrap();
    world.pki().retire_compromised_root(clock::now()).unwrap();
    world.stop().await;
    world.start().await;
    host.join(&again(&world, "m1")).await.unwrap();
    let root = |path: &Path| CertificateDer::from_pem_file(path).unwrap();
    assert_eq!(root(&host.context.credential_files().ca_path()), root(&world.dir().join("ca.pem")));
    host.works();
}

#[tokio::test]
async fn folder_of_another_market_is_left_alone() {
    let (world, host) = (World::new().await, Host::new());
    let before = host.join(&world.invite(Role::Market, "m1")).await.unwrap();
    let serial = host.serial();
    let refused = host.join(&world.invite(Role::Market, "m2")).await.unwrap_err();
    assert!(
        matches!(&refused, HostJoinError::OtherName { name, found, .. } if name == "m1" && found == "m2"),
        "{refused}"
    );
    // Of another trust domain: nothing is sent.
    let other = world.invite(Role::Market, "m3");
    let elsewhere = InvitationCode::new(
        other.id(),
        other.secret().clone(),
        other.root(),
        other.authority().clone(),
        "other.example".parse().unwrap(),
    );
    let signed = world.signed();
    let refused = host.join(&elsewhere.unwrap()).await.unwrap_err();
    assert!(matches!(refused, HostJoinError::Taken { .. }), "{refused}");
    assert_eq!((world.signed(), host.serial(), host.keys()), (signed, serial, 0));
    assert_eq!(host.context.description().unwrap().unwrap(), before);
}

//! Changes of root, as the authority hands them on.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use souk_authority::pki::{AUTHORITY, Pki};
use souk_certs::clock;
use souk_certs::identity::Role;
use souk_enrolment::trust::{SignedBundle, Trusted, accept, walk};
use souk_proto::v1::trust_service_client::TrustServiceClient;
use souk_proto::{Reason, v1};

use super::world::{DEADLINE, Member, World, reason};

/// Changes the root and retires the one before.
pub(crate) fn change(world: &World) {
    let mut pki = world.pki();
    pki.new_root(clock::now()).unwrap();
    pki.retire_root(true, clock::now()).unwrap();
}

fn trusted(bundle: &SignedBundle) -> Trusted {
    let contents = bundle.open().unwrap();
    let (roots, lists): (Vec<_>, Vec<_>) =
        contents.roots.iter().map(|root| (root.certificate.clone(), root.list.clone())).unzip();
    Trusted::in_use(contents.trust_domain, &roots, &lists, Some(bundle))
}

/// Asks as somebody who can't verify the authority, and returns the bundles and the leaf of the connection.
async fn ask(world: &World, known_sequence: i64) -> Result<Vec<SignedBundle>, Option<Reason>> {
    let code = world.invite(Role::Buyer, &format!("asker-{known_sequence}"));
    let mut client = TrustServiceClient::new(world.anonymous(&code).await);
    world.pki().cancel_invitation(code.id(), clock::now()).unwrap();
    let answer = client.get_trust(v1::GetTrustRequest { known_sequence }).await;
    let answer = answer.map_err(|status| reason(&status))?.into_inner();
    Ok(answer.bundles.into_iter().map(|bundle| bundle.try_into().unwrap()).collect())
}

/// Restarts the service, which then shows the certificate of the newest root.
pub(crate) async fn restart(world: &mut World) {
    world.stop().await;
    world.start().await;
}

fn leaf(pki: &Pki) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(pki.find(AUTHORITY).unwrap().cert).unwrap()
}

#[tokio::test]
async fn chain_has_the_changes_and_the_newest_bundle() {
    let mut world = World::new().await;
    let member = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let before = SignedBundle::try_from(member.joined.trust.clone()).unwrap();
    let known = before.open().unwrap().sequence;
    change(&world);
    // Changes in between make bundles that nobody has to walk along.
    for _ in 0..3 {
        world.pki().refresh_crl(clock::now()).unwrap();
    }
    change(&world);
    restart(&mut world).await;
    let chain = ask(&world, known).await.unwrap();
    assert!(chain.len() <= 5, "{} bundles", chain.len());
    assert!(accept(&trusted(&before), chain.last().unwrap(), clock::now()).is_err(), "not at one step");
    let end = member.joined.peer.not_after();
    let accepted = walk(&trusted(&before), &chain, &leaf(&world.pki()), end, clock::now()).unwrap();
    assert_eq!(accepted.trusted().roots(), &[world.pki().root().clone()]);
    world.serves_others().await;
}

#[tokio::test]
async fn everybody_who_is_there_follows_each_change() {
    let mut world = World::new().await;
    let mut trusted = trusted(&world.bundle());
    let mut pki = world.pki();
    pki.new_root(clock::now()).unwrap();
    let accepted = accept(&trusted, &world.bundle(), clock::now()).unwrap();
    assert_eq!(accepted.trusted().roots().len(), 2);
    assert_eq!(&accepted.trusted().roots()[0], world.pki().root(), "the one that signs is the first");
    trusted = accepted.trusted().clone();
    // Newcomers get a certificate of the new root, and see it at once.
    restart(&mut world).await;
    let newcomer = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    assert_eq!(&newcomer.joined.root, world.pki().root());
    world.pki().retire_root(false, clock::now()).unwrap();
    let accepted = accept(&trusted, &world.bundle(), clock::now()).unwrap();
    assert_eq!(accepted.trusted().roots().len(), 1);
}

#[tokio::test]
async fn retirement_waits_for_those_who_have_not_renewed() {
    let world = World::new().await;
    Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    world.pki().new_root(clock::now()).unwrap();
    let refused = world.pki().retire_root(false, clock::now()).unwrap_err().to_string();
    assert!(refused.contains("in use by: alice;"), "{refused}");
}

#[tokio::test]
async fn more_than_eight_changes_are_too_many() {
    let mut world = World::new().await;
    let known = world.bundle().open().unwrap().sequence;
    for _ in 0..5 {
        change(&world);
    }
    restart(&mut world).await;
    assert_eq!(ask(&world, known).await.unwrap_err(), Some(Reason::TrustNotChained));
    let newest = world.bundle().open().unwrap().sequence;
    assert!(ask(&world, newest).await.unwrap().is_empty());
    assert_eq!(ask(&world, 0).await.unwrap().len(), 1);
}

#[tokio::test]
async fn compromised_root_breaks_the_chain() {
    let mut world = World::new().await;
    let before = world.bundle();
    let known = before.open().unwrap().sequence;
    let mut pki = world.pki();
    pki.new_root(clock::now()).unwrap();
    pki.retire_compromised_root(clock::now()).unwrap();
    restart(&mut world).await;
    assert_eq!(ask(&world, known).await.unwrap_err(), Some(Reason::TrustNotChained));
    let root = before.open().unwrap().roots[0].certificate.clone();
    assert!(!world.bundle().is_signed_by(&root), "the stolen key signs nothing more");
    // A market may trust the new root already.
    assert_eq!(first_of_stream(&world, known).await, world.bundle());
    world.serves_others().await;
}

#[tokio::test]
async fn restored_backup_goes_past_what_is_out_there() {
    let world = World::new().await;
    let backup = tempfile::tempdir().unwrap();
    for file in ["index.json", "crl.pem"] {
        std::fs::copy(world.dir().join(file), backup.path().join(file)).unwrap();
    }
    for _ in 0..5 {
        world.pki().refresh_crl(clock::now()).unwrap();
    }
    let out_there = trusted(&world.bundle());
    for file in ["index.json", "crl.pem"] {
        std::fs::copy(backup.path().join(file), world.dir().join(file)).unwrap();
    }
    std::fs::remove_dir_all(world.dir().join("trust")).unwrap();
    world.pki().publish(clock::now()).unwrap();
    accept(&out_there, &world.bundle(), clock::now()).unwrap_err();
    let at_least = u64::try_from(out_there.sequence() + 1).unwrap();
    assert!(world.pki().skip_to(at_least, clock::now()).unwrap() >= at_least);
    accept(&out_there, &world.bundle(), clock::now()).unwrap();
}

/// Follows as a market that has the bundle with this sequence, and returns the first bundle that it gets.
async fn first_of_stream(world: &World, known_sequence: i64) -> SignedBundle {
    let name = format!("m{known_sequence}");
    let market = Member::join(&world.invite(Role::Market, &name), Role::Market).await.unwrap();
    let mut trust = world.trust(&market.credentials()).await;
    let mut stream = trust.watch_trust(v1::WatchTrustRequest { known_sequence }).await.unwrap().into_inner();
    let first = tokio::time::timeout(DEADLINE, stream.message()).await.unwrap().unwrap().unwrap();
    first.bundle.unwrap().try_into().unwrap()
}

#[tokio::test]
async fn market_gets_the_newest_bundle_also_if_it_has_a_later_one() {
    let mut world = World::new().await;
    world.pki().refresh_crl(clock::now()).unwrap();
    restart(&mut world).await;
    let newest = world.bundle().open().unwrap().sequence;
    // So it compares its own with that of an authority that was restored from a backup.
    for known in [newest, newest + 5] {
        assert_eq!(first_of_stream(&world, known).await, world.bundle(), "{known}");
    }
}

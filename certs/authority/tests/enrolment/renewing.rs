//! Renewals, by those who may and by those who must not.

use souk_authority::pki::IssueOptions;
use souk_certs::clock;
use souk_certs::credentials::Credentials;
use souk_certs::identity::{Role, TrustDomain};
use souk_enrolment::join::{JoinError, Renewed, check_renewed, renew};
use souk_enrolment::key::PartyKey;
use souk_proto::Reason;
use souk_proto::v1::{self, enrolment_service_client::EnrolmentServiceClient};
use time::{Duration, OffsetDateTime};

use super::world::{Member, World, reason, refusal};

async fn renewed(world: &World, credentials: &Credentials, key: &PartyKey) -> Result<Renewed, JoinError> {
    renew(&world.dial(), credentials, key).await
}

/// Issues a certificate of 90 days that ended at `end`, and returns its credentials.
fn ended(world: &World, name: &str, end: OffsetDateTime) -> Credentials {
    let issued_at = end - Duration::days(90);
    let party = world.pki().issue(name, Role::Seller, &IssueOptions::default(), issued_at).unwrap();
    load(&party.files())
}

fn load(files: &souk_certs::credentials::CredentialFiles) -> Credentials {
    Credentials::load_for_renewal(files, &TrustDomain::default(), clock::now()).unwrap()
}

#[tokio::test]
async fn renewal_keeps_the_identity() {
    let world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let key = PartyKey::generate().unwrap();
    let renewed = renewed(&world, &alice.credentials(), &key).await.unwrap();
    let identity = alice.joined.peer.identity();
    let roots = [alice.joined.root.clone()];
    let domain = TrustDomain::default();
    let peer = check_renewed(&renewed, &key, &roots, identity, &domain, clock::now()).unwrap();
    assert_ne!(peer.serial(), alice.joined.peer.serial());
    world.logs(&["renew", "alice"]).await;
    // And with the new one again.
    alice.write(&renewed.certificate, &key);
    super::renewing::renewed(&world, &alice.credentials(), &PartyKey::generate().unwrap()).await.unwrap();
    assert_eq!(world.signed(), 3);
}

#[tokio::test]
async fn lost_answer_is_repeated() {
    let world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let key = PartyKey::generate().unwrap();
    let first = renewed(&world, &alice.credentials(), &key).await.unwrap();
    let again = renewed(&world, &alice.credentials(), &key).await.unwrap();
    assert_eq!(first.certificate, again.certificate);
    assert_eq!(world.signed(), 2);
}

#[tokio::test]
async fn copy_superseded() {
    let world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    renewed(&world, &alice.credentials(), &PartyKey::generate().unwrap()).await.unwrap();
    // A copy of the files, on another machine.
    let copy = renewed(&world, &alice.credentials(), &PartyKey::generate().unwrap()).await;
    assert_eq!(refusal(copy), Some(Reason::RenewalSuperseded));
    assert_eq!(world.signed(), 2);
    assert!(world.log().lines().any(|line| line.contains("conflict") && line.contains(&alice.serial())));
    // More attempts are counted together, so that they can't fill the disk.
    for _ in 0..20 {
        let copy = renewed(&world, &alice.credentials(), &PartyKey::generate().unwrap()).await;
        assert_eq!(refusal(copy), Some(Reason::RenewalSuperseded));
    }
    world.logs(&["conflict", "RENEWAL_SUPERSEDED", "127.0.0.1"]).await;
    let lines = world.log().lines().filter(|line| line.contains("conflict")).count();
    assert!(lines <= 10, "{lines} lines");
    world.serves_others().await;
}

#[tokio::test]
async fn renew_revoked() {
    let world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let credentials = alice.credentials();
    let open = world.connect(&credentials).await.unwrap();
    world.pki().revoke("alice", clock::now()).unwrap();
    // On a connection from before, the index counts, even if the service has not read the list yet.
    let csr = PartyKey::generate().unwrap().request().unwrap().to_vec();
    let refused = EnrolmentServiceClient::new(open).renew(v1::RenewRequest { csr }).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CertificateRevoked));
    // New ones end in the handshake, once it has.
    let wait = async {
        while world.connect(&credentials).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(super::world::DEADLINE, wait).await.unwrap();
    let outcome = renewed(&world, &credentials, &PartyKey::generate().unwrap()).await;
    assert!(matches!(outcome, Err(JoinError::Unreached(_))), "{outcome:?}");
    assert_eq!(world.signed(), 1);
    world.serves_others().await;
}

#[tokio::test]
async fn renew_day_29_and_nothing_else() {
    let world = World::new().await;
    let credentials = ended(&world, "alice", clock::now() - Duration::days(29));
    let mut client = EnrolmentServiceClient::new(world.connect(&credentials).await.unwrap());
    let listed = client.list_certificates(v1::ListCertificatesRequest::default()).await.unwrap_err();
    assert_eq!(reason(&listed), Some(Reason::CertificateExpired));
    let key = PartyKey::generate().unwrap();
    renewed(&world, &credentials, &key).await.unwrap();
    assert_eq!(world.signed(), 2);
    world.serves_others().await;
}

#[tokio::test]
async fn renew_day_31() {
    let world = World::new().await;
    let end = clock::now() - Duration::days(31);
    let party =
        world.pki().issue("alice", Role::Seller, &IssueOptions::default(), end - Duration::days(90)).unwrap();
    // As a client that does not look at its own certificate.
    let then = end - Duration::DAY;
    let credentials = Credentials::load(&party.files(), &TrustDomain::default(), then).unwrap();
    let outcome = renewed(&world, &credentials, &PartyKey::generate().unwrap()).await;
    assert!(matches!(outcome, Err(JoinError::Unreached(_))), "{outcome:?}");
    assert_eq!(world.signed(), 1);
    world.serves_others().await;
}

#[tokio::test]
async fn renew_revoked_after_end() {
    let world = World::new().await;
    let credentials = ended(&world, "alice", clock::now() - Duration::days(10));
    // The connection is from before the revocation.
    let open = world.connect(&credentials).await.unwrap();
    assert_eq!(world.pki().revoke("alice", clock::now()).unwrap(), 1, "although it has ended");
    let csr = PartyKey::generate().unwrap().request().unwrap().to_vec();
    let refused = EnrolmentServiceClient::new(open).renew(v1::RenewRequest { csr }).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CertificateRevoked));
    assert_eq!(world.signed(), 1);
    world.serves_others().await;
}

#[tokio::test]
async fn revoke_in_grace() {
    let mut world = World::new().await;
    let credentials = ended(&world, "alice", clock::now() - Duration::days(29));
    world.pki().revoke("alice", clock::now()).unwrap();
    // The list names it, so a service that has just started refuses it in the handshake.
    world.stop().await;
    world.start().await;
    assert!(world.connect(&credentials).await.is_err());
    assert_eq!(world.signed(), 1);
    world.serves_others().await;
}

#[tokio::test]
async fn renewals_of_one_party_are_bounded() {
    let world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let refused = loop {
        let key = PartyKey::generate().unwrap();
        match renewed(&world, &alice.credentials(), &key).await {
            Ok(next) => alice.write(&next.certificate, &key),
            refused => break refused,
        }
    };
    assert_eq!(refusal(refused), Some(Reason::RateLimited));
    assert_eq!(world.signed(), 20);
    world.serves_others().await;
}

#[tokio::test]
async fn renewal_needs_a_certificate_that_the_authority_knows() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let mut stranger = world.stranger(&code).await;
    let csr = PartyKey::generate().unwrap().request().unwrap().to_vec();
    let refused = stranger.renew(v1::RenewRequest { csr: csr.clone() }).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CertificateRequired));
    let alice = Member::join(&code, Role::Seller).await.unwrap();
    let mut client = EnrolmentServiceClient::new(world.connect(&alice.credentials()).await.unwrap());
    let refused = client.renew(v1::RenewRequest { csr: csr[1..].to_vec() }).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::KeyRefused));
    assert_eq!(world.signed(), 1);
    client.renew(v1::RenewRequest { csr }).await.unwrap();
}

#[tokio::test]
async fn index_forgets_certificates_that_ended_long_ago() {
    let world = World::new().await;
    let mut pki = world.pki();
    let days_ago = |days| clock::now() - Duration::days(days);
    pki.issue("alice", Role::Seller, &IssueOptions::default(), days_ago(400)).unwrap();
    for days in [330, 260, 170] {
        pki.renew("alice", false, days_ago(days)).unwrap();
    }
    pki.issue("gone", Role::Seller, &IssueOptions::default(), days_ago(400)).unwrap();
    world.pki().refresh_crl(clock::now()).unwrap();
    // The newest of a party is kept however old it is.
    let left: Vec<_> = world.pki().certificates().into_iter().map(|party| party.name.to_string()).collect();
    assert_eq!(left, ["authority", "alice", "gone"]);
    assert!(
        world
            .pki()
            .invite(
                souk_authority::invitation::book::NewInvitation {
                    role: Role::Seller,
                    name: "gone".to_owned(),
                    again: false,
                    validity: Duration::DAY,
                },
                clock::now()
            )
            .is_err(),
        "the name is taken"
    );
}

//! What a code is good for, once.

use souk_authority::invitation::book::{Book, NewInvitation, State, sha256_hex};
use souk_certs::clock;
use souk_certs::identity::{Identity, Role};
use souk_enrolment::code::InvitationCode;
use souk_enrolment::join::join;
use souk_enrolment::key::PartyKey;
use souk_enrolment::trust::SignedBundle;
use souk_proto::{Reason, v1};
use time::Duration;

use super::world::{MARKET, Member, World, reason, refusal, request};

#[tokio::test]
async fn code_becomes_a_certificate_of_its_role_and_name() {
    let world = World::new().await;
    for (role, name) in
        [(Role::Seller, "alice"), (Role::Buyer, "bob"), (Role::Operator, "olga"), (Role::Market, "m1")]
    {
        let text = world.invite(role, name).reveal();
        let code: InvitationCode = text.parse().unwrap();
        let member = Member::join(&code, role).await.unwrap();
        assert_eq!((member.joined.name.as_str(), member.joined.peer.identity().role()), (name, role));
        assert!(!member.joined.ephemeral);
        let trust = SignedBundle::try_from(member.joined.trust.clone()).unwrap();
        assert!(trust.is_signed_by(&member.joined.root));
        let trust = trust.open().unwrap();
        assert_eq!(
            (trust.markets, trust.authorities),
            (vec![MARKET.to_owned()], vec![world.address.to_string()])
        );
        // What was written to the files is usable as it is.
        assert_eq!(member.credentials().identity().identity(), member.joined.peer.identity());
        world.logs(&["\"join\"", name, &member.serial()]).await;
        let log = world.log();
        assert!(
            !log.contains(&text[5..]) && !log.contains(&hex(code.secret().reveal())),
            "the secret is logged"
        );
    }
    assert_eq!(world.signed(), 4);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn replay_same_key() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let key = PartyKey::generate().unwrap();
    let first = join(&code, Role::Seller, &key, clock::now()).await.unwrap();
    let again = join(&code, Role::Seller, &key, clock::now()).await.unwrap();
    assert_eq!(first.certificate, again.certificate);
    assert_eq!(world.signed(), 1);
    world.serves_others().await;
}

#[tokio::test]
async fn replay_other_key() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    Member::join(&code, Role::Seller).await.unwrap();
    assert_eq!(refusal(Member::join(&code, Role::Seller).await), Some(Reason::InvitationUsed));
    assert_eq!(world.signed(), 1);
    world.logs(&["refuse", "INVITATION_USED"]).await;
    world.serves_others().await;
}

#[tokio::test]
async fn race_has_one_winner() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let code = code.clone();
            tokio::spawn(async move { Member::join(&code, Role::Seller).await.map(|member| member.serial()) })
        })
        .collect();
    let mut winners = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(_) => winners += 1,
            lost => assert_eq!(refusal(lost), Some(Reason::InvitationUsed)),
        }
    }
    assert_eq!((winners, world.signed()), (1, 1));
    world.serves_others().await;
}

#[tokio::test]
async fn used_code() {
    let world = World::new().await;
    // Used longer ago than a repetition is answered, with the very key.
    let long_ago = clock::now() - Duration::HOUR;
    let code = world.invite_at(Role::Seller, "alice", long_ago);
    let key = PartyKey::generate().unwrap();
    let mut book = Book::read(world.dir()).unwrap();
    let root = sha256_hex(world.pki().root());
    let sha256 = sha256_hex(&key.public_key());
    book.claim(code.id(), Some(Role::Seller), &sha256, &root, long_ago).unwrap();
    book.write(world.dir(), &root, uuid::Uuid::nil(), clock::now()).unwrap();
    let outcome = join(&code, Role::Seller, &key, clock::now()).await;
    assert_eq!(refusal(outcome), Some(Reason::InvitationUsed));
    assert_eq!(world.signed(), 0);
    world.serves_others().await;
}

#[tokio::test]
async fn expired_code() {
    let world = World::new().await;
    let code = world.invite_at(Role::Seller, "alice", clock::now() - Duration::DAY - Duration::SECOND);
    assert_eq!(refusal(Member::join(&code, Role::Seller).await), Some(Reason::InvitationExpired));
    assert_eq!(world.signed(), 0);
    world.serves_others().await;
}

#[tokio::test]
async fn stolen_first() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let thief = Member::join(&code, Role::Seller).await.unwrap();
    // The owner notices, and the operator shuts the thief out.
    assert_eq!(refusal(Member::join(&code, Role::Seller).await), Some(Reason::InvitationUsed));
    assert_eq!(world.pki().revoke("alice", clock::now()).unwrap(), 1);
    let new =
        NewInvitation { role: Role::Seller, name: "alice".into(), again: true, validity: Duration::DAY };
    let (code, _) = world.pki().invite(new, clock::now()).unwrap();
    let owner = Member::join(&code, Role::Seller).await.unwrap();
    assert_eq!(owner.joined.peer.identity(), thief.joined.peer.identity(), "the identity is kept");
    let revoked: Vec<_> =
        world.pki().certificates().into_iter().filter(|party| party.revoked.is_some()).collect();
    assert_eq!(revoked.iter().map(|party| party.serial.clone()).collect::<Vec<_>>(), [thief.serial()]);
    assert_eq!(world.signed(), 2, "the thief's, and the owner's");
    world.serves_others().await;
}

#[tokio::test]
async fn cancelled() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    assert_eq!(world.pki().cancel_invitation(code.id(), clock::now()).unwrap(), "alice");
    assert_eq!(refusal(Member::join(&code, Role::Seller).await), Some(Reason::InvitationUsed));
    assert_eq!(world.signed(), 0);
    // The name is free again.
    let code = world.invite(Role::Seller, "alice");
    Member::join(&code, Role::Seller).await.unwrap();
    world.serves_others().await;
}

#[tokio::test]
async fn root_new_cancels_open_invitations() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    world.pki().new_root(clock::now()).unwrap();
    let book = Book::read(world.dir()).unwrap();
    let state = book.invitations()[0].state(&sha256_hex(world.pki().root()), clock::now());
    assert_eq!(state, State::Cancelled);
    // The authority still shows its former root until it has followed; either way there is no certificate.
    assert!(Member::join(&code, Role::Seller).await.is_err());
    assert_eq!(world.signed(), 0);
}

#[tokio::test]
async fn code_of_another_role_is_not_used_up() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    assert_eq!(refusal(Member::join(&code, Role::Buyer).await), Some(Reason::InvitationRole));
    assert_eq!(world.signed(), 0);
    let member = Member::join(&code, Role::Seller).await.unwrap();
    assert!(matches!(member.joined.peer.identity(), Identity::Seller(_)));
    world.serves_others().await;
}

#[tokio::test]
async fn joining_takes_no_certificate() {
    let world = World::new().await;
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let code = world.invite(Role::Buyer, "bob");
    let channel = world.connect(&alice.credentials()).await.unwrap();
    let mut client = v1::enrolment_service_client::EnrolmentServiceClient::new(channel);
    let key = PartyKey::generate().unwrap();
    let refused = client.join(request(&code, v1::Role::Buyer, &key)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::RoleDenied));
    assert_eq!(world.signed(), 1);
    Member::join(&code, Role::Buyer).await.unwrap();
    world.serves_others().await;
}

#[tokio::test]
async fn names_are_given_once() {
    let world = World::new().await;
    Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let invite = |role, name: &str, again| {
        let new = NewInvitation { role, name: name.into(), again, validity: Duration::DAY };
        world.pki().invite(new, clock::now()).map(drop).map_err(|error| error.to_string())
    };
    for (role, name, again) in [
        (Role::Seller, "alice", false),
        (Role::Buyer, "alice", true),
        (Role::Buyer, "nobody", true),
        (Role::Seller, "authority", false),
        (Role::Seller, "trust", false),
        (Role::Seller, "market", false),
        (Role::Market, "market", false),
        (Role::Seller, "../x", false),
        (Role::Authority, "ca2", false),
    ] {
        invite(role, name, again).unwrap_err();
    }
    invite(Role::Seller, "carol", false).unwrap();
    invite(Role::Seller, "carol", false).unwrap_err();
    invite(Role::Seller, "carol", true).unwrap();
    // Somebody else got the name meanwhile.
    let code = world.invite(Role::Seller, "dora");
    let options = souk_authority::pki::IssueOptions::default();
    world.pki().issue("dora", Role::Seller, &options, clock::now()).unwrap();
    assert_eq!(refusal(Member::join(&code, Role::Seller).await), Some(Reason::InvitationUsed));
    assert_eq!(world.signed(), 2);
}

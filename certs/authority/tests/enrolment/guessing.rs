//! Guesses at secrets. 10⁶ of them, with a clock of their own, are in `invitation::redeem`.

use std::time::Instant;

use souk_authority::invitation::book::{Book, State, sha256_hex};
use souk_certs::clock;
use souk_certs::identity::Role;
use souk_enrolment::key::PartyKey;
use souk_proto::{Reason, v1};
use tonic::Status;

use super::world::{Member, World, reason, refusal, request};

#[tokio::test]
async fn guess_locks() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let mut stranger = world.stranger(&code).await;
    let key = PartyKey::generate().unwrap();
    for guess in 0..5 {
        let request = v1::JoinRequest { secret: vec![guess; 16], ..request(&code, v1::Role::Seller, &key) };
        assert_eq!(reason(&stranger.join(request).await.unwrap_err()), Some(Reason::InvitationInvalid));
    }
    // The holder of the code learns why it is refused.
    assert_eq!(refusal(Member::join(&code, Role::Seller).await), Some(Reason::InvitationLocked));
    assert_eq!(world.signed(), 0);
    world.logs(&["lock", &code.id().to_string()]).await;
    world.logs(&["refuse", "INVITATION_INVALID"]).await;
    let book = Book::read(world.dir()).unwrap();
    let state = book.invitations()[0].state(&sha256_hex(world.pki().root()), clock::now());
    assert_eq!(state, State::Locked);
    world.serves_others().await;
}

#[tokio::test]
async fn unknown_is_wrong() {
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let mut stranger = world.stranger(&code).await;
    let key = PartyKey::generate().unwrap();
    let right = request(&code, v1::Role::Seller, &key);
    let wrong = v1::JoinRequest { secret: vec![1; 16], ..right.clone() };
    let unknown = v1::JoinRequest { invitation_id: vec![1; 8], ..right.clone() };
    let answer = |status: Status| (status.code(), status.message().to_owned(), status.details().to_vec());
    let wrong = answer(stranger.join(wrong).await.unwrap_err());
    let unknown = answer(stranger.join(unknown).await.unwrap_err());
    assert_eq!(wrong, unknown);
    // Lengths are checked before anything else, so they reveal nothing either.
    for malformed in [
        v1::JoinRequest { secret: vec![1; 15], ..right.clone() },
        v1::JoinRequest { invitation_id: Vec::new(), ..right.clone() },
    ] {
        assert_eq!(reason(&stranger.join(malformed).await.unwrap_err()), Some(Reason::InvalidField));
    }
    assert_eq!(world.signed(), 0);
    Member::join(&code, Role::Seller).await.unwrap();
    world.serves_others().await;
}

#[tokio::test]
async fn flood_leaves_others() {
    const GUESSES: u32 = 200;
    let world = World::new().await;
    let code = world.invite(Role::Seller, "alice");
    let owner = world.invite(Role::Buyer, "bob");
    let mut stranger = world.stranger(&code).await;
    let key = PartyKey::generate().unwrap();
    let mut limited = 0;
    for guess in 0..GUESSES {
        let mut secret = [0; 16];
        secret[..4].copy_from_slice(&guess.to_be_bytes());
        let guess = v1::JoinRequest {
            invitation_id: vec![2; 8],
            secret: secret.to_vec(),
            ..request(&code, v1::Role::Seller, &key)
        };
        match reason(&stranger.join(guess).await.unwrap_err()) {
            Some(Reason::InvitationInvalid) => {}
            Some(Reason::RateLimited) => limited += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(limited, GUESSES - 10);
    assert_eq!(world.signed(), 0);
    // From the same address, with the right secret, and at once.
    let begun = Instant::now();
    Member::join(&owner, Role::Buyer).await.unwrap();
    Member::join(&code, Role::Seller).await.unwrap();
    assert!(begun.elapsed() < super::world::DEADLINE);
    world.logs(&["refuse", "RATE_LIMITED"]).await;
    assert!(world.log().lines().count() < 20, "a flood fills the log:\n{}", world.log());
    world.serves_others().await;
}

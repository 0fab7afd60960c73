//! Identity and roles. The attacks are in the security suite; these tests cover the regular checks.

use souk_certs::identity::Role;
use souk_client::Error;
use souk_proto::{Reason, v1};

use crate::fixture::{Fixture, call, on_every_store, reason};

on_every_store!(
    client_that_registers_again_keeps_its_identity,
    identity_comes_from_the_certificate,
    account_is_shown_as_it_was_last_changed,
    unregistered_party_is_asked_to_register,
    buyer_can_not_sell_and_seller_can_not_buy,
    call_without_token_or_party_id_is_refused,
    another_partys_token_is_refused,
);

async fn client_that_registers_again_keeps_its_identity(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(5).await;
    let account = alice.register_as_seller("Alice & Daughters").await.unwrap();
    assert_eq!(account.party_id, alice.id());
    // Her items are still hers, under the new name.
    assert_eq!(alice.item(lamp).await.unwrap().seller_name, "Alice & Daughters");
    assert_eq!(alice.delete(lamp).await.unwrap().item_id, lamp);
}

async fn identity_comes_from_the_certificate(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let who = call!(alice, WhoAmIRequest {}).unwrap();
    let certificate = who.certificate.unwrap();
    assert_eq!(certificate.spiffe_id, format!("spiffe://souk.internal/seller/{}", alice.id()));
    assert_eq!(certificate.sha256_thumbprint.len(), 64);
    let account = who.account.unwrap();
    assert_eq!((account.party_id.clone(), account.role()), (alice.id(), v1::Role::Seller));
    assert!(who.token.is_some());
}

async fn account_is_shown_as_it_was_last_changed(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    for name in ["Alice's", "Alice & Daughters", "Alice & Granddaughters"] {
        // Before each change, several calls at once, of which some are still under way while it is made.
        let asked = (0..8).map(|_| async { call!(alice, WhoAmIRequest {}).unwrap() });
        let (_, renamed) = tokio::join!(futures::future::join_all(asked), alice.register_as_seller(name));
        let who = call!(alice, WhoAmIRequest {}).unwrap();
        assert_eq!(who.account, Some(renamed.unwrap()));
        assert_eq!(who.account.unwrap().display_name, name);
    }
}

async fn unregistered_party_is_asked_to_register(fixture: &Fixture) {
    let stranger = fixture.stranger(Role::Buyer, "stranger").await;
    let refused = call!(stranger, WhoAmIRequest {});
    assert_eq!(reason(refused), Reason::NotRegistered);
    // The absence is not remembered.
    stranger.register_as_buyer("stranger").await.unwrap();
    call!(stranger, WhoAmIRequest {}).unwrap();
}

async fn buyer_can_not_sell_and_seller_can_not_buy(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    assert_eq!(reason(bob.sell(crate::fixture::draft("Lamp", "home", 1, 1)).await), Reason::RoleDenied);
    assert_eq!(reason(alice.buy(lamp, 1).await), Reason::RoleDenied);
    assert_eq!(reason(bob.register_as_seller("bob").await), Reason::RoleDenied);
    assert_eq!(alice.item(lamp).await.unwrap().quantity, 5);
}

async fn call_without_token_or_party_id_is_refused(fixture: &Fixture) {
    let bob = fixture.buyer("bob").await;
    let channel = fixture.market.channel(Role::Buyer, "bob").await.unwrap();
    let mut bare = v1::session_service_client::SessionServiceClient::new(channel.clone());
    let refused = bare.who_am_i(v1::WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::PartyIdInvalid));
    let mut request = tonic::Request::new(v1::WhoAmIRequest {});
    request.metadata_mut().insert("x-party-id", bob.id().parse().unwrap());
    let refused = bare.who_am_i(request).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::TokenRequired));
}

async fn another_partys_token_is_refused(fixture: &Fixture) {
    let (bob, dave) = (fixture.buyer("bob").await, fixture.buyer("dave").await);
    let issued = call!(bob, IssueTokenRequest {}).unwrap();
    // Dave's certificate and UUID with bob's token.
    let channel = fixture.market.channel(Role::Buyer, "dave").await.unwrap();
    let mut request = tonic::Request::new(v1::WhoAmIRequest {});
    request.metadata_mut().insert("x-party-id", dave.id().parse().unwrap());
    let bearer = format!("Bearer {}", issued.access_token);
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let refused = v1::session_service_client::SessionServiceClient::new(channel).who_am_i(request).await;
    assert_eq!(Reason::of(&refused.unwrap_err()), Some(Reason::TokenInvalid));
    let failure: Result<(), Error> =
        Err(call!(dave, RegisterSellerRequest { display_name: "dave".into() }).unwrap_err());
    assert_eq!(reason(failure), Reason::RoleDenied);
}

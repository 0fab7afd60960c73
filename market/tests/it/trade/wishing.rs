//! Wishlists over real sockets.

use souk_proto::Reason;

use crate::fixture::{Fixture, call, on_every_store, reason};

on_every_store!(
    wish_for_a_missing_item_is_refused,
    duplicate_wish_changes_nothing,
    removed_wish_is_gone_and_removing_it_again_is_refused,
    deleted_item_leaves_the_wishlist,
);

async fn wishes(bob: &crate::fixture::Party) -> Vec<i64> {
    let listed = call!(bob, ListWishlistRequest {}).unwrap();
    listed.wishes.into_iter().map(|wish| wish.item.unwrap().item_id).collect()
}

async fn wish_for_a_missing_item_is_refused(fixture: &Fixture) {
    let bob = fixture.buyer("bob").await;
    assert_eq!(reason(bob.wish(4_711).await), Reason::ItemNotFound);
    assert!(wishes(&bob).await.is_empty());
}

async fn duplicate_wish_changes_nothing(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let first = bob.wish(lamp).await.unwrap();
    let second = bob.wish(lamp).await.unwrap();
    assert_eq!(first.add_time, second.add_time);
    assert_eq!(wishes(&bob).await, [lamp]);
}

async fn removed_wish_is_gone_and_removing_it_again_is_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    bob.wish(lamp).await.unwrap();
    let remove = || async { call!(&bob, RemoveFromWishlistRequest { item_id: lamp }) };
    remove().await.unwrap();
    assert!(wishes(&bob).await.is_empty());
    assert_eq!(reason(remove().await), Reason::WishNotFound);
}

async fn deleted_item_leaves_the_wishlist(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (lamp, kept) = (alice.lamp(5).await, alice.lamp(5).await);
    bob.wish(lamp).await.unwrap();
    bob.wish(kept).await.unwrap();
    alice.delete(lamp).await.unwrap();
    assert_eq!(wishes(&bob).await, [kept]);
}

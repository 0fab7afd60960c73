//! Items that are withdrawn and put back on sale, and SKUs that are given later.

use souk_proto::{Reason, v1};

use crate::fixture::{Fixture, Party, call, draft, eventually, on_every_store, reason};

on_every_store!(
    withdrawn_item_is_put_back_on_sale,
    undelete_is_carried_out_once,
    items_that_are_not_withdrawn_are_not_undeleted,
    sku_is_given_later,
);

async fn undelete(party: &Party, item_id: i64, quantity: i64) -> Result<v1::Item, souk_client::Error> {
    let back = call!(party, UndeleteItemRequest { item_id: item_id, quantity: quantity })?;
    Ok(back.item.unwrap())
}

async fn withdrawn(party: &Party) -> Vec<v1::Item> {
    call!(party, DisplaySellerItemsRequest { withdrawn: true }).unwrap().items
}

async fn withdrawn_item_is_put_back_on_sale(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (lamp, other) = (alice.lamp(5).await, alice.lamp(5).await);
    bob.buy(lamp, 1).await.unwrap();
    bob.rate(lamp, 4).await.unwrap();
    assert!(alice.delete(lamp).await.unwrap().withdraw_time.is_some());
    let listed = withdrawn(&alice).await;
    assert_eq!(listed.iter().map(|item| item.item_id).collect::<Vec<_>>(), [lamp]);
    assert!(listed[0].withdraw_time.is_some());
    let back = undelete(&alice, lamp, 7).await.unwrap();
    assert_eq!((back.item_id, back.quantity, back.withdraw_time), (lamp, 7, None));
    assert_eq!(back.rating.unwrap().count, 1);
    assert!(withdrawn(&alice).await.is_empty());
    let shown = call!(alice, DisplaySellerItemsRequest {}).unwrap().items;
    assert_eq!(shown.iter().map(|item| item.item_id).collect::<Vec<_>>(), [lamp, other]);
    eventually("the item is found again", || async {
        bob.search("lamp", "home/light").await.iter().any(|item| item.item_id == lamp)
    })
    .await;
    bob.buy(lamp, 7).await.unwrap();
    bob.wish(lamp).await.unwrap();
}

async fn undelete_is_carried_out_once(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(5).await;
    alice.delete(lamp).await.unwrap();
    let id = alice.request_id();
    let again = async |validate_only| {
        let back = call!(
            alice,
            UndeleteItemRequest {
                request_id: id.clone(),
                validate_only: validate_only,
                item_id: lamp,
                quantity: 2
            }
        );
        back.unwrap().item.unwrap()
    };
    assert_eq!(again(true).await.quantity, 2);
    assert_eq!(withdrawn(&alice).await.len(), 1, "it was only checked");
    let first = again(false).await;
    assert_eq!(again(false).await, first);
}

async fn items_that_are_not_withdrawn_are_not_undeleted(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let lamp = alice.lamp(5).await;
    assert_eq!(reason(undelete(&alice, lamp, 1).await), Reason::InvalidField);
    alice.delete(lamp).await.unwrap();
    assert_eq!(reason(undelete(&carol, lamp, 1).await), Reason::ItemNotFound);
    assert_eq!(reason(undelete(&alice, lamp, -1).await), Reason::InvalidField);
    let numbered =
        |quantity| v1::ItemDraft { sku: Some("T-1".into()), ..draft("Tile", "home", 100, quantity) };
    let old = alice.sell(numbered(1)).await.unwrap().item_id;
    alice.delete(old).await.unwrap();
    alice.sell(numbered(2)).await.unwrap();
    assert_eq!(reason(undelete(&alice, old, 1).await), Reason::SkuTaken);
}

async fn sku_is_given_later(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (lamp, other) = (alice.lamp(5).await, alice.lamp(5).await);
    let sku = |sku: &str| v1::ItemDraft { sku: Some(sku.into()), ..Default::default() };
    assert_eq!(alice.update(lamp, sku("T-1")).await.unwrap().sku, "T-1");
    assert_eq!(alice.item(lamp).await.unwrap().sku, "T-1");
    assert_eq!(reason(alice.update(other, sku("T-1")).await), Reason::SkuTaken);
    assert_eq!(reason(alice.update(lamp, sku("T-2")).await), Reason::InvalidField);
    assert_eq!(reason(alice.update(other, sku("")).await), Reason::InvalidField);
}

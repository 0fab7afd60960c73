//! Items that are withdrawn and put back on the market, and SKUs that are given later, on every back end.

use souk_domain::{Action, EventKind, Item, ItemId, ItemPatch, Outcome, Quantity, Refusal, action};
use souk_store::{FeedPosition, ItemQuery};

use super::{ALICE, BOB, CAROL, DAVE, Shop, buy, on_every_back_end, party, sell_as, sku};

on_every_back_end!(
    withdrawn_items_are_listed_apart,
    undeleted_item_is_saved_as_on_sale,
    undeleted_item_does_not_take_a_used_sku,
    sku_that_is_given_later_is_saved,
    undone_withdrawal_leaves_the_wishes,
);

fn delete(item: ItemId) -> Action {
    Action::Delete(action::Delete { item, expected_version: None })
}

fn undelete(item: &Item, units: i64) -> Action {
    let quantity = Quantity::parse(units).unwrap();
    Action::Undelete(action::Undelete {
        item: item.id,
        quantity,
        expected_version: None,
        sku: item.sku.clone(),
    })
}

fn give_sku(item: ItemId, number: u8) -> Action {
    let patch = ItemPatch { sku: Some(sku(number)), ..ItemPatch::default() };
    Action::Update(action::Update { item, patch, expected_version: None })
}

fn item_of(outcome: Result<Outcome, Refusal>) -> Item {
    match outcome {
        Ok(Outcome::Item(item)) => item,
        other => panic!("{other:?}"),
    }
}

/// Returns a query for what Alice has withdrawn.
fn withdrawn() -> ItemQuery {
    ItemQuery { seller: party(ALICE), withdrawn: true, after: None, limit: 9 }
}

fn ids(items: &[Item]) -> Vec<ItemId> {
    items.iter().map(|item| item.id).collect()
}

async fn withdrawn_items_are_listed_apart(mut shop: Shop) {
    let mut own = Vec::new();
    for _ in 0..4 {
        own.push(shop.lamp(ALICE, 5).await);
        let other = shop.lamp(CAROL, 5).await;
        shop.act(CAROL, delete(other)).await.unwrap();
    }
    for item in &own[..3] {
        shop.act(ALICE, delete(*item)).await.unwrap();
    }
    let reads = &shop.store.reads;
    let after = Some(own[1]);
    assert_eq!(ids(&reads.seller_items(&ItemQuery { limit: 2, ..withdrawn() }).await.unwrap()), own[..2]);
    assert_eq!(ids(&reads.seller_items(&ItemQuery { after, ..withdrawn() }).await.unwrap()), own[2..3]);
    let on_sale = ItemQuery { withdrawn: false, ..withdrawn() };
    assert_eq!(ids(&reads.seller_items(&on_sale).await.unwrap()), own[3..]);
}

async fn undeleted_item_is_saved_as_on_sale(mut shop: Shop) {
    let lamp = shop.listed(ALICE, "Lamp", 5).await;
    shop.act(ALICE, delete(lamp.id)).await.unwrap();
    let back = item_of(shop.act(ALICE, undelete(&lamp, 3)).await);
    assert_eq!(shop.store.reads.item(lamp.id).await.unwrap(), Some(back.clone()));
    assert!(back.is_listed() && back.quantity == 3, "{back:?}");
    let feed = shop.feed(FeedPosition(0), 1).await;
    assert_eq!(feed.last().map(|entry| entry.item.clone()), Some(back));
    assert!(shop.store.reads.seller_items(&withdrawn()).await.unwrap().is_empty());
    shop.act(BOB, buy(lamp.id, 3)).await.unwrap();
}

async fn undeleted_item_does_not_take_a_used_sku(mut shop: Shop) {
    let old = item_of(shop.act(ALICE, sell_as(1, 5)).await);
    shop.act(ALICE, delete(old.id)).await.unwrap();
    let new = item_of(shop.act(ALICE, sell_as(1, 5)).await);
    assert_eq!(shop.act(ALICE, undelete(&old, 1)).await, Err(Refusal::SkuTaken(new.id)));
    // In one batch, in which the SKU becomes free, and is taken again.
    let free = shop.command(ALICE, delete(new.id));
    let back = shop.command(ALICE, undelete(&old, 1));
    let again = shop.command(ALICE, sell_as(1, 5));
    let (outcomes, _) = shop.batch(&[free, back, again]).await;
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok(), "{outcomes:?}");
    assert_eq!(outcomes[2], Err(Refusal::SkuTaken(old.id)));
}

async fn sku_that_is_given_later_is_saved(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    let other = item_of(shop.act(ALICE, sell_as(1, 5)).await);
    assert_eq!(shop.act(ALICE, give_sku(lamp, 1)).await, Err(Refusal::SkuTaken(other.id)));
    let named = item_of(shop.act(ALICE, give_sku(lamp, 2)).await);
    assert_eq!(named.sku, Some(sku(2)));
    assert_eq!(shop.store.reads.item(lamp).await.unwrap(), Some(named));
    assert_eq!(shop.act(ALICE, sell_as(2, 1)).await, Err(Refusal::SkuTaken(lamp)));
}

/// The withdrawal has been reported to one of two wishers when the seller undoes it.
async fn undone_withdrawal_leaves_the_wishes(mut shop: Shop) {
    let lamp = shop.listed(ALICE, "Lamp", 5).await;
    for buyer in [BOB, DAVE] {
        shop.act(buyer, Action::Wish(action::Wish { item: lamp.id })).await.unwrap();
    }
    shop.act(ALICE, delete(lamp.id)).await.unwrap();
    let first = shop.store.mailboxes.expand(1).await.unwrap();
    assert_eq!(first.recipients, [party(BOB)]);
    shop.act(ALICE, undelete(&lamp, 3)).await.unwrap();
    // Bob has lost his wish, and makes it again before the rest of the withdrawal is looked at.
    shop.act(BOB, Action::Wish(action::Wish { item: lamp.id })).await.unwrap();
    shop.expand_all().await;
    for buyer in [BOB, DAVE] {
        assert_eq!(shop.store.reads.wishlist(party(buyer), None, 9).await.unwrap().len(), 1);
    }
    let waiting = shop.waiting(DAVE).await;
    let [back] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert!(
        matches!(&back.event.kind, EventKind::ItemUpdated { item, back_in_stock: true, .. } if item.id == lamp.id)
    );
}

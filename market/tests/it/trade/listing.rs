//! Listing, updating, deleting and displaying items.

use souk_proto::{Reason, v1};

use crate::fixture::{Fixture, call, draft, on_every_store, pounds, reason};

on_every_store!(
    id_is_not_reused_after_delete,
    another_sellers_item_is_neither_updated_nor_deleted,
    stale_version_is_refused,
    quantity_delta_keeps_a_purchase_in_between,
    update_changes_only_the_masked_fields,
    display_shows_own_items_page_by_page,
    deleted_item_leaves_the_market_and_its_orders_stay,
    sales_are_listed_latest_first,
    validate_only_lists_nothing,
);

async fn id_is_not_reused_after_delete(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let first = alice.lamp(1).await;
    alice.delete(first).await.unwrap();
    let second = alice.lamp(1).await;
    assert!(second > first, "{second} after {first}");
}

async fn another_sellers_item_is_neither_updated_nor_deleted(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let lamp = alice.lamp(5).await;
    let cheaper = v1::ItemDraft { unit_price: pounds(1), ..Default::default() };
    let foreign = carol.update(lamp, cheaper.clone()).await;
    let missing = carol.update(9_999, cheaper).await;
    // The same answer except for the number: another seller's item is indistinguishable from a missing one.
    let text = |failure: &souk_client::Error| {
        failure.to_string().replace("9999", "N").replace(&lamp.to_string(), "N")
    };
    assert_eq!(text(foreign.as_ref().unwrap_err()), text(missing.as_ref().unwrap_err()));
    assert_eq!(reason(foreign), Reason::ItemNotFound);
    assert_eq!(reason(carol.delete(lamp).await), Reason::ItemNotFound);
    let item = alice.item(lamp).await.unwrap();
    assert_eq!((item.unit_price, item.quantity, item.version), (pounds(1_250), 5, 1));
}

async fn stale_version_is_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    bob.buy(lamp, 1).await.unwrap();
    let stale = call!(
        alice,
        UpdateItemRequest {
            item_id: lamp,
            item: Some(v1::ItemDraft { quantity: Some(5), ..Default::default() }),
            expected_version: Some(1),
        }
    );
    assert_eq!(reason(stale), Reason::VersionMismatch);
    assert_eq!(alice.item(lamp).await.unwrap().quantity, 4);
}

async fn quantity_delta_keeps_a_purchase_in_between(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let (alice, lamp) = (&alice, lamp);
    let delta = |units: i64| async move {
        call!(&alice, UpdateItemRequest { item_id: lamp, quantity_delta: Some(units) })
    };
    let (_, bought) = tokio::join!(async { delta(10).await.unwrap() }, bob.buy(lamp, 2));
    bought.unwrap();
    assert_eq!(alice.item(lamp).await.unwrap().quantity, 13);
    assert_eq!(reason(delta(-14).await), Reason::StockOutOfRange);
    assert_eq!(delta(-13).await.unwrap().item.unwrap().quantity, 0);
}

async fn update_changes_only_the_masked_fields(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(5).await;
    let updated = call!(
        alice,
        UpdateItemRequest {
            item_id: lamp,
            item: Some(draft("Other", "garden", 999, 7)),
            update_mask: Some(prost_types::FieldMask { paths: vec!["unit_price".into()] }),
        }
    );
    let item = updated.unwrap().item.unwrap();
    assert_eq!((item.name.as_str(), item.unit_price, item.quantity), ("Lamp", pounds(999), 5));
    let unknown = call!(
        alice,
        UpdateItemRequest {
            item_id: lamp,
            update_mask: Some(prost_types::FieldMask { paths: vec!["seller_id".into()] }),
        }
    );
    assert_eq!(reason(unknown), Reason::InvalidField);
}

async fn display_shows_own_items_page_by_page(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let mut own = Vec::new();
    for _ in 0..5 {
        own.push(alice.lamp(1).await);
        carol.lamp(1).await;
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page =
            call!(alice, DisplaySellerItemsRequest { page_size: 2, page_token: token.clone() }).unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|item| item.item_id));
        if page.next_page_token.is_empty() {
            break;
        }
        token = page.next_page_token;
    }
    assert_eq!(seen, own);
    // A page token is valid for its caller only.
    let foreign = call!(carol, DisplaySellerItemsRequest { page_token: token });
    assert_eq!(reason(foreign), Reason::PageTokenInvalid);
}

async fn deleted_item_leaves_the_market_and_its_orders_stay(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let order = bob.buy(lamp, 2).await.unwrap();
    assert_eq!(alice.delete(lamp).await.unwrap().quantity, 3);
    assert_eq!(reason(bob.item(lamp).await), Reason::ItemNotFound);
    assert_eq!(reason(bob.buy(lamp, 1).await), Reason::ItemNotFound);
    assert_eq!(reason(alice.delete(lamp).await), Reason::ItemNotFound);
    let kept = call!(bob, GetOrderRequest { order_id: order.order_id }).unwrap();
    assert_eq!(kept.order.unwrap(), order);
}

async fn sales_are_listed_latest_first(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (lamp, other) = (alice.lamp(5).await, alice.lamp(5).await);
    let mut orders = Vec::new();
    for item in [lamp, other, lamp] {
        orders.push(bob.buy(item, 1).await.unwrap().order_id);
    }
    let listed = call!(alice, ListSalesRequest { item_id: lamp }).unwrap();
    let ids: Vec<_> = listed.orders.iter().map(|order| order.order_id).collect();
    assert_eq!(ids, [orders[2], orders[0]]);
    assert_eq!(listed.orders[0].buyer_name, "bob");
}

async fn validate_only_lists_nothing(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let checked =
        call!(alice, SellItemRequest { validate_only: true, item: Some(draft("Lamp", "home", 1, 1)) });
    assert_eq!(checked.unwrap().item.unwrap().item_id, 0);
    let shown = call!(alice, DisplaySellerItemsRequest {}).unwrap();
    assert!(shown.items.is_empty());
}

//! Malformed values: the error names every wrong field, and nothing is changed.

use souk_client::Error;
use souk_proto::{Reason, v1};

use crate::fixture::{Fixture, Party, call, draft, on_every_store, pounds, reason};

on_every_store!(
    every_wrong_field_of_an_item_is_named,
    wrong_quantities_are_refused,
    one_mebibyte_of_name_is_refused,
    malformed_ids_and_request_ids_are_refused,
    update_with_nothing_to_change_is_refused,
    wrong_callback_addresses_are_named_with_the_other_fields,
    page_sizes_and_search_filters_out_of_bounds_are_refused,
);

fn wrong_fields<T: std::fmt::Debug>(result: Result<T, Error>) -> Vec<String> {
    match result {
        Err(Error::Refused(refusal)) => {
            assert_eq!(refusal.reason(), Some(Reason::InvalidField));
            refusal.violations().iter().map(|violation| violation.field.clone()).collect()
        }
        other => panic!("not refused: {other:?}"),
    }
}

async fn assert_nothing_listed(alice: &Party) {
    let shown = call!(alice, DisplaySellerItemsRequest {}).unwrap();
    assert!(shown.items.is_empty(), "{:?}", shown.items);
}

async fn every_wrong_field_of_an_item_is_named(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let mut item = draft("bell \u{7}", "Home Light", -1, -1);
    item.description = Some("x".repeat(4_001));
    let fields = wrong_fields(alice.sell(item).await);
    let all = ["item.name", "item.description", "item.category", "item.unit_price", "item.quantity"];
    assert_eq!(fields, all);
    let empty = wrong_fields(alice.sell(v1::ItemDraft::default()).await);
    assert_eq!(empty, ["item.name", "item.category", "item.unit_price", "item.quantity"]);
    let currency = v1::Money { amount_minor: 1, currency_code: "pounds".into() };
    let item = v1::ItemDraft { unit_price: Some(currency), ..draft("Lamp", "home", 1, 1) };
    assert_eq!(wrong_fields(alice.sell(item).await), ["item.unit_price"]);
    assert_eq!(wrong_fields(alice.sell(draft("Lamp", "home", i64::MAX, 1)).await), ["item.unit_price"]);
    assert_nothing_listed(&alice).await;
}

async fn wrong_quantities_are_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    for quantity in [0, -1, i64::MIN, i64::MAX, 1_000_000_001] {
        assert_eq!(wrong_fields(alice.sell(draft("Lamp", "home", 1, quantity)).await), ["item.quantity"]);
    }
    assert_nothing_listed(&alice).await;
    let lamp = alice.lamp(5).await;
    for quantity in [0, -1, i64::MIN, i64::MAX, 1_000_001] {
        assert_eq!(wrong_fields(bob.buy(lamp, quantity).await), ["quantity"]);
    }
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 5);
}

async fn one_mebibyte_of_name_is_refused(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let name = "x".repeat(100 << 10);
    assert_eq!(wrong_fields(alice.sell(draft(&name, "home", 1, 1)).await), ["item.name"]);
    // A message above the size limit never reaches the service.
    let name = "x".repeat(1 << 20);
    match alice.sell(draft(&name, "home", 1, 1)).await {
        Err(Error::Refused(refusal)) => assert_eq!(refusal.reason(), Some(Reason::MessageTooLarge)),
        other => panic!("not refused: {other:?}"),
    }
    assert_nothing_listed(&alice).await;
}

async fn malformed_ids_and_request_ids_are_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    for item_id in [0, -1, i64::MIN] {
        assert_eq!(wrong_fields(bob.buy(item_id, 1).await), ["item_id"]);
    }
    // The client would fill in an empty one.
    let bare = v1::BuyItemRequest { item_id: lamp, quantity: 1, ..Default::default() };
    let status = bob.connection.buyer().buy_item(bare).await.expect_err("refused");
    assert_eq!(wrong_fields::<()>(Err(bob.connection.explain(status).await)), ["request_id"]);
    for request_id in ["1", "00000000-0000-0000-0000-000000000000", "not-a-uuid"] {
        assert_eq!(wrong_fields(bob.buy_as(request_id.into(), lamp, 1).await), ["request_id"]);
    }
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 5);
}

async fn update_with_nothing_to_change_is_refused(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(5).await;
    assert_eq!(wrong_fields(alice.update(lamp, v1::ItemDraft::default()).await), ["item"]);
    let both = call!(
        alice,
        UpdateItemRequest {
            item_id: lamp,
            item: Some(v1::ItemDraft { quantity: Some(1), ..Default::default() }),
            quantity_delta: Some(1),
        }
    );
    assert_eq!(wrong_fields(both), ["quantity_delta"]);
    assert_eq!(alice.item(lamp).await.unwrap().version, 1);
}

async fn page_sizes_and_search_filters_out_of_bounds_are_refused(fixture: &Fixture) {
    let bob = fixture.buyer("bob").await;
    let ask = |request: v1::SearchItemRequest| async {
        let found = bob.connection.call(request);
        found.await.map(|_| ())
    };
    let base = v1::SearchItemRequest::default();
    let cases = [
        (v1::SearchItemRequest { page_size: -1, ..base.clone() }, "page_size"),
        (v1::SearchItemRequest { query: "x".repeat(501), ..base.clone() }, "query"),
        (v1::SearchItemRequest { category: "Home".into(), ..base.clone() }, "category"),
        (v1::SearchItemRequest { min_rating: Some(f64::NAN), ..base.clone() }, "min_rating"),
        (v1::SearchItemRequest { seller_id: "alice".into(), ..base.clone() }, "seller_id"),
        (v1::SearchItemRequest { order_by: 99, ..base.clone() }, "order_by"),
        (v1::SearchItemRequest { min_price: pounds(2), max_price: pounds(1), ..base.clone() }, "max_price"),
    ];
    for (request, field) in cases {
        assert_eq!(wrong_fields(ask(request).await), [field]);
    }
    let lost = v1::SearchItemRequest { page_token: "?".into(), ..base };
    assert_eq!(reason(ask(lost).await), Reason::PageTokenInvalid);
}

async fn wrong_callback_addresses_are_named_with_the_other_fields(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    for (host, port, wrong) in [
        (String::new(), 0, "callback.port"),
        (String::new(), 65_536, "callback.port"),
        ("h".repeat(254), 7_444, "callback.host"),
    ] {
        let callback = v1::CallbackAddress { host, port };
        let registered = call!(
            alice,
            RegisterSellerRequest { request_id: alice.request_id(), callback: Some(callback.clone()) }
        );
        assert_eq!(wrong_fields(registered), ["display_name", wrong]);
        let registered = call!(
            alice,
            RegisterSellerRequest {
                request_id: alice.request_id(),
                display_name: "Alice".into(),
                callback: Some(callback),
            }
        );
        assert_eq!(wrong_fields(registered), [wrong]);
    }
}

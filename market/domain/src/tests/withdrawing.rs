//! Items that are withdrawn and put back on the market, and SKUs that are given later.

use super::*;

fn delete(item: ItemId) -> Action {
    Action::Delete(action::Delete { item, expected_version: None })
}

fn undelete(item: ItemId, units: i64, sku: Option<&str>) -> Action {
    let quantity = Quantity::parse(units).unwrap();
    let sku = sku.map(|sku| Sku::parse(sku).unwrap());
    Action::Undelete(action::Undelete { item, quantity, expected_version: None, sku })
}

fn give_sku(item: ItemId, sku: &str) -> Action {
    let patch = ItemPatch { sku: Some(Sku::parse(sku).unwrap()), ..ItemPatch::default() };
    Action::Update(action::Update { item, patch, expected_version: None })
}

fn item_of(outcome: Result<Outcome, Refusal>) -> Item {
    match outcome {
        Ok(Outcome::Item(item)) => item,
        other => panic!("not an item: {other:?}"),
    }
}

#[test]
fn undeleted_item_is_on_sale_again_with_its_orders_and_ratings() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    fixture.act(BOB, buy(lamp, 2)).unwrap();
    fixture.act(BOB, rate(lamp, 4)).unwrap();
    fixture.act(ALICE, delete(lamp)).unwrap();
    let before = fixture.item(lamp).clone();
    let back = item_of(fixture.act(ALICE, undelete(lamp, 7, None)));
    assert_eq!((back.id, back.quantity, back.deleted_at), (lamp, 7, None));
    assert_eq!((back.version, back.rating.count, back.sold), (before.version + 1, 1, 2));
    assert!(fixture.item(lamp).is_balanced());
    order_of(fixture.act(DAVE, buy(lamp, 7)));
}

#[test]
fn withdrawn_units_do_not_come_back_by_themselves() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let order = order_of(fixture.act(BOB, buy(lamp, 2)));
    fixture.act(ALICE, delete(lamp)).unwrap();
    let back = item_of(fixture.act(ALICE, undelete(lamp, 0, None)));
    assert_eq!((back.quantity, back.withdrawn), (0, 3));
    // An order from before returns its units to the stock again.
    order_of(fixture.act(BOB, Action::Cancel(action::Cancel { order: order.id })));
    assert_eq!((fixture.item(lamp).quantity, fixture.item(lamp).withdrawn), (2, 3));
}

#[test]
fn only_the_sellers_withdrawn_items_are_undeleted() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let on_sale = fixture.act(ALICE, undelete(lamp, 1, None));
    assert!(matches!(on_sale, Err(Refusal::InvalidField { field: "item_id", .. })), "{on_sale:?}");
    fixture.act(ALICE, delete(lamp)).unwrap();
    for (caller, item) in [(CAROL, lamp), (BOB, lamp), (ALICE, ItemId(77))] {
        assert_eq!(fixture.act(caller, undelete(item, 1, None)), Err(Refusal::ItemNotFound(item)));
    }
    let quantity = Quantity::parse(1).unwrap();
    let stale = action::Undelete { item: lamp, quantity, expected_version: Some(1), sku: None };
    let refused = fixture.act(ALICE, Action::Undelete(stale));
    assert_eq!(refused, Err(Refusal::VersionMismatch { expected: 1, actual: 2 }));
}

#[test]
fn undeleted_item_does_not_share_its_sku() {
    let mut fixture = Fixture::open();
    let old = item_of(fixture.act(ALICE, sell_as("T-1", 5))).id;
    fixture.act(ALICE, delete(old)).unwrap();
    let new = item_of(fixture.act(ALICE, sell_as("T-1", 5))).id;
    assert_eq!(fixture.act(ALICE, undelete(old, 1, Some("T-1"))), Err(Refusal::SkuTaken(new)));
    // A caller that has read another SKU has not looked who has this one.
    let unread = fixture.act(ALICE, undelete(old, 1, None));
    assert!(matches!(unread, Err(Refusal::VersionMismatch { .. })), "{unread:?}");
    fixture.act(ALICE, delete(new)).unwrap();
    item_of(fixture.act(ALICE, undelete(old, 1, Some("T-1"))));
    assert_eq!(fixture.act(ALICE, sell_as("T-1", 5)), Err(Refusal::SkuTaken(old)));
}

#[test]
fn sku_is_given_once_and_notifies_nobody() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let other = item_of(fixture.act(ALICE, sell_as("T-1", 5))).id;
    assert_eq!(fixture.act(ALICE, give_sku(lamp, "T-1")), Err(Refusal::SkuTaken(other)));
    let events = fixture.rows.events.len();
    let named = item_of(fixture.act(ALICE, give_sku(lamp, "T-2")));
    assert_eq!((named.sku, named.version), (Some(Sku::parse("T-2").unwrap()), 2));
    // The same one again changes nothing.
    assert_eq!(item_of(fixture.act(ALICE, give_sku(lamp, "T-2"))).version, 2);
    assert_eq!(fixture.rows.events.len(), events);
    let changed = fixture.act(ALICE, give_sku(lamp, "T-3"));
    assert!(matches!(changed, Err(Refusal::InvalidField { field: "item.sku", .. })), "{changed:?}");
    assert_eq!(fixture.act(ALICE, sell_as("T-2", 1)), Err(Refusal::SkuTaken(lamp)));
}

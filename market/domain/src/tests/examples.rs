//! Each rule by example.

use super::*;

#[test]
fn unregistered_party_can_only_register() {
    let mut fixture = Fixture::open();
    assert_eq!(fixture.act(99, sell("Lamp", 1, 1)), Err(Refusal::NotRegistered));
    assert_eq!(fixture.act(99, buy(ItemId(1), 1)), Err(Refusal::NotRegistered));
}

#[test]
fn registering_again_keeps_identity_role_and_first_time() {
    let mut fixture = Fixture::open();
    let before = fixture.rows.parties.row(party(ALICE)).unwrap().clone();
    let action = Action::Register(action::Register {
        role: Role::Seller,
        display_name: DisplayName::parse("Alice & Daughters").unwrap(),
        callback: Some(Callback { host: "192.0.2.7".into(), port: 7444 }),
    });
    fixture.act(ALICE, action).unwrap();
    let after = fixture.rows.parties.row(party(ALICE)).unwrap();
    assert_eq!((after.id, after.role, after.registered_at), (before.id, before.role, before.registered_at));
    assert_eq!(after.display_name.as_str(), "Alice & Daughters");
    assert_eq!(after.callback.as_ref().unwrap().port, 7444);
}

fn called(name: &str) -> Action {
    let display_name = DisplayName::parse(name).unwrap();
    Action::Register(action::Register { role: Role::Seller, display_name, callback: None })
}

#[test]
fn name_that_looks_like_another_partys_is_refused() {
    let mut fixture = Fixture::open();
    fixture.act(ALICE, called("Shop")).unwrap();
    for name in ["Shop", "SHOP", "\u{405}h\u{43e}p"] {
        assert_eq!(fixture.act(CAROL, called(name)), Err(Refusal::DisplayNameTaken), "{name}");
        assert_eq!(fixture.validate(CAROL, called(name)), Err(Refusal::DisplayNameTaken), "{name}");
    }
    // Its own name is not another's, however it is written.
    fixture.act(ALICE, called("SHOP")).unwrap();
    fixture.act(CAROL, called("Shop 2")).unwrap();
}

#[test]
fn name_that_two_parties_had_before_the_rule_stays() {
    let mut fixture = Fixture::open();
    fixture.act(ALICE, called("Shop")).unwrap();
    let carol = Party {
        display_name: DisplayName::parse("Shop").unwrap(),
        ..fixture.rows.parties.row(party(CAROL)).unwrap().clone()
    };
    fixture.rows.parties.load(party(CAROL), carol);
    fixture.act(CAROL, called("Shop")).unwrap();
    assert_eq!(fixture.rows.names[&NameKey::of(&DisplayName::parse("Shop").unwrap())], party(ALICE));
    fixture.act(CAROL, called("Store")).unwrap();
    assert_eq!(fixture.act(CAROL, called("Shop")), Err(Refusal::DisplayNameTaken));
}

#[test]
fn name_with_an_invisible_character_stays_but_can_not_be_taken() {
    let mut fixture = Fixture::open();
    let name = "Shop \u{2764}\u{fe0f}";
    let refused = fixture.act(ALICE, called(name));
    assert!(matches!(refused, Err(Refusal::InvalidField { field: "display_name", .. })), "{refused:?}");
    let alice = fixture.rows.parties.row(party(ALICE)).unwrap().clone();
    let display_name = DisplayName::parse(name).unwrap();
    fixture.rows.parties.load(party(ALICE), Party { display_name, ..alice });
    fixture.act(ALICE, called(name)).unwrap();
}

#[test]
fn the_last_unit_can_be_bought_and_not_one_more() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 2);
    order_of(fixture.act(BOB, buy(lamp, 2)));
    assert_eq!(fixture.item(lamp).quantity, 0);
    assert_eq!(
        fixture.act(DAVE, buy(lamp, 1)),
        Err(Refusal::OutOfStock { item: lamp, requested: 1, available: 0 })
    );
}

#[test]
fn purchase_notifies_the_seller_and_keeps_a_snapshot() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let order = order_of(fixture.act(BOB, buy(lamp, 3)));
    assert_eq!(order.total_price.amount_minor(), 3_750);
    let notices = fixture.rows.events.last().unwrap();
    assert_eq!(notices.audience, Audience::Party(party(ALICE)));
    assert!(matches!(
        &notices.event.kind,
        EventKind::OrderPlaced { remaining_quantity: 2, item_version: 2, .. }
    ));
    let patch = ItemPatch { unit_price: Some(Money::price(9_900, "GBP").unwrap()), ..ItemPatch::default() };
    fixture.act(ALICE, Action::Update(action::Update { item: lamp, patch, expected_version: None })).unwrap();
    assert_eq!(fixture.rows.orders.row(order.id).unwrap().unit_price.amount_minor(), 1_250);
}

#[test]
fn purchase_is_refused_if_the_price_differs_from_the_expected_price() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 1);
    let expected = Money::price(1_000, "GBP").unwrap();
    let action = Action::Buy(action::Buy(OrderLine { expected_unit_price: Some(expected), ..line(lamp, 1) }));
    let actual = Money::price(1_250, "GBP").unwrap();
    assert_eq!(fixture.act(BOB, action), Err(Refusal::PriceChanged { expected, actual }));
}

#[test]
fn purchase_whose_total_overflows_is_refused() {
    let mut fixture = Fixture::open();
    let Outcome::Item(item) = fixture.act(ALICE, sell("Palace", Money::MAX_PRICE_MINOR, 1_000_000)).unwrap()
    else {
        panic!("not an item")
    };
    let refusal = fixture.act(BOB, buy(item.id, 1_000_000)).unwrap_err();
    assert!(matches!(refusal, Refusal::InvalidField { field: "quantity", .. }));
    assert_eq!(fixture.item(item.id).quantity, 1_000_000);
}

#[test]
fn another_sellers_item_is_refused_like_one_that_does_not_exist() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    assert_eq!(fixture.act(CAROL, restock(lamp, 1)), Err(Refusal::ItemNotFound(lamp)));
    let delete = Action::Delete(action::Delete { item: lamp, expected_version: None });
    assert_eq!(fixture.act(CAROL, delete), Err(Refusal::ItemNotFound(lamp)));
    assert_eq!(fixture.act(CAROL, restock(ItemId(77), 1)), Err(Refusal::ItemNotFound(ItemId(77))));
    assert_eq!(fixture.item(lamp).quantity, 5);
}

#[test]
fn stale_version_is_refused_and_a_delta_keeps_concurrent_purchases() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    fixture.act(BOB, buy(lamp, 2)).unwrap();
    let patch =
        ItemPatch { stock: Some(StockChange::To(Quantity::parse(5).unwrap())), ..ItemPatch::default() };
    let stale = Action::Update(action::Update { item: lamp, patch, expected_version: Some(1) });
    assert_eq!(fixture.act(ALICE, stale), Err(Refusal::VersionMismatch { expected: 1, actual: 2 }));
    fixture.act(ALICE, restock(lamp, 10)).unwrap();
    assert_eq!(fixture.item(lamp).quantity, 13);
    assert_eq!(
        fixture.act(ALICE, restock(lamp, -14)),
        Err(Refusal::StockOutOfRange { available: 13, delta: -14 })
    );
    assert_eq!(
        fixture.act(ALICE, restock(lamp, i64::MAX)),
        Err(Refusal::StockOutOfRange { available: 13, delta: i64::MAX })
    );
}

#[test]
fn update_that_changes_nothing_notifies_nobody() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let events = fixture.rows.events.len();
    let patch = ItemPatch { name: Some(ItemName::parse("Lamp").unwrap()), ..ItemPatch::default() };
    fixture.act(ALICE, Action::Update(action::Update { item: lamp, patch, expected_version: None })).unwrap();
    assert_eq!(fixture.rows.events.len(), events);
    assert_eq!(fixture.item(lamp).version, 1);
}

#[test]
fn deleted_item_keeps_its_orders_and_its_number_is_not_reused() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let order = order_of(fixture.act(BOB, buy(lamp, 2)));
    let deleted =
        fixture.act(ALICE, Action::Delete(action::Delete { item: lamp, expected_version: None })).unwrap();
    assert!(matches!(deleted, Outcome::Item(item) if item.quantity == 3));
    for action in [buy(lamp, 1), Action::Wish(action::Wish { item: lamp }), rate(lamp, 5)] {
        assert_eq!(fixture.act(BOB, action), Err(Refusal::ItemNotFound(lamp)));
    }
    assert!(fixture.lamp(ALICE, 1) > lamp);
    // The item is gone, so the units of a cancelled order can't be sold again: they count as withdrawn.
    order_of(fixture.act(BOB, Action::Cancel(action::Cancel { order: order.id })));
    assert_eq!((fixture.item(lamp).quantity, fixture.item(lamp).withdrawn), (0, 5));
}

#[test]
fn cancelled_order_returns_its_units_to_the_stock_once() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let order = order_of(fixture.act(BOB, buy(lamp, 2)));
    let cancel = Action::Cancel(action::Cancel { order: order.id });
    assert_eq!(fixture.act(DAVE, cancel.clone()), Err(Refusal::OrderNotFound(order.id)));
    order_of(fixture.act(BOB, cancel.clone()));
    assert_eq!(fixture.item(lamp).quantity, 5);
    assert_eq!(
        fixture.act(BOB, cancel),
        Err(Refusal::NotCancellable { order: order.id, status: OrderStatus::Cancelled })
    );
}

#[test]
fn order_of_several_items_is_all_or_nothing_and_lines_of_one_item_add_up() {
    let mut fixture = Fixture::open();
    let (lamp, chair) = (fixture.lamp(ALICE, 5), fixture.lamp(CAROL, 5));
    let refused =
        fixture.act(BOB, Action::Place(action::Place(vec![line(chair, 1), line(lamp, 3), line(lamp, 3)])));
    assert_eq!(refused, Err(Refusal::OutOfStock { item: lamp, requested: 6, available: 5 }));
    assert_eq!((fixture.item(lamp).quantity, fixture.item(chair).quantity), (5, 5));

    let placed =
        fixture.act(BOB, Action::Place(action::Place(vec![line(lamp, 3), line(chair, 1), line(lamp, 2)])));
    let Ok(Outcome::Orders(orders)) = placed else { panic!("{placed:?}") };
    let bought: Vec<_> = orders.iter().map(|order| (order.item, order.quantity, order.seller)).collect();
    assert_eq!(bought, [(lamp, 5, party(ALICE)), (chair, 1, party(CAROL))]);
    assert_ne!(orders[0].id, orders[1].id);
    assert_eq!((fixture.item(lamp).quantity, fixture.item(chair).quantity), (0, 4));

    let dear = Money::price(9_999, "GBP").unwrap();
    let at = |expected| OrderLine { expected_unit_price: expected, ..line(chair, 1) };
    let torn =
        fixture.act(BOB, Action::Place(action::Place(vec![at(Some(dear)), at(Money::price(1, "GBP").ok())])));
    assert!(matches!(torn, Err(Refusal::InvalidField { field: "lines", .. })), "{torn:?}");
    let many = Action::Place(action::Place(vec![line(chair, OrderQuantity::MAX), line(chair, 1)]));
    assert!(matches!(fixture.act(BOB, many), Err(Refusal::InvalidField { field: "lines", .. })));
}

#[test]
fn order_is_shipped_then_delivered_and_neither_can_be_cancelled() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let order = order_of(fixture.act(BOB, buy(lamp, 2))).id;
    let reason = CancelReason::parse("broken in the cellar").unwrap();
    let (ship, deliver) = (Action::Ship(action::Ship { order }), Action::Deliver(action::Deliver { order }));
    let (cancel, cancel_sale) =
        (Action::Cancel(action::Cancel { order }), Action::CancelSale(action::CancelSale { order, reason }));
    for foreign in [ship.clone(), deliver.clone(), cancel_sale.clone()] {
        for other in [BOB, CAROL] {
            assert_eq!(fixture.act(other, foreign.clone()), Err(Refusal::OrderNotFound(order)));
        }
    }
    let wrong = |status, needed| Err(Refusal::WrongStatus { order, status, needed });
    assert_eq!(fixture.act(ALICE, deliver.clone()), wrong(OrderStatus::Placed, OrderStatus::Shipped));
    let shipped = order_of(fixture.act(ALICE, ship.clone()));
    assert!(shipped.status == OrderStatus::Shipped && shipped.shipped_at.is_some());
    assert_eq!(fixture.act(ALICE, ship), wrong(OrderStatus::Shipped, OrderStatus::Placed));
    let too_late = Err(Refusal::NotCancellable { order, status: OrderStatus::Shipped });
    assert_eq!(fixture.act(BOB, cancel), too_late);
    assert_eq!(fixture.act(ALICE, cancel_sale), too_late);
    let delivered = order_of(fixture.act(ALICE, deliver));
    assert!(delivered.status == OrderStatus::Delivered && delivered.delivered_at.is_some());
    // A delivered order still counts as a purchase, so the item may be rated.
    fixture.act(BOB, rate(lamp, 5)).unwrap();
    let notices: Vec<_> =
        fixture.rows.events.iter().map(|new| (new.audience, new.event.kind.as_str())).collect();
    let bob = Audience::Party(party(BOB));
    assert_eq!(notices[notices.len() - 2..], [(bob, "order_shipped"), (bob, "order_delivered")]);
}

#[test]
fn seller_cancels_with_a_reason_and_the_buyer_is_notified() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let order = order_of(fixture.act(BOB, buy(lamp, 2))).id;
    let reason = CancelReason::parse("broken in the cellar").unwrap();
    let cancelled = order_of(
        fixture.act(ALICE, Action::CancelSale(action::CancelSale { order, reason: reason.clone() })),
    );
    assert_eq!((cancelled.cancelled_by, cancelled.cancel_reason), (Some(Role::Seller), Some(reason)));
    assert_eq!((fixture.item(lamp).quantity, fixture.item(lamp).sold), (5, 0));
    assert_eq!(fixture.rows.events.last().unwrap().audience, Audience::Party(party(BOB)));
    assert_eq!(fixture.act(BOB, rate(lamp, 5)), Err(Refusal::NotPurchased(lamp)));
}

/// A seller who restocked in the meantime must be able to remove the surplus.
#[test]
fn stock_above_its_limit_after_a_cancellation_can_be_reduced_but_not_raised() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, Quantity::MAX);
    let order = order_of(fixture.act(BOB, buy(lamp, 2)));
    fixture.act(ALICE, restock(lamp, 2)).unwrap();
    order_of(fixture.act(BOB, Action::Cancel(action::Cancel { order: order.id })));
    assert_eq!(fixture.item(lamp).quantity, Quantity::MAX + 2);
    let refused = Refusal::StockOutOfRange { available: Quantity::MAX + 2, delta: 1 };
    assert_eq!(fixture.act(ALICE, restock(lamp, 1)), Err(refused));
    fixture.act(ALICE, restock(lamp, -1)).unwrap();
    assert_eq!(fixture.item(lamp).quantity, Quantity::MAX + 1);
}

#[test]
fn wish_for_a_missing_item_is_refused_and_a_second_wish_changes_nothing() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    assert_eq!(
        fixture.act(BOB, Action::Wish(action::Wish { item: ItemId(77) })),
        Err(Refusal::ItemNotFound(ItemId(77)))
    );
    let first = fixture.act(BOB, Action::Wish(action::Wish { item: lamp })).unwrap();
    assert_eq!(fixture.act(BOB, Action::Wish(action::Wish { item: lamp })).unwrap(), first);
    assert_eq!(fixture.act(BOB, Action::Unwish(action::Unwish { item: lamp })), Ok(Outcome::Unwished));
    assert_eq!(
        fixture.act(BOB, Action::Unwish(action::Unwish { item: lamp })),
        Err(Refusal::WishNotFound(lamp))
    );
}

#[test]
fn replay_returns_the_first_outcome_and_other_parameters_are_refused() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let first = fixture.send(BOB, 1_000, 1, false, buy(lamp, 2));
    let again = fixture.send(BOB, 1_000, 1, false, buy(lamp, 2));
    assert_eq!(first, again);
    assert_eq!(fixture.item(lamp).quantity, 3);
    assert_eq!(fixture.send(BOB, 1_000, 2, false, buy(lamp, 1)), Err(Refusal::RequestIdReused));
    // Request ids are unique per caller: another party may use the same one.
    order_of(fixture.send(DAVE, 1_000, 2, false, buy(lamp, 1)));
}

#[test]
fn validate_only_checks_and_changes_nothing() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let before = trace(&fixture.rows);
    let order = order_of(fixture.validate(BOB, buy(lamp, 2)));
    assert_eq!(order.id, OrderId(0));
    assert!(matches!(fixture.validate(BOB, buy(lamp, 6)), Err(Refusal::OutOfStock { .. })));
    assert_eq!(trace(&fixture.rows), before);
}

#[test]
fn suspended_party_can_change_nothing_and_is_reinstated_with_everything_but_its_tokens() {
    const OLGA: u128 = 100;
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let order = order_of(fixture.act(BOB, buy(lamp, 1)));
    let reason = SuspensionReason::parse("sells what is not hers").unwrap();
    let suspend = Action::Suspend(action::Suspend { party: party(ALICE), reason });
    let Outcome::Party(suspended) = fixture.act(OLGA, suspend.clone()).unwrap() else { panic!("a party") };
    assert_eq!((suspended.epoch, suspended.open_callback()), (1, None));

    let before = trace(&fixture.rows);
    let registering = Action::Register(action::Register {
        role: Role::Seller,
        display_name: DisplayName::parse("Somebody else").unwrap(),
        callback: None,
    });
    for action in [
        sell("Lamp", 1, 1),
        restock(lamp, 1),
        Action::Delete(action::Delete { item: lamp, expected_version: None }),
        registering,
    ] {
        assert_eq!(fixture.act(ALICE, action), Err(Refusal::Suspended));
    }
    assert_eq!(fixture.act(BOB, buy(lamp, 1)), Err(Refusal::ItemNotFound(lamp)));
    assert_eq!(fixture.act(BOB, Action::Wish(action::Wish { item: lamp })), Err(Refusal::ItemNotFound(lamp)));
    assert_eq!(trace(&fixture.rows), before);
    // A purchase from before the suspension can still be cancelled by its buyer.
    fixture.act(BOB, Action::Cancel(action::Cancel { order: order.id })).unwrap();

    fixture.act(OLGA, suspend).unwrap();
    let Outcome::Party(back) =
        fixture.act(OLGA, Action::Reinstate(action::Reinstate { party: party(ALICE) })).unwrap()
    else {
        panic!("a party")
    };
    assert_eq!((back.epoch, back.suspension), (2, None), "the tokens from before stay void");
    fixture.act(BOB, buy(lamp, 5)).unwrap();
    let nobody = party(999);
    assert_eq!(
        fixture.act(OLGA, Action::Reinstate(action::Reinstate { party: nobody })),
        Err(Refusal::PartyNotFound(nobody))
    );
}

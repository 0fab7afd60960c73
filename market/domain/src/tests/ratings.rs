//! Ratings, and when they end.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn stars(number: i32) -> Stars {
    Stars::parse(number).unwrap()
}

fn replace(item: ItemId, number: i32) -> Action {
    Action::Rate(action::Rate { item, stars: stars(number), update_existing: true })
}

fn cancel(order: OrderId) -> Action {
    Action::Cancel(action::Cancel { order })
}

fn cancel_sale(order: OrderId) -> Action {
    let reason = CancelReason::parse("out of stock after all").unwrap();
    Action::CancelSale(action::CancelSale { order, reason })
}

impl Fixture {
    fn bought(&mut self, buyer: u128, item: ItemId) -> OrderId {
        order_of(self.act(buyer, buy(item, 1))).id
    }

    fn rating(&self, item: ItemId) -> (i64, i64) {
        let RatingSummary { count, total_stars } = self.item(item).rating;
        (count, total_stars)
    }
}

#[test]
fn rating_needs_a_purchase_that_was_not_cancelled_and_happens_once() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    assert_eq!(fixture.act(BOB, rate(lamp, 5)), Err(Refusal::NotPurchased(lamp)));
    assert_eq!(fixture.act(BOB, rate(ItemId(77), 5)), Err(Refusal::ItemNotFound(ItemId(77))));
    let order = fixture.bought(BOB, lamp);
    fixture.act(BOB, rate(lamp, 5)).unwrap();
    let again = fixture.act(BOB, rate(lamp, 1));
    assert_eq!(again, Err(Refusal::AlreadyRated { item: lamp, stars: stars(5) }));
    fixture.act(BOB, replace(lamp, 2)).unwrap();
    assert_eq!(fixture.item(lamp).rating, RatingSummary { count: 1, total_stars: 2 });
    order_of(fixture.act(BOB, cancel(order)));
    assert_eq!(fixture.act(BOB, rate(lamp, 5)), Err(Refusal::NotPurchased(lamp)));
}

#[test]
fn rating_goes_with_the_last_purchase_that_the_buyer_cancels() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 9);
    let (first, second) = (fixture.bought(BOB, lamp), fixture.bought(BOB, lamp));
    fixture.bought(DAVE, lamp);
    fixture.act(BOB, rate(lamp, 1)).unwrap();
    fixture.act(DAVE, rate(lamp, 4)).unwrap();
    fixture.act(BOB, cancel(first)).unwrap();
    assert_eq!(fixture.rating(lamp), (2, 5), "the other order still allows it");
    let version = fixture.item(lamp).version;
    fixture.validate(BOB, cancel(second)).unwrap();
    assert_eq!(fixture.rating(lamp), (2, 5));
    let changes = fixture.rows.searchable_changes;
    fixture.act(BOB, cancel(second)).unwrap();
    assert_eq!(fixture.rating(lamp), (1, 4));
    assert_eq!(fixture.item(lamp).version, version + 1, "one change");
    assert_eq!(fixture.rows.searchable_changes, changes + 1, "searches show the mean");
    assert_eq!(fixture.rows.ratings.row((party(BOB), lamp)), None);
    let entry = &fixture.rows.audit.last().unwrap().what;
    assert!(entry.ends_with("of item 1; rating withdrawn: 1 of 5 stars"), "{entry}");
    // After a new purchase, a rating counts as the first one.
    let third = fixture.bought(BOB, lamp);
    assert_eq!(fixture.rating(lamp), (1, 4));
    fixture.act(BOB, rate(lamp, 2)).unwrap();
    assert_eq!(fixture.rating(lamp), (2, 6));
    fixture.act(ALICE, Action::Ship(action::Ship { order: third })).unwrap();
    assert!(fixture.act(BOB, cancel(third)).is_err());
    assert_eq!(fixture.rating(lamp), (2, 6));
}

#[test]
fn item_without_ratings_left_is_unrated() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 9);
    let order = fixture.bought(BOB, lamp);
    fixture.act(BOB, rate(lamp, 1)).unwrap();
    fixture.act(BOB, replace(lamp, 5)).unwrap();
    fixture.act(BOB, cancel(order)).unwrap();
    assert_eq!(fixture.item(lamp).rating.mean(), None);
}

/// Otherwise, sellers could remove bad ratings by cancelling orders.
#[test]
fn rating_outlives_a_cancellation_by_the_seller() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 9);
    let order = fixture.bought(BOB, lamp);
    fixture.act(BOB, rate(lamp, 1)).unwrap();
    fixture.act(ALICE, cancel_sale(order)).unwrap();
    assert_eq!(fixture.rating(lamp), (1, 1));
    let entry = &fixture.rows.audit.last().unwrap().what;
    assert!(entry.ends_with("of item 1"), "{entry}");
    // As ever, a buyer without a purchase can't rate, and so can't change its rating either.
    assert_eq!(fixture.act(BOB, replace(lamp, 5)), Err(Refusal::NotPurchased(lamp)));
    assert!(fixture.act(BOB, cancel(order)).is_err(), "it is cancelled already");
    assert_eq!(fixture.rating(lamp), (1, 1));
    // But a new purchase allows it to, and the rating goes with that one if the buyer cancels it.
    let again = fixture.bought(BOB, lamp);
    fixture.act(BOB, replace(lamp, 2)).unwrap();
    assert_eq!(fixture.rating(lamp), (1, 2));
    fixture.act(BOB, cancel(again)).unwrap();
    assert_eq!(fixture.rating(lamp), (0, 0));
}

#[test]
fn rating_stays_with_a_purchase_of_the_same_item_only() {
    let mut fixture = Fixture::open();
    let (lamp, vase) = (fixture.lamp(ALICE, 9), fixture.lamp(ALICE, 9));
    let lines = Action::Place(action::Place(vec![line(lamp, 1), line(vase, 2), line(lamp, 1)]));
    let Outcome::Orders(placed) = fixture.act(BOB, lines).unwrap() else { panic!("orders") };
    assert_eq!(placed.len(), 2, "lines of one item are one order");
    fixture.act(BOB, rate(lamp, 3)).unwrap();
    fixture.act(BOB, rate(vase, 4)).unwrap();
    fixture.act(BOB, cancel(placed[0].id)).unwrap();
    assert_eq!((fixture.rating(lamp), fixture.rating(vase)), ((0, 0), (1, 4)));
}

#[test]
fn retried_cancellation_leaves_the_rating_of_a_later_purchase() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 9);
    let order = fixture.bought(BOB, lamp);
    fixture.act(BOB, rate(lamp, 1)).unwrap();
    let first = fixture.send(BOB, 1_000, 7, false, cancel(order));
    fixture.bought(BOB, lamp);
    fixture.act(BOB, rate(lamp, 5)).unwrap();
    let before = trace(&fixture.rows);
    assert_eq!(fixture.send(BOB, 1_000, 7, false, cancel(order)), first);
    assert_eq!(trace(&fixture.rows), before);
    assert_eq!(fixture.rating(lamp), (1, 5));
}

/// An item that was taken off the market keeps its orders, so they can be cancelled.
#[test]
fn rating_of_a_deleted_item_goes_as_well() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 9);
    let order = fixture.bought(BOB, lamp);
    fixture.act(BOB, rate(lamp, 1)).unwrap();
    fixture.act(ALICE, Action::Delete(action::Delete { item: lamp, expected_version: None })).unwrap();
    fixture.act(BOB, cancel(order)).unwrap();
    assert_eq!(fixture.rating(lamp), (0, 0));
    assert!(fixture.item(lamp).is_balanced());
}

fn any_action() -> impl Strategy<Value = Action> {
    let item = (1..3_i64).prop_map(ItemId);
    let order = (1..30_i64).prop_map(OrderId);
    prop_oneof![
        4 => item.clone().prop_map(|item| buy(item, 1)),
        1 => item.clone().prop_map(|item| Action::Place(action::Place(vec![line(item, 2)]))),
        6 => order.clone().prop_map(cancel),
        2 => order.clone().prop_map(cancel_sale),
        1 => order.clone().prop_map(|order| Action::Ship(action::Ship { order })),
        1 => order.prop_map(|order| Action::Deliver(action::Deliver { order })),
        5 => (item, 1..=5, any::<bool>()).prop_map(|(item, number, update_existing)| {
            Action::Rate(action::Rate { item, stars: stars(number), update_existing })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Each rating is there because of a purchase, or because its seller cancelled the last one; and the summaries are
    /// those of the ratings that are left.
    #[test]
    fn ratings_last_as_long_as_their_purchases(
        steps in prop::collection::vec((prop_oneof![Just(ALICE), Just(BOB), Just(DAVE)], any_action()), 1..80),
    ) {
        let mut fixture = Fixture::open();
        let items = [fixture.lamp(ALICE, 500), fixture.lamp(ALICE, 500)];
        let mut ratings = BTreeMap::new();
        for (caller, action) in steps {
            let outcome = fixture.act(caller, action.clone());
            let Ok(outcome) = outcome else { continue };
            match (&action, outcome) {
                (Action::Rate(rate), _) => {
                    prop_assert!(fixture.purchases(party(caller), rate.item) > 0);
                    ratings.insert((party(caller), rate.item), rate.stars);
                }
                (Action::Cancel(_), Outcome::Order(order))
                    if fixture.purchases(order.buyer, order.item) == 0 =>
                {
                    ratings.remove(&(order.buyer, order.item));
                }
                _ => {}
            }
            for item in items {
                let given: Vec<_> = ratings.iter().filter(|((_, of), _)| *of == item).collect();
                let total: i64 = given.iter().map(|(_, stars)| i64::from(stars.get())).sum();
                prop_assert_eq!(fixture.rating(item), (given.len() as i64, total));
            }
        }
        let left: Vec<_> = fixture.rows.ratings.keys().collect();
        prop_assert_eq!(left, ratings.keys().copied().collect::<Vec<_>>());
    }
}

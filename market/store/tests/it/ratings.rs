//! Ratings last as long as the purchases that allow them, on every back end.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use souk_domain::{
    Action, CancelReason, Command, ItemId, OrderId, Outcome, RatingSummary, Refusal, Stars, action,
};
use souk_store::Receipt;

use super::{ALICE, BOB, DAVE, Shop, buy, line, on_every_back_end, rate};

on_every_back_end!(
    ratings_last_as_long_as_their_purchases,
    withdrawn_rating_changes_the_mean_the_feed_and_the_audit_log,
    sellers_cancellation_leaves_the_rating,
    cancellation_in_the_batch_of_its_purchase_takes_the_rating_back,
    several_cancellations_in_a_batch_take_the_rating_back_once,
    retried_cancellation_leaves_a_later_rating,
    archived_purchase_keeps_the_rating_of_a_deleted_item,
);

/// The number of random series of commands on each back end, and of commands in each.
const SERIES: usize = 24;
const COMMANDS: usize = 60;
/// Random commands name orders by their place in the series.
const ORDERS: i64 = 24;

fn cancel(order: OrderId) -> Action {
    Action::Cancel(action::Cancel { order })
}

fn cancel_sale(order: OrderId) -> Action {
    let reason = CancelReason::parse("out of stock after all").unwrap();
    Action::CancelSale(action::CancelSale { order, reason })
}

impl Shop {
    async fn rating(&self, item: ItemId) -> (i64, i64) {
        let RatingSummary { count, total_stars } = self.store.reads.item(item).await.unwrap().unwrap().rating;
        (count, total_stars)
    }

    /// Carries out one command, which must be accepted.
    async fn accepted(&mut self, caller: u128, action: Action) -> Receipt {
        let command = self.command(caller, action);
        let (outcomes, receipt) = self.batch(&[command]).await;
        outcomes[0].as_ref().unwrap();
        receipt.unwrap()
    }
}

async fn withdrawn_rating_changes_the_mean_the_feed_and_the_audit_log(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 9).await;
    let (first, second) = (shop.bought(BOB, lamp, 1).await, shop.bought(BOB, lamp, 1).await);
    shop.bought(DAVE, lamp, 1).await;
    shop.accepted(BOB, rate(lamp, 1)).await;
    shop.accepted(DAVE, rate(lamp, 4)).await;
    let end = shop.store.reads.feed_end().await.unwrap();
    assert_eq!(
        shop.accepted(BOB, cancel(first)).await.feed_position,
        None,
        "the other order still allows it"
    );
    assert_eq!(shop.rating(lamp).await, (2, 5));

    let moved = shop.accepted(BOB, cancel(second)).await.feed_position;
    assert!(moved > Some(end), "{moved:?} after {end:?}");
    let feed = shop.feed(end, 1).await;
    assert_eq!(feed.len(), 1);
    let RatingSummary { count, total_stars } = feed[0].item.rating;
    assert_eq!((feed[0].item.id, count, total_stars), (lamp, 1, 4));
    let line = shop.store.reads.audit(0, 1_000).await.unwrap().pop().unwrap().line;
    assert!(line.contains("rating withdrawn: 1 of 5 stars"), "{line}");
    // The row is gone: a new rating counts as a first one.
    shop.bought(BOB, lamp, 1).await;
    let again =
        Action::Rate(action::Rate { item: lamp, stars: Stars::parse(2).unwrap(), update_existing: false });
    shop.accepted(BOB, again).await;
    assert_eq!(shop.rating(lamp).await, (2, 6));
    shop.holds().await;
}

async fn sellers_cancellation_leaves_the_rating(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 9).await;
    let order = shop.bought(BOB, lamp, 1).await;
    shop.accepted(BOB, rate(lamp, 1)).await;
    shop.accepted(ALICE, cancel_sale(order)).await;
    assert_eq!(shop.rating(lamp).await, (1, 1));
    assert_eq!(shop.act(BOB, rate(lamp, 5)).await, Err(Refusal::NotPurchased(lamp)));
    shop.holds().await;
}

/// A buyer can guess the number of an order before it has the answer. In a batch with the purchase, the cancellation must
/// find the rating that an earlier purchase has left.
async fn cancellation_in_the_batch_of_its_purchase_takes_the_rating_back(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 9).await;
    let order = shop.bought(BOB, lamp, 1).await;
    shop.accepted(BOB, rate(lamp, 1)).await;
    shop.accepted(ALICE, cancel_sale(order)).await;
    let guess = OrderId(order.0 + 1);
    let commands = [shop.command(BOB, buy(lamp, 1)), shop.command(BOB, cancel(guess))];
    let (outcomes, _) = shop.batch(&commands).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(shop.rating(lamp).await, (0, 0));
    shop.holds().await;
}

async fn several_cancellations_in_a_batch_take_the_rating_back_once(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 99).await;
    let mut orders = Vec::new();
    for _ in 0..5 {
        orders.push(shop.bought(BOB, lamp, 1).await);
    }
    shop.accepted(BOB, rate(lamp, 3)).await;
    let commands: Vec<_> = orders[1..].iter().map(|order| shop.command(BOB, cancel(*order))).collect();
    let (outcomes, _) = shop.batch(&commands).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(shop.rating(lamp).await, (1, 3), "an order is left");
    let again = shop.bought(BOB, lamp, 1).await;
    // One is the seller's, and the last one decides.
    let commands = [shop.command(ALICE, cancel_sale(orders[0])), shop.command(BOB, cancel(again))];
    shop.batch(&commands).await;
    assert_eq!(shop.rating(lamp).await, (0, 0));
    shop.holds().await;
}

async fn retried_cancellation_leaves_a_later_rating(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 9).await;
    let order = shop.bought(BOB, lamp, 1).await;
    shop.accepted(BOB, rate(lamp, 1)).await;
    let command = shop.command(BOB, cancel(order));
    let (first, _) = shop.batch(std::slice::from_ref(&command)).await;
    shop.bought(BOB, lamp, 1).await;
    shop.accepted(BOB, rate(lamp, 5)).await;
    assert_eq!(shop.batch(&[command]).await, (first, None));
    assert_eq!(shop.rating(lamp).await, (1, 5));
}

/// Of the purchases of a deleted item, the archive keeps those that allow a rating which there is.
async fn archived_purchase_keeps_the_rating_of_a_deleted_item(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 9).await;
    let received = shop.delivered(BOB, lamp, 1).await;
    shop.accepted(BOB, rate(lamp, 2)).await;
    let open = shop.bought(BOB, lamp, 1).await;
    let delete = Action::Delete(action::Delete { item: lamp, expected_version: None });
    shop.accepted(ALICE, delete).await;
    shop.deliver_all().await;
    shop.forget().await;
    assert_eq!(shop.prune(&[received]).await, 1);
    shop.accepted(BOB, cancel(open)).await;
    assert_eq!(shop.rating(lamp).await, (1, 2), "what was received stays rated");
    shop.holds().await;
}

/// The item is locked, so the cancellation that comes second sees the first.
#[tokio::test]
async fn last_of_two_cancellations_at_two_markets_takes_the_rating_back() {
    if !souk_testkit::postgres::is_there() {
        return;
    }
    let mut shop = Shop::postgres().await;
    let mut beside = shop.beside(1 << 64).await;
    let lamp = shop.lamp(ALICE, 9).await;
    for _ in 0..5 {
        let (first, second) = (shop.bought(BOB, lamp, 1).await, shop.bought(BOB, lamp, 1).await);
        shop.accepted(BOB, rate(lamp, 2)).await;
        assert_eq!(shop.rating(lamp).await, (1, 2));
        tokio::join!(shop.accepted(BOB, cancel(first)), beside.accepted(BOB, cancel(second)));
        assert_eq!(shop.rating(lamp).await, (0, 0));
    }
    shop.holds().await;
}

/// What has to be the case, according to the answers so far.
#[derive(Default)]
struct Expected {
    /// The buyer and item of each order that was not cancelled.
    standing: BTreeMap<OrderId, (u128, ItemId)>,
    ratings: BTreeMap<(u128, ItemId), i64>,
}

impl Expected {
    fn has_bought(&self, buyer: u128, item: ItemId) -> bool {
        self.standing.values().any(|of| *of == (buyer, item))
    }

    fn summary(&self, item: ItemId) -> (i64, i64) {
        let given: Vec<_> = self.ratings.iter().filter(|((_, of), _)| *of == item).collect();
        (given.len() as i64, given.iter().map(|(_, stars)| **stars).sum())
    }

    /// Takes over the answer to a command.
    fn follow(&mut self, caller: u128, action: &Action, outcome: &Result<Outcome, Refusal>) {
        match (action, outcome) {
            (Action::Buy(_), Ok(Outcome::Order(order))) => {
                self.standing.insert(order.id, (caller, order.item));
            }
            (Action::Place(_), Ok(Outcome::Orders(orders))) => {
                self.standing.extend(orders.iter().map(|order| (order.id, (caller, order.item))));
            }
            (Action::Cancel(_), Ok(Outcome::Order(order))) => {
                self.standing.remove(&order.id);
                if !self.has_bought(caller, order.item) {
                    self.ratings.remove(&(caller, order.item));
                }
            }
            (Action::CancelSale(_), Ok(Outcome::Order(order))) => {
                self.standing.remove(&order.id);
            }
            (Action::Rate(of), Ok(Outcome::Rated(summary))) => {
                assert!(self.has_bought(caller, of.item), "rated without a purchase");
                self.ratings.insert((caller, of.item), of.stars.get().into());
                assert_eq!((summary.count, summary.total_stars), self.summary(of.item));
            }
            (Action::Rate(of), Err(Refusal::NotPurchased(_))) => {
                assert!(!self.has_bought(caller, of.item), "refused despite a purchase");
            }
            _ => {}
        }
    }
}

/// A command of a random series, with its caller. Items and orders are numbered from 0 within the series.
#[derive(Clone, Debug)]
enum Step {
    Buy(u128, usize),
    Place(u128),
    Cancel(u128, i64),
    CancelSale(i64),
    ShipAndDeliver(i64),
    Rate(u128, usize, i32),
    Delete,
    /// Archives what is finished.
    Prune,
}

fn any_step() -> impl Strategy<Value = Step> {
    let buyer = prop_oneof![3 => Just(BOB), 1 => Just(DAVE)];
    let (item, order) = (0..2_usize, 0..ORDERS);
    prop_oneof![
        8 => (buyer.clone(), item.clone()).prop_map(|(buyer, item)| Step::Buy(buyer, item)),
        1 => buyer.clone().prop_map(Step::Place),
        12 => (buyer.clone(), order.clone()).prop_map(|(buyer, order)| Step::Cancel(buyer, order)),
        4 => order.clone().prop_map(Step::CancelSale),
        2 => order.prop_map(Step::ShipAndDeliver),
        8 => (buyer, item, 1..=5).prop_map(|(buyer, item, stars)| Step::Rate(buyer, item, stars)),
        1 => Just(Step::Delete),
        1 => Just(Step::Prune),
    ]
}

impl Step {
    /// Returns the commands, with their callers.
    fn commands(&self, items: [ItemId; 2], first_order: i64) -> Vec<(u128, Action)> {
        let order = |number: &i64| OrderId(first_order + number);
        match self {
            Self::Buy(buyer, item) => vec![(*buyer, buy(items[*item], 1))],
            Self::Place(buyer) => {
                let lines = items.into_iter().map(|item| line(item, 1)).collect();
                vec![(*buyer, Action::Place(action::Place(lines)))]
            }
            Self::Cancel(buyer, number) => vec![(*buyer, cancel(order(number)))],
            Self::CancelSale(number) => vec![(ALICE, cancel_sale(order(number)))],
            Self::ShipAndDeliver(number) => {
                let order = order(number);
                let ship = Action::Ship(action::Ship { order });
                vec![(ALICE, ship), (ALICE, Action::Deliver(action::Deliver { order }))]
            }
            Self::Rate(buyer, item, stars) => vec![(*buyer, rate(items[*item], *stars))],
            Self::Delete => {
                vec![(ALICE, Action::Delete(action::Delete { item: items[1], expected_version: None }))]
            }
            Self::Prune => vec![],
        }
    }
}

async fn ratings_last_as_long_as_their_purchases(mut shop: Shop) {
    let mut runner = TestRunner::new(Config::default());
    let series = (prop::collection::vec(any_step(), 1..COMMANDS), 1..7_usize);
    for _ in 0..SERIES {
        // The series share the store, with items of their own, so that none has to wait for another database.
        let (steps, size) = series.new_tree(&mut runner).unwrap().current();
        run(&mut shop, &steps, size).await;
    }
    shop.holds().await;
}

async fn run(shop: &mut Shop, steps: &[Step], size: usize) {
    let items = [shop.lamp(ALICE, 500).await, shop.lamp(ALICE, 500).await];
    // Of another item. The numbers of the series follow on this one.
    let other = shop.lamp(ALICE, 1).await;
    let first_order = shop.bought(DAVE, other, 1).await.0 + 1;
    let mut expected = Expected::default();
    for batch in steps.chunks(size) {
        if batch.iter().any(|step| matches!(step, Step::Prune)) {
            shop.deliver_all().await;
            shop.forget().await;
            let due = shop.due_ids().await;
            shop.prune(&due).await;
        }
        let asked: Vec<_> = batch.iter().flat_map(|step| step.commands(items, first_order)).collect();
        let commands: Vec<Command> =
            asked.iter().map(|(caller, action)| shop.command(*caller, action.clone())).collect();
        let before = items.map(|item| expected.summary(item));
        let (outcomes, receipt) = shop.batch(&commands).await;
        for ((caller, action), outcome) in asked.iter().zip(&outcomes) {
            expected.follow(*caller, action, outcome);
        }
        let mut has_changed = false;
        for (item, before) in items.into_iter().zip(before) {
            let now = expected.summary(item);
            assert_eq!(shop.rating(item).await, now, "{batch:?} of {steps:#?} by {size}");
            has_changed |= now != before;
        }
        let position = receipt.and_then(|receipt| receipt.feed_position);
        assert!(!has_changed || position.is_some(), "{batch:?}: searches do not learn of the new mean");
    }
}

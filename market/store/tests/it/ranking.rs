//! The sweep over rank classes, on every back end: what it finds, and who runs it.

use std::{collections::BTreeMap, time::Duration};

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use souk_domain::{
    Action, ImportRow, Item, ItemId, ItemListing, Order, OrderId, Outcome, RankClass, RatingSummary, Refusal,
    SalesLevel, Sku, Timestamp, action,
};
use souk_store::{FeedPosition, SWEEP_STEP, SweepLook, SweepMark, SweepPlace, SweepProgress, SweepRequest};

use super::{ALICE, BOB, CAROL, DAVE, HOUR, Shop, buy, listing, on_every_back_end, rate};

on_every_back_end!(
    sales_of_ninety_whole_days_count,
    every_item_on_sale_is_swept,
    classes_follow_from_all_orders_and_ratings,
    changed_class_moves_the_feed_and_repeating_the_sweep_does_not,
    one_market_at_a_time_sweeps_and_a_day_once,
    interrupted_sweep_continues_where_it_was,
);

const DAY: Duration = Duration::from_secs(24 * 3_600);
const LEASE: Duration = Duration::from_secs(30);
/// The day of most sweeps here, as the number of days since 1970-01-01.
const TODAY: i64 = 1_000;
/// The number of random series of commands on each back end, and of commands in each.
const SERIES: usize = 4;
const COMMANDS: usize = 60;
/// The market's own commands have no party.
const MARKET: u128 = 0;

fn rank(levels: &[(ItemId, SalesLevel)]) -> Action {
    Action::Rank(action::Rank(levels.to_vec()))
}

impl Shop {
    fn set_day(&mut self, day: i64) {
        self.wall_ahead = DAY * u32::try_from(day).unwrap();
    }

    /// Buys on a day.
    async fn bought_on(&mut self, day: i64, buyer: u128, item: ItemId, units: i64) -> OrderId {
        self.set_day(day);
        self.bought(buyer, item, units).await
    }

    async fn item(&self, id: ItemId) -> Item {
        self.store.reads.item(id).await.unwrap().unwrap()
    }

    async fn class(&self, id: ItemId) -> u8 {
        self.item(id).await.rank_class.get()
    }

    /// Sweeps all items as on a day, and returns those whose class was found to be another, and the number of steps.
    async fn sweep(&mut self, day: i64) -> (Vec<ItemId>, usize) {
        let (mut found, mut steps, mut next) = (Vec::new(), 0, Some(SweepPlace::START));
        while let Some(place) = next {
            let step = self.store.ranking.sweep(day, place).await.unwrap();
            for changed in step.changed.chunks(action::Rank::MAX_AT_ONCE) {
                let count = i64::try_from(changed.len()).unwrap();
                assert_eq!(self.act(MARKET, rank(changed)).await, Ok(Outcome::Ranked(count)));
            }
            found.extend(step.changed.iter().map(|(item, _)| *item));
            (steps, next) = (steps + 1, step.next);
        }
        (found, steps)
    }

    async fn claim_sweep(&self, day: i64, now: Timestamp) -> SweepLook {
        self.store.ranking.claim_sweep(SweepRequest { day, now, lease: LEASE }).await.unwrap()
    }
}

async fn sales_of_ninety_whole_days_count(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 1_000).await;
    let level = |units| SalesLevel::of(units);
    for (day, units) in [(TODAY - 91, 1), (TODAY - 90, 2), (TODAY - 1, 4), (TODAY, 8)] {
        shop.bought_on(day, BOB, lamp, units).await;
    }
    let cancelled = shop.bought_on(TODAY - 2, DAVE, lamp, 100).await;
    shop.act(DAVE, Action::Cancel(action::Cancel { order: cancelled })).await.unwrap();
    assert_eq!(shop.class(lamp).await, RankClass::default().get(), "purchases leave it");
    shop.sweep(TODAY).await;
    assert_eq!(shop.item(lamp).await.sales_level, level(2 + 4), "neither the 91st day before nor today");
    assert_eq!(shop.class(lamp).await, RankClass::of(RatingSummary::default(), level(6)).get());
    shop.sweep(TODAY + 1).await;
    assert_eq!(shop.item(lamp).await.sales_level, level(4 + 8));
    shop.act(BOB, rate(lamp, 5)).await.unwrap();
    let rating = RatingSummary { count: 1, total_stars: 5 };
    assert_eq!(shop.class(lamp).await, RankClass::of(rating, level(12)).get(), "a rating changes it at once");
    shop.sweep(TODAY + 100).await;
    assert_eq!(shop.class(lamp).await, RankClass::of(rating, level(0)).get());
    shop.holds().await;
}

/// More items than a step reads, of several sellers, some of them deleted.
async fn every_item_on_sale_is_swept(mut shop: Shop) {
    let number = 2 * SWEEP_STEP + 10;
    for seller in [ALICE, CAROL] {
        let rows: Vec<ImportRow> = (0..number / 2)
            .map(|number| {
                let sku = Some(Sku::parse(&format!("{seller}-{number}")).unwrap());
                ImportRow::of(1, ItemListing { sku, ..listing("Thing", 50) })
            })
            .collect();
        for rows in rows.chunks(ImportRow::MAX_AT_ONCE) {
            shop.act(seller, Action::Import(action::Import(rows.to_vec()))).await.unwrap();
        }
    }
    let items: Vec<ItemId> = (1..=i64::try_from(number).unwrap()).map(ItemId).collect();
    // The first and the last of each step, and some in between.
    for item in items.iter().step_by(17).chain(items.last()) {
        shop.bought_on(TODAY - 3, BOB, *item, 9).await;
    }
    let gone = items[34];
    let item = shop.item(gone).await;
    let delete = Action::Delete(action::Delete { item: gone, expected_version: None });
    let seller = if item.seller == super::party(ALICE) { ALICE } else { CAROL };
    shop.act(seller, delete).await.unwrap();
    let (mut found, steps) = shop.sweep(TODAY).await;
    found.sort_unstable();
    let mut expected: Vec<ItemId> = items.iter().step_by(17).chain(items.last()).copied().collect();
    expected.retain(|item| *item != gone);
    expected.dedup();
    assert_eq!((found, steps), (expected, 3));
    assert_eq!(shop.sweep(TODAY).await, (Vec::new(), 3));
}

/// Compares each class with that of a plain loop over all orders and ratings.
async fn classes_follow_from_all_orders_and_ratings(mut shop: Shop) {
    let mut runner = TestRunner::deterministic();
    let command = (0..5_usize, prop::bool::ANY, TODAY - 100..TODAY + 5, 0..10_u8, 1..200_i64);
    let series = prop::collection::vec(command, COMMANDS);
    for number in 0..SERIES {
        let mut items = Vec::new();
        for seller in [ALICE, CAROL, ALICE, CAROL, ALICE] {
            items.push(shop.lamp(seller, 100_000).await);
        }
        let mut orders: BTreeMap<OrderId, Order> = BTreeMap::new();
        for (item, is_bob, day, what, number) in series.new_tree(&mut runner).unwrap().current() {
            let (item, buyer) = (items[item], if is_bob { BOB } else { DAVE });
            shop.set_day(day);
            let outcome = match what {
                0..6 => shop.act(buyer, buy(item, number)).await,
                6..8 => shop.act(buyer, rate(item, i32::try_from(number % 5).unwrap() + 1)).await,
                _ => {
                    let order = orders.keys().nth(number as usize / 20).copied().unwrap_or(OrderId(1));
                    shop.act(buyer, Action::Cancel(action::Cancel { order })).await
                }
            };
            match outcome {
                Ok(Outcome::Order(order)) => drop(orders.insert(order.id, order)),
                Ok(_)
                | Err(
                    Refusal::NotPurchased(_) | Refusal::OrderNotFound(_) | Refusal::NotCancellable { .. },
                ) => {}
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
        for day in [TODAY, TODAY + 3] {
            shop.sweep(day).await;
            for id in &items {
                let days = SalesLevel::days_before(day);
                let counts = |order: &&Order| {
                    order.item == *id
                        && order.status.stands()
                        && days.contains(&souk_domain::day_of(order.placed_at))
                };
                let units = orders.values().filter(counts).map(|order| order.quantity).sum();
                let item = shop.item(*id).await;
                let expected = RankClass::of(item.rating, SalesLevel::of(units));
                assert_eq!(
                    item.rank_class, expected,
                    "series {number}: {units} units before day {day} of {item:?}"
                );
            }
        }
    }
    shop.holds().await;
}

async fn changed_class_moves_the_feed_and_repeating_the_sweep_does_not(mut shop: Shop) {
    let (lamp, chair) = (shop.lamp(ALICE, 1_000).await, shop.lamp(ALICE, 1_000).await);
    let end = shop.store.reads.feed_end().await.unwrap();
    shop.bought_on(TODAY - 1, BOB, lamp, 3).await;
    assert_eq!(shop.store.reads.feed_end().await.unwrap(), end, "a purchase is as cheap as before");
    let levels = [(lamp, SalesLevel::of(3)), (chair, SalesLevel::of(0))];
    let version = shop.item(lamp).await.version;
    let command = shop.command(MARKET, rank(&levels));
    let (outcomes, receipt) = shop.batch(&[command]).await;
    assert_eq!(outcomes, [Ok(Outcome::Ranked(1))]);
    let receipt = receipt.unwrap();
    assert!(receipt.feed_position > Some(end) && receipt.stock_moves.is_empty(), "{receipt:?}");
    let feed = shop.store.reads.item_feed(end, 10).await.unwrap();
    let moved: Vec<_> =
        feed.iter().map(|entry| (entry.item.id, entry.item.rank_class, entry.item.version)).collect();
    let class = RankClass::of(RatingSummary::default(), SalesLevel::of(3));
    assert_eq!(moved, [(lamp, class, version)], "only the one that has changed, and not as a new version");

    let end = shop.store.reads.feed_end().await.unwrap();
    let audited = shop.store.reads.audit_head().await.unwrap();
    let again = shop.command(MARKET, rank(&levels));
    let (outcomes, receipt) = shop.batch(&[again]).await;
    assert_eq!((outcomes, receipt), (vec![Ok(Outcome::Ranked(0))], None));
    assert_eq!(shop.sweep(TODAY).await.0, []);
    assert_eq!(shop.store.reads.item_feed(end, 10).await.unwrap(), []);
    assert_eq!(
        (shop.store.reads.feed_end().await.unwrap(), shop.store.reads.audit_head().await.unwrap()),
        (end, audited)
    );
    assert!(end > FeedPosition(0));
    shop.holds().await;
}

async fn one_market_at_a_time_sweeps_and_a_day_once(shop: Shop) {
    let now = shop.now;
    let first = shop.claim_sweep(TODAY, now).await;
    assert!(first.is_claimed && first.mark.place == SweepPlace::START);
    let other = shop.claim_sweep(TODAY, now.plus(LEASE / 2)).await;
    assert!(!other.is_claimed, "it is under way");
    let ranking = &shop.store.ranking;
    let place = SweepPlace { seller: super::party(ALICE), item: ItemId(7) };
    let until = now.plus(LEASE * 2);
    assert!(ranking.advance_sweep(first.mark.epoch, SweepProgress::Through(place, until)).await.unwrap());
    assert!(!shop.claim_sweep(TODAY, now.plus(LEASE)).await.is_claimed, "the lease was renewed");
    let finished_at = now.plus(LEASE);
    assert!(ranking.advance_sweep(first.mark.epoch, SweepProgress::Finished(finished_at)).await.unwrap());
    let late = now.plus(HOUR * 100);
    let done = shop.claim_sweep(TODAY, late).await;
    assert_eq!((done.is_claimed, done.mark.finished_at), (false, Some(finished_at)));
    let next = shop.claim_sweep(TODAY + 1, late).await;
    assert!(next.is_claimed && next.mark.epoch > first.mark.epoch);
    assert_eq!(
        (next.mark.day, next.mark.place, next.mark.finished_at),
        (Some(TODAY + 1), SweepPlace::START, None)
    );
}

async fn interrupted_sweep_continues_where_it_was(shop: Shop) {
    let (now, ranking) = (shop.now, &shop.store.ranking);
    let first = shop.claim_sweep(TODAY, now).await.mark;
    let place = SweepPlace { seller: super::party(CAROL), item: ItemId(7) };
    let until = now.plus(LEASE);
    assert!(ranking.advance_sweep(first.epoch, SweepProgress::Through(place, until)).await.unwrap());
    // The market has been killed. The next day begins before another one takes over.
    let resumed = shop.claim_sweep(TODAY + 1, until).await;
    let SweepMark { day, place: from, .. } = resumed.mark;
    assert_eq!((resumed.is_claimed, day, from), (true, Some(TODAY), place));
    // It was not killed, but slow: it must neither move the sweep nor end it.
    let behind = SweepProgress::Through(SweepPlace::START, until.plus(LEASE));
    for late in [behind, SweepProgress::Finished(until)] {
        assert!(!ranking.advance_sweep(first.epoch, late).await.unwrap());
    }
    assert_eq!(shop.claim_sweep(TODAY + 1, until).await.mark, resumed.mark);
}

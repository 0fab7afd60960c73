//! Random trade: the back ends must agree with each other, however the commands are split into batches, and
//! every unit must always be accounted for.

use proptest::{prelude::*, test_runner::TestRunner};
use souk_domain::{
    Action, CancelReason, Command, DAY_MICROS, ItemId, ItemPatch, ItemRef, LineChange, LinePrint, OrderId,
    Quantity, RatingSummary, Stars, StockChange, TillLine, TillName, TimeRange, Timestamp, action, day_of,
};

use super::{ALICE, BOB, CAROL, DAVE, Shop, buy, import, party, reprice, sell, sell_as, sku};

/// The number of random sequences of commands.
const SERIES: u32 = 24;

fn till() -> TillName {
    TillName::parse("shop").unwrap()
}

/// A line of a till, which is taken if its number is the next.
fn till_line(number: i64, sku_of: u8, delta: i64) -> Action {
    let asks = Ok(LineChange { item: ItemRef::Sku(sku(sku_of)), stock: StockChange::By(delta) });
    let line = TillLine { number, print: LinePrint(u64::from(sku_of)), asks };
    Action::Sync(action::Sync { till: till(), lines: vec![line] })
}

fn any_action() -> impl Strategy<Value = Action> {
    let item = (1..5_i64).prop_map(ItemId);
    prop_oneof![
        // Few SKUs, so that they are freed by deletions and used again, beside orders of their earlier items.
        3 => (1..3_u8, 1..9_i64).prop_map(|(of, units)| sell_as(of, units)),
        1 => (1..3_u8, 1..9_i64).prop_map(|(of, units)| import(of, units)),
        1 => Just(Action::OpenTill(action::OpenTill { till: till() })),
        2 => (1..4_i64, 1..3_u8, -2..3_i64).prop_map(|(number, of, delta)| till_line(number, of, delta)),
        2 => (1..9_i64).prop_map(|units| sell("Thing", units)),
        6 => (item.clone(), 1..4_i64).prop_map(|(item, units)| buy(item, units)),
        2 => (item.clone(), 1..9_i64).prop_map(|(item, pounds)| reprice(item, pounds * 100)),
        3 => item.clone().prop_map(|item| Action::Delete(action::Delete { item, expected_version: None })),
        2 => (item.clone(), 0..9_i64, prop::option::of(1..3_u8)).prop_map(|(item, units, of)| {
            let (quantity, sku) = (Quantity::parse(units).unwrap(), of.map(sku));
            Action::Undelete(action::Undelete { item, quantity, expected_version: None, sku })
        }),
        1 => (item.clone(), 1..3_u8).prop_map(|(item, of)| {
            let patch = ItemPatch { sku: Some(sku(of)), ..ItemPatch::default() };
            Action::Update(action::Update { item, patch, expected_version: None })
        }),
        2 => (1..9_i64).prop_map(|order| Action::Cancel(action::Cancel { order: OrderId(order) })),
        1 => (1..9_i64).prop_map(|order| {
            let reason = CancelReason::parse("why not").unwrap();
            Action::CancelSale(action::CancelSale { order: OrderId(order), reason })
        }),
        2 => item.clone().prop_map(|item| Action::Wish(action::Wish { item })),
        1 => item.clone().prop_map(|item| Action::Unwish(action::Unwish { item })),
        2 => (item, 1..=5, any::<bool>()).prop_map(|(item, stars, update_existing)| {
            Action::Rate(action::Rate { item, stars: Stars::parse(stars).unwrap(), update_existing })
        }),
    ]
}

fn any_caller() -> impl Strategy<Value = u128> {
    prop_oneof![Just(ALICE), Just(CAROL), Just(BOB), Just(DAVE), Just(99)]
}

#[test]
fn back_ends_and_batch_sizes_agree() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let steps = prop::collection::vec((any_caller(), any_action(), any::<bool>()), 1..40);
    let config = ProptestConfig { cases: SERIES, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&(steps, 1..7_usize), |(steps, size)| {
            runtime.block_on(async {
                let mut one_by_one = Shop::memory().await;
                let mut batched = Shop::memory().await;
                let mut on_disk = Shop::sqlite().await;
                let mut in_database =
                    if souk_testkit::postgres::is_there() { Some(Shop::postgres().await) } else { None };
                let commands = commands(&mut one_by_one, steps);
                let expected = carry_out(&mut one_by_one, &commands, 1).await;
                assert_eq!(carry_out(&mut batched, &commands, size).await, expected);
                assert_eq!(carry_out(&mut on_disk, &commands, size).await, expected);
                if let Some(shop) = &mut in_database {
                    assert_eq!(carry_out(shop, &commands, size).await, expected);
                }
                let totals = one_by_one.store.reads.totals().await.unwrap();
                assert_eq!(totals.supplied, totals.sold + totals.remaining + totals.withdrawn);
                assert_eq!(totals.sold, totals.ordered);
                let sums = sums(&one_by_one).await;
                for shop in [&batched, &on_disk].into_iter().chain(&in_database) {
                    assert_eq!(shop.store.reads.totals().await.unwrap(), totals);
                    assert_eq!(self::sums(shop).await, sums);
                    assert_eq!(ratings(shop).await, ratings(&one_by_one).await);
                }
            });
            Ok(())
        })
        .unwrap();
}

/// Returns the sums of all sales: by day and item for each seller, and by currency. The memory store counts its orders,
/// the others keep sums. A range that does not consist of whole days must give the same.
async fn sums(shop: &Shop) -> Vec<String> {
    let reads = &shop.store.reads;
    let mut sums = vec![format!("{:?}", reads.revenue().await.unwrap())];
    for seller in [ALICE, CAROL] {
        let kept = reads.sales_summary(party(seller), TimeRange::ALL, 10).await.unwrap();
        // Within the day of the test.
        let all = TimeRange {
            from: Timestamp(day_of(shop.now) * DAY_MICROS + 1),
            until: Timestamp(shop.now.0 + 1),
        };
        let counted = reads.sales_summary(party(seller), all, 10).await.unwrap();
        assert_eq!(kept, counted);
        sums.push(format!("{kept:?}"));
    }
    sums
}

/// Returns the summary of the ratings of each item.
async fn ratings(shop: &Shop) -> Vec<Option<RatingSummary>> {
    let mut ratings = Vec::new();
    for item in (1..5).map(ItemId) {
        ratings.push(shop.store.reads.item(item).await.unwrap().map(|item| item.rating));
    }
    ratings
}

/// Builds the commands, some of which repeat the one before.
fn commands(shop: &mut Shop, steps: Vec<(u128, Action, bool)>) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for (caller, action, repeat) in steps {
        match commands.last() {
            Some(last) if repeat => commands.push(last.clone()),
            _ => commands.push(shop.command(caller, action)),
        }
    }
    commands
}

/// Carries out the commands in batches of `size`, and returns the outcomes without their times, which depend
/// on the batches.
async fn carry_out(shop: &mut Shop, commands: &[Command], size: usize) -> Vec<String> {
    let mut outcomes = Vec::new();
    for batch in commands.chunks(size) {
        for outcome in shop.batch(batch).await.0 {
            outcomes.push(without_times(&format!("{outcome:?}")));
        }
    }
    outcomes
}

fn without_times(text: &str) -> String {
    let mut parts = text.split("Timestamp(");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or("", |(_, rest)| rest))
}

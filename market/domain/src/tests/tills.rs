//! Tills: each line is applied once and in order, whatever arrives.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> TillName {
    TillName::parse(text).unwrap()
}

fn open(fixture: &mut Fixture, seller: u128, till: &str) -> Till {
    match fixture.act(seller, Action::OpenTill(action::OpenTill { till: name(till) })).unwrap() {
        Outcome::Till(till) => till,
        other => panic!("{other:?}"),
    }
}

/// Creates a line whose print depends on its content, as for a parsed one.
fn line(number: i64, item: ItemId, stock: StockChange) -> TillLine {
    let content = match stock {
        StockChange::To(quantity) => (0, quantity.units()),
        StockChange::By(delta) => (1, delta),
    };
    let print = LinePrint((item.0 * 1_000_000 + content.0 * 100_000 + content.1) as u64);
    TillLine { number, print, asks: Ok(LineChange { item: ItemRef::Id(item), stock }) }
}

fn by(number: i64, item: ItemId, delta: i64) -> TillLine {
    line(number, item, StockChange::By(delta))
}

fn sync(fixture: &mut Fixture, seller: u128, lines: Vec<TillLine>) -> Vec<LineAnswer> {
    match fixture.act(seller, Action::Sync(action::Sync { till: name("shop"), lines })).unwrap() {
        Outcome::Synced(answers) => answers,
        other => panic!("{other:?}"),
    }
}

fn stock(item: ItemId, quantity: i64, version: i64) -> LineOutcome {
    LineOutcome::Stock { item, quantity, version }
}

#[test]
fn lines_count_and_change_stock_one_after_the_other() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    open(&mut fixture, ALICE, "shop");
    let to = StockChange::To(Quantity::parse(7).unwrap());
    let answers = sync(&mut fixture, ALICE, vec![by(1, lamp, -2), line(2, lamp, to), by(3, lamp, 1)]);
    let outcomes: Vec<_> = answers.iter().map(|answer| answer.outcome.clone()).collect();
    assert_eq!(outcomes, [stock(lamp, 3, 2), stock(lamp, 7, 3), stock(lamp, 8, 4)]);
    assert!(fixture.item(lamp).is_balanced());
}

/// The index of SKUs still names the item that has the SKU now, so that the till's line finds it: its outcome
/// is kept, and the till would get the same refusal forever.
#[test]
fn cancelled_order_of_a_deleted_item_leaves_the_sku_to_its_new_owner() {
    let mut fixture = Fixture::open();
    let item = |outcome| match outcome {
        Ok(Outcome::Item(item)) => item.id,
        other => panic!("{other:?}"),
    };
    let old = item(fixture.act(ALICE, sell_as("7", 5)));
    open(&mut fixture, ALICE, "shop");
    let order = order_of(fixture.act(BOB, buy(old, 1)));
    fixture.act(ALICE, Action::Delete(action::Delete { item: old, expected_version: None })).unwrap();
    let new = item(fixture.act(ALICE, sell_as("7", 5)));
    fixture.act(BOB, Action::Cancel(action::Cancel { order: order.id })).unwrap();

    assert_eq!(fixture.act(ALICE, sell_as("7", 1)), Err(Refusal::SkuTaken(new)));
    let asks = LineChange { item: ItemRef::Sku(Sku::parse("7").unwrap()), stock: StockChange::By(-1) };
    let answers =
        sync(&mut fixture, ALICE, vec![TillLine { number: 1, print: LinePrint(1), asks: Ok(asks) }]);
    assert_eq!(answers[0].outcome, stock(new, 4, 2));
}

#[test]
fn repeated_line_gets_the_first_answer_and_takes_no_effect() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    open(&mut fixture, ALICE, "shop");
    let first = sync(&mut fixture, ALICE, vec![by(1, lamp, -2), by(2, lamp, -9)]);
    let again = sync(&mut fixture, ALICE, vec![by(1, lamp, -2), by(2, lamp, -9)]);
    assert_eq!(first[1].outcome, LineOutcome::OutOfRange { available: 3, delta: -9 });
    for (first, again) in first.iter().zip(&again) {
        assert_eq!((first.repeated, again.repeated, &first.outcome), (false, true, &again.outcome));
    }
    assert_eq!(fixture.item(lamp).quantity, 3);
}

#[test]
fn refused_line_uses_up_its_number_and_does_not_block_the_next() {
    let mut fixture = Fixture::open();
    let (lamp, foreign) = (fixture.lamp(ALICE, 5), fixture.lamp(CAROL, 5));
    open(&mut fixture, ALICE, "shop");
    let nonsense = TillLine { number: 2, print: LinePrint(0), asks: Err(Invalid::new("is nonsense")) };
    let gone = fixture.lamp(ALICE, 5);
    fixture.act(ALICE, Action::Delete(action::Delete { item: gone, expected_version: None })).unwrap();
    let lines = vec![by(1, foreign, 1), nonsense, by(3, gone, 1), by(4, lamp, 1)];
    let outcomes: Vec<_> =
        sync(&mut fixture, ALICE, lines).into_iter().map(|answer| answer.outcome).collect();
    let not_found = LineOutcome::ItemNotFound;
    let invalid = LineOutcome::Invalid("is nonsense".to_owned());
    assert_eq!(outcomes, [not_found.clone(), invalid, not_found, stock(lamp, 6, 2)]);
    assert_eq!(fixture.item(foreign).quantity, 5);
}

#[test]
fn early_line_or_one_with_a_used_number_is_not_taken() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    open(&mut fixture, ALICE, "shop");
    let lines = vec![by(1, lamp, 1), by(3, lamp, 1), by(1, lamp, 2), by(0, lamp, 1), by(i64::MIN, lamp, 1)];
    let outcomes: Vec<_> =
        sync(&mut fixture, ALICE, lines).into_iter().map(|answer| answer.outcome).collect();
    let early = LineOutcome::OutOfOrder { expected: 2 };
    assert_eq!(outcomes, [stock(lamp, 6, 2), early.clone(), LineOutcome::Reused, early.clone(), early]);
    assert_eq!(sync(&mut fixture, ALICE, vec![by(2, lamp, 1)])[0].outcome, stock(lamp, 7, 3));
}

#[test]
fn outcomes_of_the_last_lines_are_kept_and_older_lines_still_take_no_effect() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 1);
    open(&mut fixture, ALICE, "shop");
    let all: Vec<_> = (1..=Till::RECENT as i64 + 1).map(|number| by(number, lamp, 1)).collect();
    sync(&mut fixture, ALICE, all.clone());
    let again = sync(&mut fixture, ALICE, all);
    assert_eq!(again[0].outcome, LineOutcome::Forgotten);
    assert_eq!(again[1].outcome, stock(lamp, 3, 3));
    assert!(again.iter().all(|answer| answer.repeated));
    assert_eq!(fixture.item(lamp).quantity, Till::RECENT as i64 + 2);
}

#[test]
fn tills_are_notified_of_sales_and_of_cancellations_by_either_side() {
    let mut fixture = Fixture::open();
    let lamp = fixture.lamp(ALICE, 5);
    let till = open(&mut fixture, ALICE, "shop");
    let (one, other) = (order_of(fixture.act(BOB, buy(lamp, 1))), order_of(fixture.act(BOB, buy(lamp, 2))));
    fixture.act(BOB, Action::Cancel(action::Cancel { order: one.id })).unwrap();
    let reason = CancelReason::parse("broken").unwrap();
    fixture.act(ALICE, Action::CancelSale(action::CancelSale { order: other.id, reason })).unwrap();
    let notices = fixture.rows.events.iter().filter(|new| new.audience == Audience::Party(till.id.mailbox()));
    let notices: Vec<_> = notices
        .map(|new| match &new.event.kind {
            EventKind::OrderPlaced { remaining_quantity, .. } => ("placed", *remaining_quantity),
            EventKind::OrderCancelled { remaining_quantity, .. } => ("cancelled", *remaining_quantity),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(notices, [("placed", 4), ("placed", 2), ("cancelled", 3), ("cancelled", 5)]);
}

#[test]
fn tills_belong_to_their_seller_and_their_number_is_limited() {
    let mut fixture = Fixture::open();
    for number in 0..Till::MAX_OF_SELLER {
        open(&mut fixture, ALICE, &format!("till-{number}"));
    }
    open(&mut fixture, ALICE, "till-0");
    assert_eq!(
        fixture.act(ALICE, Action::OpenTill(action::OpenTill { till: name("one-more") })),
        Err(Refusal::TooManyTills)
    );
    let theirs = Action::RemoveTill(action::RemoveTill { till: name("till-0") });
    assert_eq!(fixture.act(CAROL, theirs.clone()), Err(Refusal::TillNotFound(name("till-0"))));
    assert_eq!(fixture.act(ALICE, theirs), Ok(Outcome::TillRemoved));
    open(&mut fixture, ALICE, "one-more");
    for bad in ["", "A", "a b", "ü", "a/b", &"a".repeat(65)] {
        assert!(TillName::parse(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    /// However often lines arrive and in whatever chunks, the stock is as if each had arrived once.
    #[test]
    fn lines_take_effect_once_however_often_they_arrive(
        deltas in prop::collection::vec(-3..9_i64, 1..120),
        resent in prop::collection::vec((0..120_usize, 1..64_usize), 0..40),
    ) {
        let mut fixture = Fixture::open();
        let lamp = fixture.lamp(ALICE, 500);
        open(&mut fixture, ALICE, "shop");
        let lines: Vec<_> = (1..).zip(&deltas).map(|(number, delta)| by(number, lamp, *delta)).collect();
        let mut sent = 0;
        for (from, count) in resent {
            let from = from.min(sent);
            let chunk = &lines[from..lines.len().min(from + count)];
            let answers = sync(&mut fixture, ALICE, chunk.to_vec());
            for (answer, number) in answers.iter().zip(from as i64 + 1..) {
                prop_assert_eq!((answer.number, answer.repeated), (number, number <= sent as i64));
            }
            sent = sent.max(from + chunk.len());
        }
        let expected = 500 + deltas[..sent].iter().sum::<i64>();
        prop_assert_eq!(fixture.item(lamp).quantity, expected);
        prop_assert!(fixture.item(lamp).is_balanced());
    }
}

//! Merged updates, compared with what happened to the item.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A seller, a listed item and the one update that waits for a recipient who was away.
struct Away {
    fixture: Fixture,
    item: ItemId,
    waiting: Option<Event>,
    events: u128,
    /// The item before the first update that the recipient has not received, and what was changed since.
    since: Option<(Item, BTreeSet<String>)>,
}

impl Away {
    fn begin(amount_minor: i64, units: i64) -> Self {
        let mut fixture = Fixture::open();
        let item = match fixture.act(ALICE, sell("Lamp", amount_minor, units)).unwrap() {
            Outcome::Item(item) => item.id,
            other => panic!("{other:?}"),
        };
        Self { fixture, item, waiting: None, events: 0, since: None }
    }

    /// Carries out an action, and merges its event for wishers with the waiting one.
    fn act(&mut self, caller: u128, action: Action) {
        let before = self.fixture.item(self.item).clone();
        let seen = self.fixture.rows.events.len();
        let _ = self.fixture.act(caller, action);
        for mut new in self.fixture.rows.events[seen..].iter().cloned() {
            self.events += 1;
            new.event.id = EventId(Uuid::from_u128(self.events));
            if new.audience != Audience::Wishers(self.item) {
                continue;
            }
            if let EventKind::ItemUpdated { changed_fields, .. } = &new.event.kind {
                let (_, changed) = self.since.get_or_insert((before.clone(), BTreeSet::new()));
                changed.extend(changed_fields.iter().cloned());
            }
            self.waiting = Some(match &self.waiting {
                Some(earlier) => new.event.merge(earlier),
                None => new.event,
            });
        }
    }

    fn update(&mut self, patch: ItemPatch) {
        self.act(ALICE, Action::Update(action::Update { item: self.item, patch, expected_version: None }));
    }

    fn price(&mut self, amount_minor: i64) {
        let unit_price = Some(Money::price(amount_minor, "GBP").unwrap());
        self.update(ItemPatch { unit_price, ..ItemPatch::default() });
    }

    fn describe(&mut self, text: &str) {
        let description = Some(Description::parse(text).unwrap());
        self.update(ItemPatch { description, ..ItemPatch::default() });
    }

    fn rename(&mut self, name: &str) {
        self.update(ItemPatch { name: Some(ItemName::parse(name).unwrap()), ..ItemPatch::default() });
    }

    /// Returns the changed fields, the previous price in minor units, and whether the item is back in stock.
    fn told(&self) -> (Vec<String>, Option<i64>, bool) {
        match &self.waiting.as_ref().unwrap().kind {
            EventKind::ItemUpdated { changed_fields, previous_price, back_in_stock, .. } => {
                (changed_fields.clone(), previous_price.map(Money::amount_minor), *back_in_stock)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn fields(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn price_drop_survives_a_later_change_of_the_description() {
    let mut away = Away::begin(1_000, 5);
    away.price(400);
    away.describe("as new");
    assert_eq!(away.told(), (fields(&["description", "unit_price"]), Some(1_000), false));
}

#[test]
fn prices_are_compared_with_the_last_one_received() {
    let mut away = Away::begin(1_000, 5);
    away.price(800);
    away.price(700);
    assert_eq!(away.told().1, Some(1_000), "not 800, which nobody received");
    let mut away = Away::begin(500, 5);
    away.price(800);
    away.price(700);
    assert_eq!(away.told().1, None, "700 is no reduction to one who knows 500");
    away.price(500);
    assert_eq!(away.told(), (fields(&["unit_price"]), None, false), "a field stays named");
}

#[test]
fn item_is_back_in_stock_despite_a_later_change_and_not_if_it_is_sold_out_again() {
    let mut away = Away::begin(1_000, 1);
    away.act(BOB, buy(away.item, 1));
    away.act(ALICE, restock(away.item, 2));
    away.rename("Lantern");
    assert_eq!(away.told(), (fields(&["name", "quantity"]), None, true));
    away.act(BOB, buy(away.item, 2));
    away.describe("sold out again");
    assert!(!away.told().2);
}

#[test]
fn withdrawal_replaces_the_update_and_ids_are_those_of_the_later_event() {
    let mut away = Away::begin(1_000, 5);
    away.price(400);
    let first = away.waiting.clone().unwrap().id;
    away.price(300);
    assert_ne!(away.waiting.as_ref().unwrap().id, first, "an id never stands for other content");
    away.act(ALICE, Action::Delete(action::Delete { item: away.item, expected_version: None }));
    assert!(matches!(away.waiting.unwrap().kind, EventKind::ItemWithdrawn { .. }));
}

#[test]
fn events_of_an_older_market_are_merged_as_far_as_they_tell() {
    let mut away = Away::begin(1_000, 5);
    away.price(400);
    let stored = serde_json::to_string(away.waiting.as_ref().unwrap()).unwrap();
    let mut older: serde_json::Value = serde_json::from_str(&stored).unwrap();
    older["kind"]["item_updated"].as_object_mut().unwrap().remove("before").unwrap();
    away.waiting = Some(serde_json::from_value(older).unwrap());
    away.describe("as new");
    assert_eq!(away.told(), (fields(&["description", "unit_price"]), Some(1_000), false));
}

/// A step of the random test: something happens to the item, or the recipient catches up.
#[derive(Clone, Debug)]
enum Step {
    Price(i64),
    Rename(u8),
    Describe(u8),
    Stock(i64),
    Buy(i64),
    Receive,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6_i64).prop_map(Step::Price),
        1 => (0..3_u8).prop_map(Step::Rename),
        1 => (0..3_u8).prop_map(Step::Describe),
        2 => (0..3_i64).prop_map(Step::Stock),
        2 => (1..3_i64).prop_map(Step::Buy),
        2 => Just(Step::Receive),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn merged_updates_report_the_difference_to_what_was_received(
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let mut away = Away::begin(300, 2);
        for step in steps {
            match step {
                Step::Price(pounds) => away.price(pounds * 100),
                Step::Rename(name) => away.rename(&format!("Lamp {name}")),
                Step::Describe(text) => away.describe(&format!("{text}")),
                Step::Stock(units) => {
                    let stock = Some(StockChange::To(Quantity::parse(units).unwrap()));
                    away.update(ItemPatch { stock, ..ItemPatch::default() });
                }
                Step::Buy(units) => away.act(BOB, buy(away.item, units)),
                Step::Receive => (away.waiting, away.since) = (None, None),
            }
            let Some(waiting) = &away.waiting else { continue };
            // The item as the last update left it: purchases after it are not reported to wishers.
            let EventKind::ItemUpdated { item: now, .. } = &waiting.kind else { panic!("{waiting:?}") };
            let (before, changed) = away.since.as_ref().unwrap();
            let (told, previous, back) = away.told();
            prop_assert_eq!(told.iter().cloned().collect::<BTreeSet<_>>(), changed.clone());
            prop_assert_eq!(told.len(), changed.len());
            let lower = before.unit_price.amount_minor() > now.unit_price.amount_minor();
            prop_assert_eq!(previous, lower.then_some(before.unit_price.amount_minor()));
            prop_assert_eq!(back, before.quantity == 0 && now.quantity > 0);
        }
    }
}

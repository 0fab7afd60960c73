//! Updates of one item that wait for a recipient: merged as long as nobody can have received them.

use std::collections::BTreeSet;

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use souk_domain::{
    Action, EventId, EventKind, Item, ItemId, ItemName, ItemPatch, Money, Quantity, Role, Sequence,
    StockChange, action,
};
use souk_store::{ByReliability, Delivery, DueQuery, Settlement, Verdict};

use super::{ALICE, BOB, DAVE, HOUR, Shop, buy, on_every_back_end, owner, party, reprice};

on_every_back_end!(
    undelivered_updates_are_merged_for_each_recipient,
    update_that_was_handed_out_stays_as_it_is,
    merged_updates_report_the_difference_to_what_was_received,
);

/// The number of random series, each with its own item.
const SERIES: usize = 16;

impl Shop {
    async fn expanded(&mut self, caller: u128, action: Action) {
        let _ = self.act(caller, action).await;
        while self.store.mailboxes.expand(8).await.unwrap().more {}
    }

    async fn all_pending(&self, number: u128) -> Vec<Delivery> {
        self.store.mailboxes.pending(party(number), Sequence(0), 100).await.unwrap()
    }
}

/// Returns the price, the previous price and the changed fields of an update.
fn told(delivery: &Delivery) -> (i64, Option<i64>, Vec<String>) {
    match &delivery.event.kind {
        EventKind::ItemUpdated { item, previous_price, changed_fields, .. } => {
            let previous = previous_price.map(Money::amount_minor);
            (item.unit_price.amount_minor(), previous, changed_fields.clone())
        }
        other => panic!("{other:?}"),
    }
}

fn rename(item: ItemId, name: &str) -> Action {
    let patch = ItemPatch { name: Some(ItemName::parse(name).unwrap()), ..ItemPatch::default() };
    Action::Update(action::Update { item, patch, expected_version: None })
}

/// Bob has received the first of two price drops, Dave has received nothing.
async fn undelivered_updates_are_merged_for_each_recipient(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    for buyer in [BOB, DAVE] {
        shop.act(buyer, Action::Wish(action::Wish { item: lamp })).await.unwrap();
    }
    shop.expanded(ALICE, reprice(lamp, 1_000)).await;
    assert_eq!(shop.store.mailboxes.acknowledge(party(BOB), Sequence(1)).await.unwrap(), 0);
    shop.expanded(ALICE, reprice(lamp, 400)).await;
    shop.expanded(ALICE, rename(lamp, "Lantern")).await;
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    for (buyer, from) in [(BOB, 1_000), (DAVE, 1_250)] {
        let pending = shop.all_pending(buyer).await;
        assert_eq!(pending.len(), 1);
        assert_eq!(told(&pending[0]), (400, Some(from), names(&["name", "unit_price"])));
        assert_eq!(pending[0].sequence, Sequence(3), "a new sequence");
    }
}

/// An attempt may have been received although it failed, and so may what a stream has sent.
async fn update_that_was_handed_out_stays_as_it_is(mut shop: Shop) {
    shop.with_callback(BOB, Role::Buyer).await;
    let lamp = shop.lamp(ALICE, 5).await;
    shop.act(BOB, Action::Wish(action::Wish { item: lamp })).await.unwrap();
    shop.expanded(ALICE, reprice(lamp, 1_000)).await;
    let claim = shop.claim_of_bob().await;
    shop.settle_failed(&claim).await;
    shop.expanded(ALICE, reprice(lamp, 800)).await;
    let handed = shop.store.mailboxes.hand_out(party(BOB), Sequence(1), 64).await.unwrap();
    assert_eq!(handed.len(), 1);
    for price in [700, 600] {
        shop.expanded(ALICE, reprice(lamp, price)).await;
    }
    let pending = shop.all_pending(BOB).await;
    assert_eq!(pending[..2], [claim.deliveries[0].clone(), handed[0].clone()]);
    let prices: Vec<_> = pending.iter().map(|delivery| (told(delivery).0, told(delivery).1)).collect();
    assert_eq!(prices, [(1_000, Some(1_250)), (800, Some(1_000)), (600, Some(800))]);
}

impl Shop {
    async fn claim_of_bob(&self) -> souk_store::Claim {
        let query = DueQuery {
            owner: owner(1),
            now: self.now,
            lease: HOUR,
            mailboxes: ByReliability::each(10),
            deliveries: 64,
        };
        self.store.mailboxes.claim_due(&query).await.unwrap().remove(0)
    }

    /// Ends a claim as failed, so that it is due again at once.
    async fn settle_failed(&self, claim: &souk_store::Claim) {
        let verdict = Verdict::Failed { retry_at: self.now, reason: "no answer".to_owned() };
        let settlement = Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict };
        assert_eq!(self.store.mailboxes.settle(&[settlement]).await.unwrap(), [true]);
    }
}

/// A step of the random test: something happens to the item, or its wisher receives what is pending.
#[derive(Clone, Debug)]
enum Step {
    Price(i64),
    Rename(u8),
    Stock(i64),
    Buy(i64),
    Expand,
    /// By any way, and acknowledges it.
    Acknowledge,
    /// By a stream, and does not acknowledge it yet.
    Stream,
    /// By its callback. The attempt fails, whether or not the recipient has received it.
    Attempt {
        arrives: bool,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1..6_i64).prop_map(|pounds| Step::Price(pounds * 100)),
        1 => (0..3_u8).prop_map(Step::Rename),
        2 => (0..3_i64).prop_map(Step::Stock),
        2 => (1..3_i64).prop_map(Step::Buy),
        4 => Just(Step::Expand),
        2 => Just(Step::Acknowledge),
        1 => Just(Step::Stream),
        2 => any::<bool>().prop_map(|arrives| Step::Attempt { arrives }),
    ]
}

/// What a wisher knows, and what has happened to the item.
struct Wisher {
    received: BTreeSet<EventId>,
    known_version: i64,
    /// The item before and after each update.
    updates: Vec<(Item, Item)>,
}

impl Wisher {
    /// Checks a delivery against the updates since the last one that was received.
    fn receive(&mut self, delivery: &Delivery) {
        if !self.received.insert(delivery.event.id) {
            return;
        }
        let EventKind::ItemUpdated { item: now, changed_fields, previous_price, back_in_stock, .. } =
            &delivery.event.kind
        else {
            panic!("{delivery:?}")
        };
        assert!(now.version > self.known_version, "versions never go back");
        let news =
            |update: &&(Item, Item)| self.known_version < update.1.version && update.1.version <= now.version;
        let since: Vec<_> = self.updates.iter().filter(news).collect();
        let before = &since.first().unwrap().0;
        let changed: BTreeSet<_> = since.iter().flat_map(|(before, after)| changed(before, after)).collect();
        assert_eq!(changed_fields.iter().map(String::as_str).collect::<BTreeSet<_>>(), changed);
        let lower = before.unit_price.amount_minor() > now.unit_price.amount_minor();
        assert_eq!(*previous_price, lower.then_some(before.unit_price));
        assert_eq!(*back_in_stock, before.quantity == 0 && now.quantity > 0);
        self.known_version = now.version;
    }
}

fn changed(before: &Item, after: &Item) -> BTreeSet<&'static str> {
    let fields = [
        ("name", before.name != after.name),
        ("unit_price", before.unit_price != after.unit_price),
        ("quantity", before.quantity != after.quantity),
    ];
    fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

async fn merged_updates_report_the_difference_to_what_was_received(mut shop: Shop) {
    shop.with_callback(BOB, Role::Buyer).await;
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(any_step(), 5..40);
    for _ in 0..SERIES {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        println!("{steps:?}");
        series(&mut shop, steps).await;
    }
}

async fn series(shop: &mut Shop, steps: Vec<Step>) {
    let item = shop.lamp(ALICE, 2).await;
    shop.act(BOB, Action::Wish(action::Wish { item })).await.unwrap();
    let mut bob = Wisher { received: BTreeSet::new(), known_version: 1, updates: Vec::new() };
    for step in steps {
        match step {
            Step::Price(minor) => update(shop, &mut bob, reprice(item, minor), item).await,
            Step::Rename(number) => {
                update(shop, &mut bob, rename(item, &format!("Lamp {number}")), item).await;
            }
            Step::Stock(units) => {
                let stock = Some(StockChange::To(Quantity::parse(units).unwrap()));
                let patch = ItemPatch { stock, ..ItemPatch::default() };
                let action = Action::Update(action::Update { item, patch, expected_version: None });
                update(shop, &mut bob, action, item).await;
            }
            Step::Buy(units) => drop(shop.act(DAVE, buy(item, units)).await),
            Step::Expand => drop(shop.store.mailboxes.expand(1).await.unwrap()),
            Step::Acknowledge => receive_all(shop, &mut bob).await,
            Step::Stream => {
                let handed = shop.store.mailboxes.hand_out(party(BOB), Sequence(0), 100).await.unwrap();
                handed.iter().for_each(|delivery| bob.receive(delivery));
            }
            Step::Attempt { arrives } if !shop.all_pending(BOB).await.is_empty() => {
                let claim = shop.claim_of_bob().await;
                if arrives {
                    claim.deliveries.iter().for_each(|delivery| bob.receive(delivery));
                }
                shop.settle_failed(&claim).await;
            }
            Step::Attempt { .. } => {}
        }
        let state = shop.store.mailboxes.state(party(BOB)).await.unwrap().unwrap();
        assert_eq!(state.pending as usize, shop.all_pending(BOB).await.len());
    }
    while shop.store.mailboxes.expand(8).await.unwrap().more {}
    receive_all(shop, &mut bob).await;
    let last = bob.updates.last().map_or(1, |(_, after)| after.version);
    assert_eq!(bob.known_version, last, "the last update was reported");
}

/// Carries out an update, and notes the item before and after it if that has changed.
async fn update(shop: &mut Shop, bob: &mut Wisher, action: Action, item: ItemId) {
    let before = shop.store.reads.item(item).await.unwrap().unwrap();
    shop.act(ALICE, action).await.unwrap();
    let after = shop.store.reads.item(item).await.unwrap().unwrap();
    if before.version != after.version {
        bob.updates.push((before, after));
    }
}

async fn receive_all(shop: &Shop, bob: &mut Wisher) {
    let pending = shop.all_pending(BOB).await;
    pending.iter().for_each(|delivery| bob.receive(delivery));
    if let Some(last) = pending.last() {
        assert_eq!(shop.store.mailboxes.acknowledge(party(BOB), last.sequence).await.unwrap(), 0);
    }
}

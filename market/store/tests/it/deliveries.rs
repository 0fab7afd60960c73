//! Mailboxes: claims, leases, fencing, coalescing and expiry.

use std::time::Duration;

use souk_domain::{Action, EventKind, ItemId, Role, Sequence, TestText, Timestamp, action};
use souk_store::{ByReliability, Claim, Delivery, DueQuery, ORDER_PATIENCE, Retention, Settlement, Verdict};

use super::{ALICE, BOB, DAVE, HOUR, Shop, buy, on_every_back_end, owner, party, reprice};

on_every_back_end!(
    sequences_are_dense_and_in_order,
    mailbox_is_claimed_by_one_at_a_time,
    expired_lease_can_be_claimed_and_late_settlements_have_no_effect,
    delivered_events_are_removed_and_the_rest_is_due_at_once,
    failure_puts_the_mailbox_in_back_off,
    probe_makes_a_mailbox_in_back_off_due,
    failed_probe_leaves_the_back_off_as_it_is,
    probe_during_an_attempt_follows_it,
    order_shortens_the_back_off_and_an_update_does_not,
    order_during_an_attempt_shortens_the_next_wait,
    order_during_a_probe_shortens_the_next_wait,
    mailbox_without_callback_is_never_due,
    take_over_fences_off_the_holder,
    updates_coalesce_under_a_new_sequence,
    orders_never_coalesce,
    expansion_continues_where_it_stopped,
    withdrawal_removes_the_item_from_wishlists,
    events_expire_by_the_retention_of_their_kind,
    old_idempotency_records_are_deleted,
    acknowledging_twice_changes_nothing,
    sequence_that_was_never_assigned_acknowledges_nothing,
    test_events_coalesce,
    next_due_time_is_reported,
);

impl Shop {
    /// Gives Alice a callback and puts `orders` orders into her mailbox.
    async fn alice_sold(&mut self, orders: usize) -> ItemId {
        self.with_callback(ALICE, Role::Seller).await;
        let lamp = self.lamp(ALICE, 1_000).await;
        for _ in 0..orders {
            self.act(BOB, buy(lamp, 1)).await.unwrap();
        }
        lamp
    }

    pub(crate) async fn claim(&self, by: u128, now: Timestamp) -> Vec<Claim> {
        let query = DueQuery {
            owner: owner(by),
            now,
            lease: HOUR,
            mailboxes: ByReliability::each(10),
            deliveries: 64,
        };
        self.store.mailboxes.claim_due(&query).await.unwrap()
    }

    async fn next_due(&self) -> Option<Timestamp> {
        let later = self.now.plus(HOUR * 24);
        self.store.mailboxes.next_due(ByReliability::each(1), later).await.unwrap()
    }

    pub(crate) async fn settle(&self, claim: &Claim, verdict: Verdict) -> bool {
        let settlement = Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict };
        self.store.mailboxes.settle(&[settlement]).await.unwrap()[0]
    }

    pub(crate) async fn waiting(&self, number: u128) -> Vec<Delivery> {
        self.store.mailboxes.pending(party(number), Sequence(0), 100).await.unwrap()
    }

    pub(crate) async fn expand_all(&self) -> Vec<souk_domain::PartyId> {
        let mut recipients = Vec::new();
        loop {
            let step = self.store.mailboxes.expand(1).await.unwrap();
            recipients.extend(step.recipients);
            if !step.more {
                return recipients;
            }
        }
    }
}

fn sequences(deliveries: &[Delivery]) -> Vec<i64> {
    deliveries.iter().map(|delivery| delivery.sequence.0).collect()
}

async fn sequences_are_dense_and_in_order(mut shop: Shop) {
    shop.alice_sold(3).await;
    assert_eq!(sequences(&shop.waiting(ALICE).await), [1, 2, 3]);
    let after = shop.store.mailboxes.pending(party(ALICE), Sequence(1), 1).await.unwrap();
    assert_eq!(sequences(&after), [2]);
}

async fn mailbox_is_claimed_by_one_at_a_time(mut shop: Shop) {
    shop.alice_sold(2).await;
    let now = shop.now;
    let claims = shop.claim(1, now).await;
    assert_eq!(claims.len(), 1);
    assert_eq!((claims[0].recipient, claims[0].role), (party(ALICE), Role::Seller));
    assert_eq!(claims[0].callback.as_ref().unwrap().port, 7444);
    assert_eq!(sequences(&claims[0].deliveries), [1, 2]);
    assert!(shop.claim(2, now).await.is_empty());
}

async fn expired_lease_can_be_claimed_and_late_settlements_have_no_effect(mut shop: Shop) {
    shop.alice_sold(1).await;
    let first = shop.claim(1, shop.now).await.remove(0);
    let later = shop.now.plus(HOUR * 2);
    let second = shop.claim(2, later).await.remove(0);
    assert!(second.epoch > first.epoch);
    assert!(!shop.settle(&first, Verdict::Delivered(Sequence(1))).await, "the late one is void");
    assert_eq!(shop.waiting(ALICE).await.len(), 1);
    assert!(!shop.store.mailboxes.renew(party(ALICE), first.epoch, later).await.unwrap());
    assert!(shop.store.mailboxes.renew(party(ALICE), second.epoch, later.plus(HOUR)).await.unwrap());
    assert!(shop.settle(&second, Verdict::Delivered(Sequence(1))).await);
    assert!(shop.waiting(ALICE).await.is_empty());
}

async fn delivered_events_are_removed_and_the_rest_is_due_at_once(mut shop: Shop) {
    shop.alice_sold(3).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    assert!(shop.settle(&claim, Verdict::Delivered(Sequence(2))).await);
    assert_eq!(sequences(&shop.claim(1, shop.now).await[0].deliveries), [3]);
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.pending, state.acknowledged, state.last_sequence), (1, 2, 3));
}

async fn failure_puts_the_mailbox_in_back_off(mut shop: Shop) {
    shop.alice_sold(2).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    let retry_at = shop.now.plus(HOUR);
    assert!(shop.settle(&claim, Verdict::Failed { retry_at, reason: "nobody there".into() }).await);
    assert!(shop.claim(1, shop.now).await.is_empty());
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.failures, state.next_attempt), (1, Some(retry_at)));
    assert_eq!(state.last_failure, "nobody there");
    let again = shop.claim(1, retry_at).await.remove(0);
    assert_eq!((again.failures, again.deliveries.len()), (1, 2));
    assert!(shop.settle(&again, Verdict::Delivered(Sequence(2))).await);
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.failures, state.next_attempt, state.last_failure.as_str()), (0, None, ""));
}

/// The failures and the time of the next attempt.
async fn back_off(shop: &Shop) -> (u32, Option<Timestamp>) {
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    (state.failures, state.next_attempt)
}

fn in_hours(shop: &Shop, hours: u32) -> Verdict {
    Verdict::Failed { retry_at: shop.now.plus(HOUR * hours), reason: "nobody there".into() }
}

async fn failed_probe_leaves_the_back_off_as_it_is(mut shop: Shop) {
    shop.alice_sold(1).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    shop.settle(&claim, in_hours(&shop, 3)).await;
    let as_it_was = back_off(&shop).await;
    for _ in 0..3 {
        assert!(shop.store.mailboxes.probe(party(ALICE), shop.now).await.unwrap());
        // A second one before the attempt changes nothing.
        assert!(shop.store.mailboxes.probe(party(ALICE), shop.now).await.unwrap());
        let probe = shop.claim(1, shop.now).await.remove(0);
        shop.settle(&probe, in_hours(&shop, 9)).await;
        assert_eq!(back_off(&shop).await, as_it_was);
    }
    // The regular attempt counts again.
    shop.now = shop.now.plus(HOUR * 3);
    let claim = shop.claim(1, shop.now).await.remove(0);
    shop.settle(&claim, in_hours(&shop, 9)).await;
    assert_eq!(back_off(&shop).await, (2, Some(shop.now.plus(HOUR * 9))));
}

async fn probe_during_an_attempt_follows_it(mut shop: Shop) {
    shop.alice_sold(1).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    assert!(shop.store.mailboxes.probe(party(ALICE), shop.now).await.unwrap());
    shop.settle(&claim, in_hours(&shop, 3)).await;
    let probe = shop.claim(1, shop.now).await.remove(0);
    shop.settle(&probe, in_hours(&shop, 9)).await;
    assert_eq!(back_off(&shop).await, (1, Some(shop.now.plus(HOUR * 3))));
}

async fn order_shortens_the_back_off_and_an_update_does_not(mut shop: Shop) {
    let lamp = shop.alice_sold(1).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    let retry_at = shop.now.plus(HOUR * 3);
    shop.settle(&claim, in_hours(&shop, 3)).await;
    let text = TestText::parse("hello").unwrap();
    shop.act(ALICE, Action::Test(action::Test { text })).await.unwrap();
    assert_eq!(back_off(&shop).await, (1, Some(retry_at)));
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    let due = shop.now.plus(ORDER_PATIENCE);
    assert_eq!(back_off(&shop).await, (1, Some(due)));
    assert!(shop.claim(1, shop.now).await.is_empty(), "not at once");
    // The attempt counts, and the order has had its effect.
    shop.now = due;
    let claim = shop.claim(1, shop.now).await.remove(0);
    shop.settle(&claim, in_hours(&shop, 9)).await;
    assert_eq!(back_off(&shop).await, (2, Some(shop.now.plus(HOUR * 9))));
}

async fn order_during_an_attempt_shortens_the_next_wait(mut shop: Shop) {
    let lamp = shop.alice_sold(1).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    shop.settle(&claim, in_hours(&shop, 3)).await;
    assert_eq!(back_off(&shop).await, (1, Some(shop.now.plus(ORDER_PATIENCE))));
}

async fn order_during_a_probe_shortens_the_next_wait(mut shop: Shop) {
    let lamp = shop.alice_sold(1).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    shop.settle(&claim, in_hours(&shop, 3)).await;
    assert!(shop.store.mailboxes.probe(party(ALICE), shop.now).await.unwrap());
    let probe = shop.claim(1, shop.now).await.remove(0);
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    shop.settle(&probe, in_hours(&shop, 9)).await;
    assert_eq!(back_off(&shop).await, (1, Some(shop.now.plus(ORDER_PATIENCE))));
}

async fn probe_makes_a_mailbox_in_back_off_due(mut shop: Shop) {
    shop.alice_sold(1).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    shop.settle(&claim, Verdict::Failed { retry_at: shop.now.plus(HOUR), reason: String::new() }).await;
    assert!(shop.store.mailboxes.probe(party(ALICE), shop.now).await.unwrap());
    assert_eq!(shop.claim(1, shop.now).await.len(), 1);
    assert!(!shop.store.mailboxes.probe(party(BOB), shop.now).await.unwrap(), "nothing waits for bob");
}

async fn mailbox_without_callback_is_never_due(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    assert!(shop.claim(1, shop.now.plus(HOUR)).await.is_empty());
    assert_eq!(shop.next_due().await, None);
    // The pending deliveries are due as soon as there is a callback.
    shop.with_callback(ALICE, Role::Seller).await;
    assert_eq!(shop.claim(1, shop.now).await.len(), 1);
}

async fn take_over_fences_off_the_holder(mut shop: Shop) {
    shop.alice_sold(1).await;
    let held = shop.claim(1, shop.now).await.remove(0);
    let until = shop.now.plus(HOUR);
    let taken = shop.store.mailboxes.take_over(party(ALICE), owner(2), until).await.unwrap().unwrap();
    assert!(!shop.settle(&held, Verdict::Delivered(Sequence(1))).await);
    assert!(shop.claim(1, shop.now).await.is_empty(), "a stream has the lease");
    assert!(shop.settle(&taken, Verdict::Released).await);
    assert_eq!(shop.claim(1, shop.now).await.len(), 1);
    assert_eq!(shop.store.mailboxes.take_over(party(99), owner(2), until).await.unwrap(), None);
}

async fn updates_coalesce_under_a_new_sequence(mut shop: Shop) {
    let (lamp, chair) = (shop.lamp(ALICE, 5).await, shop.lamp(ALICE, 5).await);
    for item in [lamp, chair] {
        shop.act(BOB, Action::Wish(action::Wish { item })).await.unwrap();
    }
    for (item, price) in [(lamp, 900), (chair, 800), (lamp, 700)] {
        shop.act(ALICE, reprice(item, price)).await.unwrap();
        shop.expand_all().await;
    }
    let waiting = shop.waiting(BOB).await;
    assert_eq!(sequences(&waiting), [2, 3]);
    let prices: Vec<_> = waiting
        .iter()
        .map(|delivery| match &delivery.event.kind {
            EventKind::ItemUpdated { item, .. } => item.unit_price.amount_minor(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(prices, [800, 700]);
}

async fn orders_never_coalesce(mut shop: Shop) {
    let lamp = shop.alice_sold(4).await;
    shop.act(ALICE, reprice(lamp, 900)).await.unwrap();
    shop.expand_all().await;
    assert_eq!(shop.waiting(ALICE).await.len(), 4);
}

async fn expansion_continues_where_it_stopped(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    for buyer in [BOB, DAVE] {
        shop.act(buyer, Action::Wish(action::Wish { item: lamp })).await.unwrap();
    }
    shop.act(ALICE, reprice(lamp, 900)).await.unwrap();
    let first = shop.store.mailboxes.expand(1).await.unwrap();
    assert_eq!((first.recipients, first.more), (vec![party(BOB)], true));
    assert_eq!(shop.expand_all().await, [party(DAVE)]);
    assert_eq!(shop.store.mailboxes.expand(1).await.unwrap(), Default::default());
    assert_eq!((shop.waiting(BOB).await.len(), shop.waiting(DAVE).await.len()), (1, 1));
}

async fn withdrawal_removes_the_item_from_wishlists(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    shop.act(BOB, Action::Wish(action::Wish { item: lamp })).await.unwrap();
    shop.act(ALICE, reprice(lamp, 900)).await.unwrap();
    shop.expand_all().await;
    shop.act(ALICE, Action::Delete(action::Delete { item: lamp, expected_version: None })).await.unwrap();
    shop.expand_all().await;
    let waiting = shop.waiting(BOB).await;
    assert_eq!(waiting.len(), 1, "the withdrawal replaces the update");
    assert!(matches!(waiting[0].event.kind, EventKind::ItemWithdrawn { .. }));
    assert!(shop.store.reads.wishlist(party(BOB), None, 10).await.unwrap().is_empty());
    let unwish = shop.act(BOB, Action::Unwish(action::Unwish { item: lamp })).await;
    assert!(unwish.is_err(), "the wish is gone");
}

async fn events_expire_by_the_retention_of_their_kind(mut shop: Shop) {
    let lamp = shop.alice_sold(2).await;
    shop.act(BOB, Action::Wish(action::Wish { item: lamp })).await.unwrap();
    shop.act(ALICE, reprice(lamp, 900)).await.unwrap();
    shop.expand_all().await;
    let retention = Retention { updates: HOUR, orders: HOUR * 10 };
    let expire = async |shop: &Shop, hours: u32, limit| {
        shop.store.mailboxes.expire(shop.now.plus(HOUR * hours), retention, limit).await.unwrap()
    };
    assert_eq!(expire(&shop, 2, 10).await, 1);
    assert_eq!((shop.waiting(BOB).await.len(), shop.waiting(ALICE).await.len()), (0, 2));
    assert_eq!(expire(&shop, 11, 1).await, 1, "in small steps");
    assert_eq!(expire(&shop, 11, 10).await, 1);
    assert!(shop.claim(1, shop.now.plus(HOUR * 11)).await.is_empty());
}

async fn old_idempotency_records_are_deleted(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    let command = shop.command(BOB, buy(lamp, 1));
    shop.batch(std::slice::from_ref(&command)).await;
    assert_eq!(shop.store.mailboxes.forget_requests(Timestamp(0), 100).await.unwrap(), 0);
    let later = shop.now.plus(Duration::from_secs(1));
    assert_eq!(shop.store.mailboxes.forget_requests(later, 2).await.unwrap(), 2);
    while shop.store.mailboxes.forget_requests(later, 100).await.unwrap() > 0 {}
    // Past its time, a request id is a new one.
    shop.batch(std::slice::from_ref(&command)).await;
    assert_eq!(shop.store.reads.item(lamp).await.unwrap().unwrap().quantity, 3);
}

async fn acknowledging_twice_changes_nothing(mut shop: Shop) {
    shop.alice_sold(3).await;
    for _ in 0..2 {
        assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(2)).await.unwrap(), 1);
    }
    assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(1)).await.unwrap(), 1);
    assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(3)).await.unwrap(), 0);
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.acknowledged, state.next_attempt, state.oldest), (3, None, None));
}

/// A recipient that has come further than the mailbox knows it from before the store was restored.
async fn sequence_that_was_never_assigned_acknowledges_nothing(mut shop: Shop) {
    shop.alice_sold(2).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    assert_eq!(claim.last_sequence, Sequence(2));
    assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(3)).await.unwrap(), 2);
    assert!(shop.settle(&claim, Verdict::Delivered(Sequence(99))).await);
    assert_eq!(sequences(&shop.waiting(ALICE).await), [1, 2]);
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!(state.acknowledged, 0);
}

async fn test_events_coalesce(mut shop: Shop) {
    shop.alice_sold(1).await;
    for text in ["one", "two", "three"] {
        shop.act(ALICE, Action::Test(action::Test { text: TestText::parse(text).unwrap() })).await.unwrap();
    }
    let waiting = shop.waiting(ALICE).await;
    assert_eq!(sequences(&waiting), [1, 4]);
    assert_eq!(waiting[1].event.kind, EventKind::Test { text: "three".to_owned() });
}

async fn next_due_time_is_reported(mut shop: Shop) {
    assert_eq!(shop.next_due().await, None);
    shop.alice_sold(1).await;
    let due = shop.next_due().await.unwrap();
    assert!(due <= shop.now);
    let claim = shop.claim(1, shop.now).await.remove(0);
    let leased = shop.next_due().await.unwrap();
    assert_eq!(leased, shop.now.plus(HOUR), "the end of the lease");
    let retry_at = shop.now.plus(HOUR * 3);
    shop.settle(&claim, Verdict::Failed { retry_at, reason: String::new() }).await;
    assert_eq!(shop.next_due().await, Some(retry_at));
}

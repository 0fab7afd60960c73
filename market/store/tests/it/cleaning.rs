//! Removal of what was received or has expired, in bounded steps, and the count of what is pending.

use souk_domain::{Action, ConsumerName, ItemId, Role, Sequence, Timestamp, action};
use souk_store::{
    ByReliability, Claim, ConsumerStream, DueQuery, MAX_COUNTED, Retention, Settlement, Verdict,
};
use uuid::Uuid;

use super::{ALICE, BOB, HOUR, Shop, buy, on_every_back_end, owner, party, reprice};

on_every_back_end!(
    large_removal_moves_the_cursor_at_once_and_is_done_in_steps,
    acknowledging_more_than_a_step_counts_the_rest,
    sequences_without_deliveries_are_skipped_at_once,
    expired_deliveries_are_not_counted,
    what_was_received_does_not_expire,
    at_most_ten_thousand_events_are_counted_one_by_one,
    expanded_events_are_deleted_once_no_delivery_refers_to_them,
    event_that_is_not_expanded_yet_is_kept,
);

/// More than the store removes in one transaction.
const MANY: usize = 1_100;

const RETENTION: Retention = Retention { updates: HOUR, orders: HOUR };

impl Shop {
    /// Puts very many orders into Alice's mailbox.
    async fn flood(&mut self) {
        self.with_callback(ALICE, Role::Seller).await;
        let lamp = self.lamp(ALICE, 100_000).await;
        let commands: Vec<_> = (0..MANY).map(|_| self.command(BOB, buy(lamp, 1))).collect();
        self.batch(&commands).await;
    }

    async fn pending_of(&self, number: u128) -> i64 {
        self.store.mailboxes.state(party(number)).await.unwrap().unwrap().pending
    }

    async fn first_claim(&self) -> Claim {
        let mailboxes = ByReliability::each(1);
        let query = DueQuery { owner: owner(1), now: self.now, lease: HOUR, mailboxes, deliveries: 64 };
        self.store.mailboxes.claim_due(&query).await.unwrap().remove(0)
    }

    async fn wished_and_repriced(&mut self, count: usize) -> Vec<ItemId> {
        let mut lamps = Vec::new();
        for _ in 0..count {
            let lamp = self.lamp(ALICE, 5).await;
            self.act(BOB, Action::Wish(action::Wish { item: lamp })).await.unwrap();
            self.act(ALICE, reprice(lamp, 900)).await.unwrap();
            lamps.push(lamp);
        }
        lamps
    }

    pub(super) fn keeps_shared_events(&self) -> bool {
        self.folder.is_some() || self.database.is_some()
    }
}

async fn large_removal_moves_the_cursor_at_once_and_is_done_in_steps(mut shop: Shop) {
    shop.flood().await;
    assert_eq!(shop.pending_of(ALICE).await, 1_100);
    let claim = shop.first_claim().await;
    let verdict = Verdict::Delivered(Sequence(1_090));
    let settlement = Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict };
    assert_eq!(shop.store.mailboxes.settle(&[settlement]).await.unwrap(), [true]);
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.acknowledged, state.pending), (1_090, 10), "whatever is still to be removed");
    assert_eq!(shop.first_claim().await.deliveries[0].sequence, Sequence(1_091));
    let pending = shop.store.mailboxes.pending(party(ALICE), Sequence(0), 100).await.unwrap();
    assert_eq!(pending.len(), 10, "what was received is not sent again");
    let mut removed = 0;
    loop {
        let step = shop.store.mailboxes.remove_acknowledged(50).await.unwrap();
        assert!(step <= 50);
        removed += step;
        if step == 0 {
            break;
        }
    }
    assert!(removed == 66 || !shop.keeps_shared_events(), "{removed}: all beyond the first step");
    assert_eq!(shop.pending_of(ALICE).await, 10);
    assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(1_100)).await.unwrap(), 0);
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.pending, state.next_attempt, state.oldest), (0, None, None));
}

async fn acknowledging_more_than_a_step_counts_the_rest(mut shop: Shop) {
    shop.flood().await;
    assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(1)).await.unwrap(), 1_099);
    assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(1_090)).await.unwrap(), 10);
    assert_eq!(shop.store.mailboxes.remove_acknowledged(10).await.unwrap(), 0, "nothing is left to remove");
    assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(7)).await.unwrap(), 10);
    assert_eq!(shop.pending_of(ALICE).await, 10);
}

/// As after a restore, which raises all sequences by a million.
async fn sequences_without_deliveries_are_skipped_at_once(mut shop: Shop) {
    shop.flood().await;
    let later = shop.now.plus(HOUR * 2);
    assert_eq!(shop.store.mailboxes.expire(later, RETENTION, 2_000).await.unwrap(), MANY);
    let lamp = shop.lamp(ALICE, 5).await;
    for _ in 0..2 {
        shop.act(BOB, buy(lamp, 1)).await.unwrap();
    }
    let claim = shop.first_claim().await;
    let verdict = Verdict::Delivered(Sequence(1_101));
    let settlement = Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict };
    assert_eq!(shop.store.mailboxes.settle(&[settlement]).await.unwrap(), [true]);
    assert_eq!(shop.store.mailboxes.remove_acknowledged(10).await.unwrap(), 0, "nothing is left to remove");
    assert_eq!(shop.pending_of(ALICE).await, 1);
}

async fn what_was_received_does_not_expire(mut shop: Shop) {
    shop.flood().await;
    let claim = shop.first_claim().await;
    let verdict = Verdict::Delivered(Sequence(1_090));
    let settlement = Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict };
    assert_eq!(shop.store.mailboxes.settle(&[settlement]).await.unwrap(), [true]);
    // A part of them is still to be removed.
    let later = shop.now.plus(HOUR * 2);
    assert_eq!(shop.store.mailboxes.expire(later, RETENTION, 2_000).await.unwrap(), 10);
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.dropped.orders, state.dead_letters, state.pending), (10, 10, 0));
}

async fn at_most_ten_thousand_events_are_counted_one_by_one(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 100_000).await;
    for _ in 0..3 {
        let commands: Vec<_> = (0..MAX_COUNTED / 3 + 1).map(|_| shop.command(BOB, buy(lamp, 1))).collect();
        shop.batch(&commands).await;
    }
    assert_eq!(shop.pending_of(ALICE).await, 10_002);
    let name = ConsumerName::parse("a").unwrap();
    let stream = ConsumerStream { recipient: party(ALICE), name, holder: Uuid::from_u128(1) };
    shop.store.consumers.open_consumer(&stream, shop.now, shop.now.plus(HOUR)).await.unwrap();
    // From now on the mailbox keeps what this consumer has.
    assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(1)).await.unwrap(), 10_000);
    assert_eq!(shop.pending_of(ALICE).await, 10_000);
    assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(3)).await.unwrap(), 9_999);
    assert_eq!(shop.pending_of(ALICE).await, 9_999);
}

async fn expired_deliveries_are_not_counted(mut shop: Shop) {
    shop.wished_and_repriced(3).await;
    while shop.store.mailboxes.expand(8).await.unwrap().more {}
    let later = shop.now.plus(HOUR * 2);
    assert_eq!(shop.store.mailboxes.expire(later, RETENTION, 2).await.unwrap(), 2);
    assert_eq!(shop.pending_of(BOB).await, 1);
    assert_eq!(shop.store.mailboxes.expire(later, RETENTION, 2).await.unwrap(), 1);
    assert_eq!(shop.pending_of(BOB).await, 0);
}

async fn expanded_events_are_deleted_once_no_delivery_refers_to_them(mut shop: Shop) {
    shop.wished_and_repriced(12).await;
    while shop.store.mailboxes.expand(8).await.unwrap().more {}
    let later = shop.now.plus(HOUR);
    assert_eq!(shop.store.mailboxes.forget_events(later, 100).await.unwrap(), 0);
    assert_eq!(shop.store.mailboxes.pending(party(BOB), Sequence(0), 100).await.unwrap().len(), 12);
    assert_eq!(shop.store.mailboxes.acknowledge(party(BOB), Sequence(10)).await.unwrap(), 2);
    assert_eq!(shop.store.mailboxes.forget_events(Timestamp(0), 100).await.unwrap(), 0, "not old enough");
    let mut steps = Vec::new();
    while steps.last() != Some(&0) {
        steps.push(shop.store.mailboxes.forget_events(later, 4).await.unwrap());
    }
    // The memory back end shares no events.
    let expected: &[usize] = if shop.keeps_shared_events() { &[4, 4, 2, 0] } else { &[0] };
    assert_eq!(steps, expected, "each step says how much it has deleted");
    assert_eq!(shop.store.mailboxes.pending(party(BOB), Sequence(0), 100).await.unwrap().len(), 2);
}

async fn event_that_is_not_expanded_yet_is_kept(mut shop: Shop) {
    shop.wished_and_repriced(2).await;
    assert_eq!(shop.store.mailboxes.forget_events(shop.now.plus(HOUR), 10).await.unwrap(), 0);
    while shop.store.mailboxes.expand(8).await.unwrap().more {}
    assert_eq!(shop.pending_of(BOB).await, 2);
}

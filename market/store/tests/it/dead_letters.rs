//! What mailboxes drop: counts, dead letters, and their redelivery.

use souk_domain::{Action, ConsumerName, DeadLetter, DeadLetterId, ItemId, Outcome, Role, Sequence, action};
use souk_store::{
    Claim, ConsumerStream, DeadLetterQuery, Dropped, MAX_DEAD_LETTERS, Missed, Retention, Verdict,
};
use uuid::Uuid;

use super::{ALICE, BOB, CAROL, DAVE, HOUR, Shop, buy, on_every_back_end, party, reprice};

on_every_back_end!(
    expired_deliveries_are_counted_and_orders_kept,
    report_of_missed_events_stands_until_it_is_confirmed,
    refused_order_is_kept_and_the_next_one_goes_out,
    refusals_of_probes_do_not_count,
    event_given_up_stays_for_named_consumers_and_dies_once,
    acknowledged_event_is_not_given_up,
    redelivered_event_is_new_in_the_mailbox_and_has_its_id,
    dead_letters_are_bounded_and_forgotten,
    mailboxes_are_listed_in_pages,
);

const RETENTION: Retention = Retention { updates: HOUR, orders: HOUR };

impl Shop {
    /// Puts orders into Alice's mailbox, in batches.
    async fn orders(&mut self, item: ItemId, count: usize) {
        let mut left = count;
        while left > 0 {
            let some = left.min(200);
            let commands: Vec<_> = (0..some).map(|_| self.command(BOB, buy(item, 1))).collect();
            assert!(self.batch(&commands).await.0.iter().all(Result::is_ok));
            left -= some;
        }
    }

    pub(super) async fn expire_all(&mut self) -> usize {
        self.now = self.now.plus(HOUR * 2);
        let mut dropped = 0;
        loop {
            match self.store.mailboxes.expire(self.now, RETENTION, 100).await.unwrap() {
                0 => return dropped,
                count => dropped += count,
            }
        }
    }

    pub(super) async fn letters(&self) -> Vec<DeadLetter> {
        let query = DeadLetterQuery { limit: 2_000, ..DeadLetterQuery::default() };
        self.store.dead_letters.dead_letters(&query).await.unwrap()
    }

    /// Opens a stream of a named consumer of Alice's mailbox.
    async fn consumer(&self, name: &str) -> ConsumerName {
        let name = ConsumerName::parse(name).unwrap();
        let stream =
            ConsumerStream { recipient: party(ALICE), name: name.clone(), holder: Uuid::from_u128(1) };
        self.store.consumers.open_consumer(&stream, self.now, self.now.plus(HOUR)).await.unwrap();
        name
    }

    /// Ends a claim with a refusal, after which the mailbox is due at once.
    async fn refuse(&self, claim: &Claim) -> bool {
        let reason = "an error".to_owned();
        self.settle(claim, Verdict::Refused { retry_at: self.now, reason, at: self.now }).await
    }

    /// Ends a claim by giving up the first event of the mailbox.
    async fn give_up(&self, claim: &Claim) -> bool {
        let reason = "an error".to_owned();
        self.settle(claim, Verdict::Dead { sequence: Sequence(1), reason, at: self.now }).await
    }

    /// Returns what a consumer of Alice's mailbox has missed and not confirmed.
    async fn missed(&self, name: Option<&str>) -> Dropped {
        self.report(name).await.news
    }

    async fn report(&self, name: Option<&str>) -> Missed {
        let name = name.map(|name| ConsumerName::parse(name).unwrap());
        self.store.dead_letters.missed(party(ALICE), name.as_ref()).await.unwrap()
    }

    async fn confirm(&self, name: Option<&str>, total: Dropped) {
        let name = name.map(|name| ConsumerName::parse(name).unwrap());
        self.store.dead_letters.confirm_missed(party(ALICE), name.as_ref(), total).await.unwrap();
    }
}

async fn expired_deliveries_are_counted_and_orders_kept(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 9).await;
    shop.orders(lamp, 2).await;
    shop.act(DAVE, Action::Wish(action::Wish { item: lamp })).await.unwrap();
    shop.act(ALICE, reprice(lamp, 999)).await.unwrap();
    while shop.store.mailboxes.expand(10).await.unwrap().more {}
    assert_eq!(shop.expire_all().await, 3);
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.pending, state.dead_letters), (0, 2));
    assert_eq!((state.dropped, state.last_dropped), (Dropped { orders: 2, updates: 0 }, Some(shop.now)));
    let daves = shop.store.mailboxes.state(party(DAVE)).await.unwrap().unwrap();
    assert_eq!((daves.dropped, daves.dead_letters), (Dropped { orders: 0, updates: 1 }, 0));
    let letters = shop.letters().await;
    assert!(letters.iter().all(|letter| letter.recipient == party(ALICE) && letter.died_at == shop.now));
    assert!(letters.len() == 2 && letters[0].id < letters[1].id && !letters[0].reason.is_empty());
    let page = DeadLetterQuery { recipient: Some(party(ALICE)), after: Some(letters[0].id), limit: 9 };
    assert_eq!(shop.store.dead_letters.dead_letters(&page).await.unwrap(), letters[1..]);
    let others = DeadLetterQuery { recipient: Some(party(CAROL)), ..page };
    assert_eq!(shop.store.dead_letters.dead_letters(&others).await.unwrap(), []);
    let ids = [letters[1].id, DeadLetterId(999), letters[0].id];
    assert_eq!(shop.store.dead_letters.dead_letters_by_id(&ids).await.unwrap(), letters);
}

async fn report_of_missed_events_stands_until_it_is_confirmed(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 9).await;
    shop.orders(lamp, 3).await;
    let name = shop.consumer("a").await;
    shop.with_callback(ALICE, Role::Seller).await;
    let consumers = &shop.store.consumers;
    consumers.acknowledge_consumer(party(ALICE), &name, Sequence(2), shop.now).await.unwrap();
    shop.expire_all().await;
    let orders = |orders| Dropped { orders, updates: 0 };
    for (name, missed) in [(Some("a"), 1), (None, 3), (Some("b"), 0)] {
        let report = Missed { news: orders(missed), total: orders(missed) };
        // The first answer may be lost.
        assert_eq!([shop.report(name).await, shop.report(name).await], [report; 2], "{name:?}");
        // From before the store was restored.
        shop.confirm(name, orders(9)).await;
        assert_eq!(shop.report(name).await, report, "{name:?}");
        shop.confirm(name, report.total).await;
        assert_eq!(shop.missed(name).await, Dropped::default(), "{name:?}");
    }
    shop.orders(lamp, 1).await;
    shop.expire_all().await;
    // A confirmation that is repeated, or comes late, covers no more than it did.
    shop.confirm(Some("a"), orders(1)).await;
    shop.confirm(None, orders(2)).await;
    assert_eq!(shop.report(Some("a")).await, Missed { news: orders(1), total: orders(2) });
    assert_eq!(shop.report(None).await, Missed { news: orders(1), total: orders(4) });
}

async fn refused_order_is_kept_and_the_next_one_goes_out(mut shop: Shop) {
    shop.with_callback(ALICE, Role::Seller).await;
    let lamp = shop.lamp(ALICE, 9).await;
    shop.orders(lamp, 2).await;
    let first = shop.now.plus(HOUR);
    for refusals in 0..3 {
        let claim = shop.claim(1, shop.now).await.remove(0);
        assert_eq!((claim.refusals, claim.failures), (refusals, refusals));
        assert_eq!(claim.refused_since, (refusals > 0).then_some(first), "the first of them");
        shop.now = shop.now.plus(HOUR);
        assert!(shop.refuse(&claim).await);
    }
    let claim = shop.claim(1, shop.now).await.remove(0);
    assert!(shop.give_up(&claim).await);
    let letters = shop.letters().await;
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "an error"));
    assert_eq!(letters[0].event, claim.deliveries[0].event);
    let next = shop.claim(1, shop.now).await.remove(0);
    assert_eq!((next.refusals, next.failures, next.deliveries[0].sequence), (0, 0, Sequence(2)));
    assert_eq!(next.refused_since, None);
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.dropped.orders, state.pending, state.acknowledged), (1, 1, 1));
}

async fn refusals_of_probes_do_not_count(mut shop: Shop) {
    shop.with_callback(ALICE, Role::Seller).await;
    let lamp = shop.lamp(ALICE, 9).await;
    shop.orders(lamp, 1).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    assert!(!claim.is_probe);
    let first = shop.now;
    let retry_at = shop.now.plus(HOUR);
    let refused = |at| Verdict::Refused { retry_at, reason: "an error".to_owned(), at };
    assert!(shop.settle(&claim, refused(first)).await);
    for _ in 0..3 {
        shop.now = shop.now.plus(HOUR / 9);
        assert!(shop.store.mailboxes.probe(party(ALICE), shop.now).await.unwrap());
        let probe = shop.claim(1, shop.now).await.remove(0);
        assert!(probe.is_probe);
        assert!(shop.settle(&probe, refused(shop.now)).await);
    }
    let claim = shop.claim(1, retry_at).await.remove(0);
    assert_eq!((claim.refusals, claim.refused_since, claim.is_probe), (1, Some(first), false));
}

async fn event_given_up_stays_for_named_consumers_and_dies_once(mut shop: Shop) {
    shop.with_callback(ALICE, Role::Seller).await;
    let lamp = shop.lamp(ALICE, 9).await;
    shop.orders(lamp, 2).await;
    shop.consumer("a").await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    assert!(shop.give_up(&claim).await);
    let (one, none) = (Dropped { orders: 1, updates: 0 }, Dropped::default());
    assert_eq!((shop.missed(Some("a")).await, shop.missed(None).await), (none, one));
    let sent = shop.store.mailboxes.hand_out(party(ALICE), Sequence(0), 9).await.unwrap();
    assert_eq!(sent, claim.deliveries, "the consumer has neither");
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.pending, state.dropped, state.dead_letters), (1, one, 1));
    // The first has died already, so that only the consumer misses it.
    let given_up = shop.now;
    assert_eq!(shop.expire_all().await, 2);
    let both = Dropped { orders: 2, updates: 0 };
    assert_eq!((shop.missed(Some("a")).await, shop.missed(None).await), (both, both));
    let letters = shop.letters().await;
    let events: Vec<_> = letters.iter().map(|letter| letter.event.clone()).collect();
    assert_eq!(events, claim.deliveries.iter().map(|sent| sent.event.clone()).collect::<Vec<_>>());
    assert_eq!((letters[0].died_at, letters[1].died_at), (given_up, shop.now));
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.pending, state.dropped.orders), (0, 2));
}

/// By a stream of the unnamed consumer, while the attempt was under way.
async fn acknowledged_event_is_not_given_up(mut shop: Shop) {
    shop.with_callback(ALICE, Role::Seller).await;
    let lamp = shop.lamp(ALICE, 9).await;
    shop.orders(lamp, 2).await;
    shop.consumer("a").await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    assert_eq!(shop.store.mailboxes.acknowledge(party(ALICE), Sequence(1)).await.unwrap(), 1);
    assert!(shop.give_up(&claim).await);
    assert_eq!((shop.letters().await, shop.missed(None).await), (vec![], Dropped::default()));
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.dropped, state.last_dropped), (Dropped::default(), None));
}

async fn redelivered_event_is_new_in_the_mailbox_and_has_its_id(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 9).await;
    shop.orders(lamp, 2).await;
    shop.expire_all().await;
    let letters = shop.letters().await;
    let redeliver = Action::Redeliver(action::Redeliver { letters: vec![letters[0].clone()] });
    assert_eq!(shop.act(99, redeliver).await.unwrap(), Outcome::Redelivered(1));
    assert_eq!(shop.letters().await, letters[1..]);
    let pending = shop.store.mailboxes.pending(party(ALICE), Sequence(0), 10).await.unwrap();
    assert_eq!((pending.len(), pending[0].sequence), (1, Sequence(3)));
    assert_eq!(pending[0].event, letters[0].event);
    // Its retention begins again.
    assert_eq!(shop.store.mailboxes.expire(shop.now, RETENTION, 10).await.unwrap(), 0);
    assert_eq!(shop.expire_all().await, 1);
    assert_eq!(shop.letters().await.last().unwrap().event, letters[0].event);
}

async fn dead_letters_are_bounded_and_forgotten(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 2_000).await;
    shop.orders(lamp, MAX_DEAD_LETTERS + 5).await;
    assert_eq!(shop.expire_all().await, MAX_DEAD_LETTERS + 5);
    assert_eq!(shop.letters().await.len(), MAX_DEAD_LETTERS);
    let dead_letters = &shop.store.dead_letters;
    assert_eq!(dead_letters.forget_dead_letters(shop.now, 100).await.unwrap(), 0);
    let later = shop.now.plus(HOUR);
    assert_eq!(dead_letters.forget_dead_letters(later, 100).await.unwrap(), 100);
    assert_eq!(shop.letters().await.len(), MAX_DEAD_LETTERS - 100);
}

async fn mailboxes_are_listed_in_pages(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 9).await;
    shop.orders(lamp, 2).await;
    let dead_letters = &shop.store.dead_letters;
    let first = dead_letters.mailboxes(None, false, 2).await.unwrap();
    let owners: Vec<_> = first.iter().map(|record| record.owner).collect();
    assert_eq!(owners, [party(ALICE), party(CAROL)]);
    assert_eq!((first[0].role, first[0].state.pending), (Role::Seller, 2));
    assert_eq!(Some(&first[0].state), shop.store.mailboxes.state(party(ALICE)).await.unwrap().as_ref());
    let rest = dead_letters.mailboxes(Some(party(CAROL)), false, 9).await.unwrap();
    let owners: Vec<_> = rest.iter().map(|record| (record.owner, record.role)).collect();
    assert_eq!(owners, [(party(BOB), Role::Buyer), (party(DAVE), Role::Buyer)]);
    assert_eq!(dead_letters.mailboxes(None, true, 9).await.unwrap(), first[..1]);
}

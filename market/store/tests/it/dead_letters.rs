//! What mailboxes drop: counts, dead letters, and their redelivery.

use souk_domain::{Action, ConsumerName, DeadLetter, DeadLetterId, ItemId, Outcome, Role, Sequence, action};
use souk_store::{ConsumerStream, DeadLetterQuery, Dropped, MAX_DEAD_LETTERS, Retention, Verdict};
use uuid::Uuid;

use super::{ALICE, BOB, CAROL, DAVE, HOUR, Shop, buy, on_every_back_end, party, reprice};

on_every_back_end!(
    expired_deliveries_are_counted_and_orders_kept,
    consumer_hears_once_of_what_it_missed,
    refused_order_is_kept_and_the_next_one_goes_out,
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

    async fn expire_all(&mut self) -> usize {
        self.now = self.now.plus(HOUR * 2);
        let mut dropped = 0;
        loop {
            match self.store.mailboxes.expire(self.now, RETENTION, 100).await.unwrap() {
                0 => return dropped,
                count => dropped += count,
            }
        }
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        let query = DeadLetterQuery { limit: 2_000, ..DeadLetterQuery::default() };
        self.store.dead_letters.dead_letters(&query).await.unwrap()
    }

    async fn missed(&self, name: Option<&str>) -> Dropped {
        let name = name.map(|name| ConsumerName::parse(name).unwrap());
        self.store.dead_letters.take_missed(party(ALICE), name.as_ref()).await.unwrap()
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

async fn consumer_hears_once_of_what_it_missed(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 9).await;
    shop.orders(lamp, 3).await;
    let name = ConsumerName::parse("a").unwrap();
    let stream = ConsumerStream { recipient: party(ALICE), name: name.clone(), holder: Uuid::from_u128(1) };
    let consumers = &shop.store.consumers;
    consumers.open_consumer(&stream, shop.now, shop.now.plus(HOUR)).await.unwrap();
    shop.with_callback(ALICE, Role::Seller).await;
    let consumers = &shop.store.consumers;
    consumers.acknowledge_consumer(party(ALICE), &name, Sequence(2), shop.now).await.unwrap();
    shop.expire_all().await;
    assert_eq!(shop.missed(Some("a")).await, Dropped { orders: 1, updates: 0 });
    assert_eq!(shop.missed(None).await, Dropped { orders: 3, updates: 0 });
    for name in [Some("a"), None, Some("b")] {
        assert_eq!(shop.missed(name).await, Dropped::default(), "{name:?}");
    }
}

async fn refused_order_is_kept_and_the_next_one_goes_out(mut shop: Shop) {
    shop.with_callback(ALICE, Role::Seller).await;
    let lamp = shop.lamp(ALICE, 9).await;
    shop.orders(lamp, 2).await;
    for refusals in 0..3 {
        let claim = shop.claim(1, shop.now).await.remove(0);
        assert_eq!((claim.refusals, claim.failures), (refusals, refusals));
        shop.now = shop.now.plus(HOUR);
        let reason = "an error".to_owned();
        assert!(shop.settle(&claim, Verdict::Refused { retry_at: shop.now, reason }).await);
    }
    let claim = shop.claim(1, shop.now).await.remove(0);
    let reason = "an error".to_owned();
    let dead = Verdict::Dead { sequence: Sequence(1), reason, at: shop.now };
    assert!(shop.settle(&claim, dead).await);
    let letters = shop.letters().await;
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "an error"));
    assert_eq!(letters[0].event, claim.deliveries[0].event);
    let next = shop.claim(1, shop.now).await.remove(0);
    assert_eq!((next.refusals, next.failures, next.deliveries[0].sequence), (0, 0, Sequence(2)));
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.dropped.orders, state.pending, state.acknowledged), (1, 1, 1));
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

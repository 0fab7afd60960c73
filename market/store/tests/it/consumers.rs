//! Named consumers: each gets every event, under a cursor and a lease of its own.

use souk_domain::{ConsumerName, Role, Sequence};
use souk_store::{ConsumerOpening, ConsumerRemoval, ConsumerStream, LeaseEpoch, MAX_CONSUMERS, Verdict};
use uuid::Uuid;

use super::{ALICE, BOB, CAROL, HOUR, Shop, buy, on_every_back_end, owner, party};

on_every_back_end!(
    each_consumer_gets_every_event,
    callback_and_named_consumer_each_get_every_event,
    unnamed_stream_counts_for_seven_days,
    new_name_starts_with_everything_in_the_mailbox,
    name_is_held_by_one_client_at_a_time,
    clients_own_later_stream_replaces_its_earlier_one,
    ninth_consumer_is_refused,
    consumer_that_is_not_seen_is_dropped,
    removed_consumer_holds_nothing_back,
    unassigned_sequence_and_unknown_name_acknowledge_nothing,
);

const DAY: u32 = 24;

fn named(name: &str) -> ConsumerName {
    ConsumerName::parse(name).unwrap()
}

fn stream(number: u128, name: &str, holder: u128) -> ConsumerStream {
    ConsumerStream { recipient: party(number), name: named(name), holder: Uuid::from_u128(holder) }
}

impl Shop {
    async fn open_as(&self, name: &str, holder: u128) -> ConsumerOpening {
        let (now, until) = (self.now, self.now.plus(HOUR));
        self.store.consumers.open_consumer(&stream(ALICE, name, holder), now, until).await.unwrap()
    }

    async fn held(&self, name: &str, holder: u128) -> (LeaseEpoch, i64) {
        match self.open_as(name, holder).await {
            ConsumerOpening::Held { epoch, acknowledged, .. } => (epoch, acknowledged.0),
            other => panic!("{other:?}"),
        }
    }

    async fn acknowledge_as(&self, name: &str, through: i64) -> Option<i64> {
        let consumers = &self.store.consumers;
        consumers.acknowledge_consumer(party(ALICE), &named(name), Sequence(through), self.now).await.unwrap()
    }

    async fn in_alices_mailbox(&self) -> Vec<i64> {
        let sent = self.store.mailboxes.hand_out(party(ALICE), Sequence(0), 100).await.unwrap();
        sent.iter().map(|delivery| delivery.sequence.0).collect()
    }

    /// Puts three orders into Alice's mailbox, without a callback.
    async fn three_orders(&mut self) {
        let lamp = self.lamp(ALICE, 10).await;
        for _ in 0..3 {
            self.act(BOB, buy(lamp, 1)).await.unwrap();
        }
    }
}

async fn each_consumer_gets_every_event(mut shop: Shop) {
    shop.three_orders().await;
    shop.held("a", 1).await;
    shop.held("b", 2).await;
    assert_eq!(shop.acknowledge_as("a", 3).await, Some(0));
    assert_eq!(shop.in_alices_mailbox().await, [1, 2, 3], "b has none of them yet");
    assert_eq!(shop.acknowledge_as("b", 2).await, Some(1));
    assert_eq!(shop.in_alices_mailbox().await, [3]);
    assert_eq!(shop.acknowledge_as("b", 1).await, Some(1), "a late acknowledgement moves nothing back");
    let states = shop.store.consumers.consumers(party(ALICE)).await.unwrap();
    let states: Vec<_> =
        states.iter().map(|state| (state.name.as_str(), state.acknowledged, state.pending)).collect();
    assert_eq!(states, [("a", 3, 0), ("b", 2, 1)]);
    assert_eq!(shop.acknowledge_as("b", 3).await, Some(0));
    assert!(shop.in_alices_mailbox().await.is_empty());
}

async fn callback_and_named_consumer_each_get_every_event(mut shop: Shop) {
    shop.with_callback(ALICE, Role::Seller).await;
    shop.three_orders().await;
    shop.held("a", 1).await;
    shop.acknowledge_as("a", 3).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    assert_eq!(claim.deliveries.len(), 3, "the callback has none of them yet");
    assert!(shop.settle(&claim, Verdict::Delivered(Sequence(2))).await);
    assert_eq!(shop.in_alices_mailbox().await, [3]);
    shop.held("late", 2).await;
    let claim = shop.claim(1, shop.now).await.remove(0);
    assert!(shop.settle(&claim, Verdict::Delivered(Sequence(3))).await);
    // The event stays for the named consumer, and the callback gets it no second time.
    assert_eq!(shop.in_alices_mailbox().await, [3]);
    assert!(shop.claim(1, shop.now.plus(HOUR)).await.is_empty());
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!((state.pending, state.oldest, state.next_attempt), (0, None, None));
    shop.acknowledge_as("late", 3).await;
    assert!(shop.in_alices_mailbox().await.is_empty());
}

async fn unnamed_stream_counts_for_seven_days(mut shop: Shop) {
    shop.three_orders().await;
    let until = shop.now.plus(HOUR);
    let claim = shop.store.mailboxes.take_over(party(ALICE), owner(1), until).await.unwrap().unwrap();
    assert!(shop.settle(&claim, Verdict::Released).await);
    shop.held("a", 1).await;
    shop.now = shop.now.plus(HOUR * (6 * DAY));
    assert_eq!(shop.acknowledge_as("a", 3).await, Some(0));
    assert_eq!(shop.in_alices_mailbox().await, [1, 2, 3], "the unnamed consumer may come back");
    shop.now = shop.now.plus(HOUR * (2 * DAY));
    assert_eq!(shop.acknowledge_as("a", 3).await, Some(0));
    assert!(shop.in_alices_mailbox().await.is_empty());
}

async fn new_name_starts_with_everything_in_the_mailbox(mut shop: Shop) {
    shop.three_orders().await;
    assert_eq!(shop.held("a", 1).await.1, 0);
    shop.acknowledge_as("a", 2).await;
    assert_eq!(shop.in_alices_mailbox().await, [3], "nobody else consumes");
    assert_eq!(shop.held("b", 2).await.1, 0);
    shop.acknowledge_as("a", 3).await;
    assert_eq!(shop.in_alices_mailbox().await, [3]);
    // A name continues where it stopped.
    assert_eq!(shop.held("a", 1).await.1, 3);
    let stranger = stream(99, "a", 1);
    let opened = shop.store.consumers.open_consumer(&stranger, shop.now, shop.now.plus(HOUR)).await.unwrap();
    assert_eq!(opened, ConsumerOpening::NoMailbox);
}

async fn name_is_held_by_one_client_at_a_time(mut shop: Shop) {
    shop.three_orders().await;
    let (epoch, _) = shop.held("a", 1).await;
    assert_eq!(shop.open_as("a", 2).await, ConsumerOpening::Guest { last_sequence: Sequence(3) });
    shop.store.consumers.release_consumer(&stream(ALICE, "a", 1), epoch).await.unwrap();
    shop.held("a", 2).await;
    // The lease of a client that has vanished runs out.
    shop.now = shop.now.plus(HOUR * 2);
    shop.held("a", 3).await;
}

async fn clients_own_later_stream_replaces_its_earlier_one(shop: Shop) {
    let (first, _) = shop.held("a", 1).await;
    let (second, _) = shop.held("a", 1).await;
    assert!(second > first);
    let (consumers, until) = (&shop.store.consumers, shop.now.plus(HOUR * 2));
    assert!(!consumers.renew_consumer(&stream(ALICE, "a", 1), first, until).await.unwrap());
    consumers.release_consumer(&stream(ALICE, "a", 1), first).await.unwrap();
    assert_eq!(shop.open_as("a", 2).await, ConsumerOpening::Guest { last_sequence: Sequence(0) });
    assert!(consumers.renew_consumer(&stream(ALICE, "a", 1), second, until).await.unwrap());
}

async fn ninth_consumer_is_refused(shop: Shop) {
    let names: Vec<_> = (1..MAX_CONSUMERS).map(|number| format!("c{number}")).collect();
    for name in &names {
        shop.held(name, 1).await;
    }
    match shop.open_as("one-more", 1).await {
        ConsumerOpening::Full(full) => {
            assert_eq!(full.iter().map(ConsumerName::as_str).collect::<Vec<_>>(), names)
        }
        other => panic!("{other:?}"),
    }
    shop.held("c1", 1).await;
    let carols = stream(CAROL, "one-more", 1);
    let opened = shop.store.consumers.open_consumer(&carols, shop.now, shop.now.plus(HOUR)).await.unwrap();
    assert!(matches!(opened, ConsumerOpening::Held { .. }), "each mailbox has its own");
}

async fn consumer_that_is_not_seen_is_dropped(mut shop: Shop) {
    shop.three_orders().await;
    shop.held("gone", 1).await;
    shop.held("a", 2).await;
    shop.acknowledge_as("a", 3).await;
    shop.now = shop.now.plus(HOUR * DAY);
    let (epoch, _) = shop.held("a", 2).await;
    let before = shop.now.minus(HOUR);
    assert_eq!(shop.store.consumers.drop_consumers(before, 100).await.unwrap(), 1);
    let until = shop.now.plus(HOUR);
    assert!(shop.store.consumers.renew_consumer(&stream(ALICE, "a", 2), epoch, until).await.unwrap());
    shop.acknowledge_as("a", 3).await;
    assert!(shop.in_alices_mailbox().await.is_empty());
    assert_eq!(shop.acknowledge_as("gone", 3).await, None);
}

async fn removed_consumer_holds_nothing_back(mut shop: Shop) {
    shop.three_orders().await;
    let (lost, _) = shop.held("lost", 1).await;
    shop.held("a", 2).await;
    shop.acknowledge_as("a", 2).await;
    let remove = async |shop: &Shop, name| {
        let consumers = &shop.store.consumers;
        consumers.remove_consumer(party(ALICE), &named(name), shop.now).await.unwrap()
    };
    assert_eq!(remove(&shop, "lost").await, ConsumerRemoval::Connected);
    assert_eq!(shop.in_alices_mailbox().await, [1, 2, 3]);
    shop.store.consumers.release_consumer(&stream(ALICE, "lost", 1), lost).await.unwrap();
    assert_eq!(remove(&shop, "lost").await, ConsumerRemoval::Removed);
    assert_eq!(shop.in_alices_mailbox().await, [3], "a has the others");
    assert_eq!(remove(&shop, "lost").await, ConsumerRemoval::Unknown);
    assert_eq!(shop.acknowledge_as("lost", 3).await, None);
    // Its lease has run out: the machine is gone.
    shop.now = shop.now.plus(HOUR * 2);
    assert_eq!(remove(&shop, "a").await, ConsumerRemoval::Removed);
    assert_eq!(shop.in_alices_mailbox().await, [3], "what nobody has waits for the next consumer");
    assert_eq!(shop.held("lost", 1).await.1, 0, "a new one");
}

async fn unassigned_sequence_and_unknown_name_acknowledge_nothing(mut shop: Shop) {
    shop.three_orders().await;
    shop.held("a", 1).await;
    assert_eq!(shop.acknowledge_as("a", 4).await, Some(3));
    assert_eq!(shop.acknowledge_as("b", 3).await, None);
    assert_eq!(shop.in_alices_mailbox().await, [1, 2, 3]);
}

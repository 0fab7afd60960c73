//! What waits in the store, for metrics.

use souk_domain::{Action, ConsumerName, Role, Timestamp, action};
use souk_store::{Backlogs, ByReliability, ConsumerStream, DueQuery, Retention, Settlement, Verdict};
use uuid::Uuid;

use super::{ALICE, BOB, DAVE, HOUR, Shop, buy, on_every_back_end, owner, party, reprice};

on_every_back_end!(
    empty_store_has_no_backlog,
    events_to_expand_and_deliveries_are_counted_with_their_age,
    dead_letters_and_consumers_are_counted,
    only_mailboxes_whose_callback_answers_are_overdue,
);

impl Shop {
    async fn backlogs(&self) -> Backlogs {
        let mut found = self.store.upkeep.backlogs(self.now).await.unwrap();
        // Depends on the back end: how its audit log is stored.
        found.audit_entries = 0;
        found
    }

    async fn bought_one(&mut self) -> Timestamp {
        let lamp = self.lamp(ALICE, 5).await;
        self.act(BOB, buy(lamp, 1)).await.unwrap();
        self.now
    }
}

async fn empty_store_has_no_backlog(shop: Shop) {
    assert_eq!(shop.backlogs().await, Backlogs::default());
}

async fn events_to_expand_and_deliveries_are_counted_with_their_age(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    shop.act(BOB, Action::Wish(action::Wish { item: lamp })).await.unwrap();
    shop.act(DAVE, Action::Wish(action::Wish { item: lamp })).await.unwrap();
    shop.act(ALICE, reprice(lamp, 900)).await.unwrap();
    let first = shop.now;
    shop.act(ALICE, reprice(lamp, 800)).await.unwrap();
    let waiting = Backlogs { fan_outs: 2, oldest_fan_out: Some(first), ..Backlogs::default() };
    assert_eq!(shop.backlogs().await, waiting);
    while shop.store.mailboxes.expand(1).await.unwrap().more {}
    let second = shop.now;
    let placed = shop.bought_one().await;
    shop.bought_one().await;
    let waiting = Backlogs {
        orders: 2,
        oldest_order: Some(placed),
        updates: 2,
        oldest_update: Some(second),
        ..Backlogs::default()
    };
    assert_eq!(shop.backlogs().await, waiting);
}

async fn dead_letters_and_consumers_are_counted(mut shop: Shop) {
    shop.bought_one().await;
    shop.now = shop.now.plus(HOUR * 2);
    let retention = Retention { updates: HOUR, orders: HOUR };
    assert_eq!(shop.store.mailboxes.expire(shop.now, retention, 10).await.unwrap(), 1);
    let name = ConsumerName::parse("screen").unwrap();
    let stream = ConsumerStream { recipient: party(ALICE), name, holder: Uuid::from_u128(7) };
    shop.store.consumers.open_consumer(&stream, shop.now, shop.now.plus(HOUR)).await.unwrap();
    assert_eq!(shop.backlogs().await, Backlogs { dead_letters: 1, consumers: 1, ..Backlogs::default() });
}

async fn only_mailboxes_whose_callback_answers_are_overdue(mut shop: Shop) {
    shop.with_callback(ALICE, Role::Seller).await;
    shop.bought_one().await;
    assert_eq!(shop.backlogs().await.overdue_since, None, "nothing was received there yet");
    let mailboxes = ByReliability::each(1);
    let query = DueQuery { owner: owner(1), now: shop.now, lease: HOUR, mailboxes, deliveries: 64 };
    let claim = shop.store.mailboxes.claim_due(&query).await.unwrap().remove(0);
    let verdict = Verdict::Delivered(claim.last_sequence);
    let settlement = Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict };
    assert_eq!(shop.store.mailboxes.settle(&[settlement]).await.unwrap(), [true]);
    assert_eq!(shop.backlogs().await.overdue_since, None, "it has everything");
    let due = shop.bought_one().await;
    shop.now = shop.now.plus(HOUR);
    assert_eq!(shop.backlogs().await.overdue_since, Some(due));
    let query = DueQuery { now: shop.now, ..query };
    shop.store.mailboxes.claim_due(&query).await.unwrap();
    assert_eq!(shop.backlogs().await.overdue_since, None, "it is being delivered");
}

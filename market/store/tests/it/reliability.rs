//! Mailboxes are claimed by how their callbacks have behaved, and those with orders first.

use souk_domain::{Action, Callback, DisplayName, Role, Sequence, action};
use souk_store::{ByReliability, Claim, DueQuery, Reliability, Settlement, Verdict};

use super::{ALICE, BOB, CAROL, HOUR, Shop, buy, on_every_back_end, owner, party, reprice};

on_every_back_end!(
    callback_is_proven_by_success_and_failing_after_a_failure,
    registering_the_same_callback_proves_nothing,
    each_kind_of_callback_is_claimed_up_to_its_own_number,
    orders_are_claimed_before_item_updates,
    long_overdue_updates_do_not_wait_for_orders,
);

impl Shop {
    async fn claims(&self, mailboxes: ByReliability) -> Vec<Claim> {
        let query = DueQuery { owner: owner(1), now: self.now, lease: HOUR, mailboxes, deliveries: 64 };
        self.store.mailboxes.claim_due(&query).await.unwrap()
    }

    async fn ended(&self, claim: &Claim, verdict: Verdict) {
        let settlement = Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict };
        assert_eq!(self.store.mailboxes.settle(&[settlement]).await.unwrap(), [true]);
    }

    fn failed(&self) -> Verdict {
        Verdict::Failed { retry_at: self.now, reason: "no answer".to_owned() }
    }

    async fn registered_at(&mut self, number: u128, port: u16) {
        let callback = Some(Callback { host: "192.0.2.7".into(), port });
        let display_name = DisplayName::parse(&format!("party {number} at a port")).unwrap();
        let role = Role::Seller;
        self.act(number, Action::Register(action::Register { role, display_name, callback })).await.unwrap();
    }

    /// Claims Alice's mailbox, which must count as the given kind, and ends the claim.
    async fn attempt(&self, expected: Reliability, verdict: Verdict) {
        let claim = self.claims(ByReliability::each(9)).await.remove(0);
        assert_eq!(claim.reliability, expected);
        self.ended(&claim, verdict).await;
    }
}

async fn callback_is_proven_by_success_and_failing_after_a_failure(mut shop: Shop) {
    shop.with_callback(ALICE, Role::Seller).await;
    let lamp = shop.lamp(ALICE, 90).await;
    for _ in 0..9 {
        shop.act(BOB, buy(lamp, 1)).await.unwrap();
    }
    shop.attempt(Reliability::Unproven, shop.failed()).await;
    shop.attempt(Reliability::Failing, Verdict::Delivered(Sequence(1))).await;
    shop.attempt(Reliability::Proven, Verdict::Delivered(Sequence(2))).await;
    shop.attempt(Reliability::Proven, Verdict::Released).await;
    shop.attempt(Reliability::Proven, shop.failed()).await;
    // An acknowledgement shows that the party is there, but nothing about its callback.
    shop.store.mailboxes.acknowledge(party(ALICE), Sequence(3)).await.unwrap();
    shop.attempt(Reliability::Unproven, Verdict::Delivered(Sequence(4))).await;
    shop.store.mailboxes.acknowledge(party(ALICE), Sequence(5)).await.unwrap();
    shop.attempt(Reliability::Proven, shop.failed()).await;
    // Otherwise it would wait for the slots of all callbacks that are gone.
    assert!(shop.store.mailboxes.probe(party(ALICE), shop.now).await.unwrap());
    shop.attempt(Reliability::Unproven, Verdict::Delivered(Sequence(6))).await;
    assert!(shop.store.mailboxes.probe(party(ALICE), shop.now).await.unwrap());
    shop.attempt(Reliability::Proven, Verdict::Released).await;
}

async fn registering_the_same_callback_proves_nothing(mut shop: Shop) {
    shop.registered_at(ALICE, 7_444).await;
    let lamp = shop.lamp(ALICE, 90).await;
    for _ in 0..9 {
        shop.act(BOB, buy(lamp, 1)).await.unwrap();
    }
    shop.attempt(Reliability::Unproven, Verdict::Delivered(Sequence(1))).await;
    shop.registered_at(ALICE, 7_444).await;
    shop.attempt(Reliability::Proven, shop.failed()).await;
    shop.registered_at(ALICE, 7_444).await;
    shop.attempt(Reliability::Unproven, Verdict::Delivered(Sequence(2))).await;
    shop.registered_at(ALICE, 7_445).await;
    shop.attempt(Reliability::Unproven, Verdict::Released).await;
}

async fn each_kind_of_callback_is_claimed_up_to_its_own_number(mut shop: Shop) {
    for seller in [ALICE, CAROL] {
        shop.with_callback(seller, Role::Seller).await;
        let lamp = shop.lamp(seller, 5).await;
        for _ in 0..2 {
            shop.act(BOB, buy(lamp, 1)).await.unwrap();
        }
    }
    let only = |kind: Reliability, number: usize| match kind {
        Reliability::Proven => ByReliability { proven: number, ..Default::default() },
        Reliability::Unproven => ByReliability { unproven: number, ..Default::default() },
        Reliability::Failing => ByReliability { failing: number, ..Default::default() },
    };
    assert_eq!(shop.store.mailboxes.due(shop.now).await.unwrap(), only(Reliability::Unproven, 2));
    assert!(shop.claims(only(Reliability::Proven, 9)).await.is_empty());
    let first = shop.claims(only(Reliability::Unproven, 1)).await;
    assert_eq!(first.len(), 1);
    shop.ended(&first[0], Verdict::Delivered(Sequence(1))).await;
    // One is proven and one is not.
    let due = ByReliability { proven: 1, unproven: 1, failing: 0 };
    assert_eq!(shop.store.mailboxes.due(shop.now).await.unwrap(), due);
    let both = shop.claims(ByReliability::each(1)).await;
    assert_eq!(
        both.iter().map(|claim| claim.reliability).collect::<Vec<_>>(),
        [Reliability::Proven, Reliability::Unproven]
    );
    shop.ended(&both[1], shop.failed()).await;
    let later = shop.now.plus(HOUR * 2);
    let next = async |slots| shop.store.mailboxes.next_due(slots, later).await.unwrap();
    assert_eq!(next(only(Reliability::Failing, 1)).await, Some(shop.now));
    assert_eq!(next(only(Reliability::Proven, 1)).await, Some(shop.now.plus(HOUR)), "the end of the lease");
    assert_eq!(next(only(Reliability::Unproven, 1)).await, None);
}

async fn orders_are_claimed_before_item_updates(mut shop: Shop) {
    shop.with_callback(BOB, Role::Buyer).await;
    shop.with_callback(ALICE, Role::Seller).await;
    let lamp = shop.lamp(ALICE, 5).await;
    shop.act(BOB, Action::Wish(action::Wish { item: lamp })).await.unwrap();
    shop.act(ALICE, reprice(lamp, 900)).await.unwrap();
    while shop.store.mailboxes.expand(8).await.unwrap().more {}
    // Later, but an order.
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    let claims = shop.claims(ByReliability::each(1)).await;
    assert_eq!(claims.iter().map(|claim| claim.recipient).collect::<Vec<_>>(), [party(ALICE)]);
    shop.ended(&claims[0], Verdict::Delivered(Sequence(1))).await;
    let claims = shop.claims(ByReliability::each(1)).await;
    assert_eq!(claims.iter().map(|claim| claim.recipient).collect::<Vec<_>>(), [party(BOB)]);
}

async fn long_overdue_updates_do_not_wait_for_orders(mut shop: Shop) {
    shop.with_callback(BOB, Role::Buyer).await;
    shop.with_callback(ALICE, Role::Seller).await;
    let lamp = shop.lamp(ALICE, 5).await;
    shop.act(BOB, Action::Wish(action::Wish { item: lamp })).await.unwrap();
    shop.act(ALICE, reprice(lamp, 900)).await.unwrap();
    while shop.store.mailboxes.expand(8).await.unwrap().more {}
    shop.now = shop.now.plus(HOUR / 10);
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    let claims = shop.claims(ByReliability::each(1)).await;
    assert_eq!(claims.iter().map(|claim| claim.recipient).collect::<Vec<_>>(), [party(BOB)]);
}

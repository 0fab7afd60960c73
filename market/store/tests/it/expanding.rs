//! Expansion of events for wishers: only what somebody waits for, many in a transaction, fair between sellers.

use souk_domain::{Action, EventKind, ItemId, PartyId, action};

use super::{ALICE, BOB, CAROL, DAVE, Shop, on_every_back_end, party, reprice};

on_every_back_end!(
    update_that_nobody_wishes_for_is_not_queued,
    wish_of_the_same_batch_counts,
    many_events_are_expanded_in_one_transaction,
    bulk_change_of_one_seller_does_not_delay_another,
    queued_updates_of_an_item_become_one_delivery_of_the_last_version,
    event_whose_wishers_have_gone_is_dropped,
);

fn wish(item: ItemId) -> Action {
    Action::Wish(action::Wish { item })
}

impl Shop {
    async fn lamps(&mut self, seller: u128, count: usize, wisher: u128) -> Vec<ItemId> {
        let mut lamps = Vec::new();
        for _ in 0..count {
            let lamp = self.lamp(seller, 5).await;
            self.act(wisher, wish(lamp)).await.unwrap();
            lamps.push(lamp);
        }
        lamps
    }

    async fn reprice_all(&mut self, seller: u128, items: &[ItemId]) {
        let commands: Vec<_> = items.iter().map(|item| self.command(seller, reprice(*item, 900))).collect();
        self.batch(&commands).await;
    }

    async fn step(&self, limit: usize) -> (Vec<PartyId>, bool) {
        let step = self.store.mailboxes.expand(limit).await.unwrap();
        (step.recipients, step.more)
    }
}

async fn update_that_nobody_wishes_for_is_not_queued(mut shop: Shop) {
    let (plain, wished) = (shop.lamp(ALICE, 5).await, shop.lamp(ALICE, 5).await);
    shop.act(BOB, wish(wished)).await.unwrap();
    let command = shop.command(ALICE, reprice(plain, 900));
    let (_, receipt) = shop.batch(&[command]).await;
    assert!(!receipt.unwrap().needs_expansion);
    assert_eq!(shop.step(8).await, (vec![], false));
    let commands = [shop.command(ALICE, reprice(plain, 800)), shop.command(ALICE, reprice(wished, 800))];
    let (_, receipt) = shop.batch(&commands).await;
    assert!(receipt.unwrap().needs_expansion);
    assert_eq!(shop.step(8).await, (vec![party(BOB)], false));
}

async fn wish_of_the_same_batch_counts(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    let commands = [shop.command(BOB, wish(lamp)), shop.command(ALICE, reprice(lamp, 900))];
    shop.batch(&commands).await;
    assert_eq!(shop.step(8).await, (vec![party(BOB)], false));
}

async fn many_events_are_expanded_in_one_transaction(mut shop: Shop) {
    let lamps = shop.lamps(ALICE, 20, BOB).await;
    shop.reprice_all(ALICE, &lamps).await;
    assert_eq!(shop.step(16).await, (vec![party(BOB); 16], true), "bounded by its deliveries");
    assert_eq!(shop.step(16).await, (vec![party(BOB); 4], false));
}

async fn bulk_change_of_one_seller_does_not_delay_another(mut shop: Shop) {
    for (busy, quiet) in [(ALICE, CAROL), (CAROL, ALICE)] {
        let lamps = shop.lamps(busy, 40, BOB).await;
        let single = shop.lamps(quiet, 1, DAVE).await;
        shop.reprice_all(busy, &lamps).await;
        shop.reprice_all(quiet, &single).await;
        let (recipients, more) = shop.step(4).await;
        assert!(more);
        assert!(recipients.contains(&party(DAVE)), "{recipients:?}");
        assert!(recipients.contains(&party(BOB)), "{recipients:?}");
        // A step of a single delivery also gets to the other seller in its turn.
        while shop.step(8).await.1 {}
        shop.act(ALICE, reprice(lamps[0], 500)).await.ok();
        shop.act(CAROL, reprice(lamps[0], 500)).await.ok();
        shop.act(quiet, reprice(single[0], 500)).await.unwrap();
        let (first, second) = (shop.step(1).await.0, shop.step(1).await.0);
        assert_eq!(first.len() + second.len(), 2);
        assert_ne!(first, second);
        while shop.step(8).await.1 {}
    }
}

async fn queued_updates_of_an_item_become_one_delivery_of_the_last_version(mut shop: Shop) {
    let lamp = shop.lamps(ALICE, 1, BOB).await[0];
    for price in [900, 800, 700] {
        shop.act(ALICE, reprice(lamp, price)).await.unwrap();
    }
    while shop.step(8).await.1 {}
    let pending = shop.store.mailboxes.pending(party(BOB), souk_domain::Sequence(0), 10).await.unwrap();
    assert_eq!(pending.len(), 1);
    let EventKind::ItemUpdated { item, previous_price, .. } = &pending[0].event.kind else { panic!() };
    assert_eq!((item.version, previous_price.unwrap().amount_minor()), (4, 1_250));
    assert_eq!(pending[0].sequence.0, 3, "a sequence for each event, whether or not it is merged");
}

async fn event_whose_wishers_have_gone_is_dropped(mut shop: Shop) {
    let lamps = shop.lamps(ALICE, 3, BOB).await;
    shop.reprice_all(ALICE, &lamps).await;
    for lamp in lamps {
        shop.act(BOB, Action::Unwish(action::Unwish { item: lamp })).await.unwrap();
    }
    assert_eq!(shop.step(2).await, (vec![], true), "they cost as much as a delivery");
    assert_eq!(shop.step(2).await, (vec![], false));
}

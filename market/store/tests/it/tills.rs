//! Tills: saved together with the effects of their lines, each with a separate mailbox.

use souk_domain::{
    Action, EventKind, ItemId, ItemRef, LineAnswer, LineChange, LineOutcome, LinePrint, Outcome, PartyId,
    Sequence, StockChange, Till, TillId, TillLine, TillName, action,
};

use super::{ALICE, BOB, CAROL, HOUR, Shop, buy, on_every_back_end, owner, party};

on_every_back_end!(
    till_is_opened_once_and_found_again,
    lines_and_their_till_are_saved_together,
    sales_are_pending_in_the_tills_own_mailbox,
    removed_till_gets_no_events_and_its_sequences_continue,
);

fn name() -> TillName {
    TillName::parse("shop").unwrap()
}

fn mailbox(seller: u128) -> PartyId {
    TillId::of(party(seller), &name()).mailbox()
}

async fn open(shop: &mut Shop, seller: u128) -> Till {
    match shop.act(seller, Action::OpenTill(action::OpenTill { till: name() })).await.unwrap() {
        Outcome::Till(till) => till,
        other => panic!("{other:?}"),
    }
}

async fn sync(shop: &mut Shop, item: ItemId, numbers: std::ops::RangeInclusive<i64>) -> Vec<LineAnswer> {
    let change = LineChange { item: ItemRef::Id(item), stock: StockChange::By(1) };
    let line = |number| TillLine { number, print: LinePrint(u64::MAX), asks: Ok(change.clone()) };
    let action = Action::Sync(action::Sync { till: name(), lines: numbers.map(line).collect() });
    match shop.act(ALICE, action).await.unwrap() {
        Outcome::Synced(answers) => answers,
        other => panic!("{other:?}"),
    }
}

async fn till_is_opened_once_and_found_again(mut shop: Shop) {
    let first = open(&mut shop, ALICE).await;
    assert_eq!(open(&mut shop, ALICE).await, first);
    open(&mut shop, CAROL).await;
    assert_eq!(shop.store.reads.tills(party(ALICE)).await.unwrap(), std::slice::from_ref(&first));
    let alice = shop.store.reads.party(party(ALICE)).await.unwrap().unwrap();
    assert_eq!(alice.tills, [first.id]);
}

async fn lines_and_their_till_are_saved_together(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    open(&mut shop, ALICE).await;
    sync(&mut shop, lamp, 1..=3).await;
    let again = sync(&mut shop, lamp, 2..=4).await;
    let repeated: Vec<_> = again.iter().map(|answer| answer.repeated).collect();
    assert_eq!(repeated, [true, true, false]);
    assert_eq!(again[0].outcome, LineOutcome::Stock { item: lamp, quantity: 7, version: 3 });
    let till = shop.store.reads.tills(party(ALICE)).await.unwrap().remove(0);
    let item = shop.store.reads.item(lamp).await.unwrap().unwrap();
    assert_eq!((till.last_line, till.recent.len(), item.quantity), (4, 4, 9));
}

async fn sales_are_pending_in_the_tills_own_mailbox(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    open(&mut shop, ALICE).await;
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    let mailboxes = &shop.store.mailboxes;
    let claim = mailboxes.take_over(mailbox(ALICE), owner(1), shop.now.plus(HOUR)).await.unwrap().unwrap();
    assert_eq!((claim.callback, claim.last_sequence), (None, Sequence(2)));
    let waiting = mailboxes.pending(mailbox(ALICE), Sequence(0), 10).await.unwrap();
    let is_sale = |kind: &EventKind| matches!(kind, EventKind::OrderPlaced { .. });
    assert!(
        waiting.len() == 2 && waiting.iter().all(|delivery| is_sale(&delivery.event.kind)),
        "{waiting:?}"
    );
    // The seller's own mailbox has them as well, and the two are acknowledged separately.
    assert_eq!(mailboxes.acknowledge(mailbox(ALICE), Sequence(2)).await.unwrap(), 0);
    assert_eq!(mailboxes.state(party(ALICE)).await.unwrap().unwrap().pending, 2);
    assert_eq!(mailboxes.state(mailbox(ALICE)).await.unwrap().unwrap().acknowledged, 2);
}

async fn removed_till_gets_no_events_and_its_sequences_continue(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    open(&mut shop, ALICE).await;
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    shop.act(ALICE, Action::RemoveTill(action::RemoveTill { till: name() })).await.unwrap();
    assert_eq!(shop.store.reads.tills(party(ALICE)).await.unwrap(), []);
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    assert_eq!(shop.store.mailboxes.state(mailbox(ALICE)).await.unwrap().unwrap().last_sequence, 1);
    assert_eq!(open(&mut shop, ALICE).await.last_line, 0);
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    assert_eq!(shop.store.mailboxes.state(mailbox(ALICE)).await.unwrap().unwrap().last_sequence, 2);
}

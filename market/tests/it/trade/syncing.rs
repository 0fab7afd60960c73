//! SyncInventory: a till and the market keep their stock in sync over one bidirectional stream.

use souk_client::{TillNotice, till};
use souk_proto::{
    Reason,
    v1::{
        self, SyncLine, event::Kind, sync_acknowledgement::Result as SyncResult,
        sync_inventory_request::Message, sync_inventory_response::Message as Answer,
    },
};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    fixture::{Fixture, PATIENCE, Party, call, draft, eventually, on_every_store, reason},
    till::{Raw, by, hello, raw, refused_for, stock, to},
};

on_every_store!(
    till_sends_lines_and_gets_sales_on_one_stream,
    repeated_line_takes_effect_once_and_gets_its_first_answer,
    wrong_lines_are_reported_and_the_others_take_effect,
    stream_resumes_where_both_sides_left_off,
    unacknowledged_sale_is_delivered_again,
    later_stream_of_a_till_ends_the_earlier_one,
    lines_before_a_broken_message_take_effect_and_are_acknowledged,
    stream_without_a_good_hello_is_refused,
    tills_are_listed_and_removed_and_belong_to_their_seller,
    suspended_seller_tills_are_cut_off,
    long_history_of_lines_passes_through_the_window,
);

async fn next(notices: &mut mpsc::Receiver<TillNotice>) -> TillNotice {
    timeout(PATIENCE, notices.recv()).await.expect("a notice in time").expect("an open stream")
}

async fn till_sends_lines_and_gets_sales_on_one_stream(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    alice.sell(v1::ItemDraft { sku: Some("C-1".into()), ..draft("Chair", "home", 1, 5) }).await.unwrap();
    let (till, mut notices) = till::open(alice.connection.clone(), "shop".into(), 0);
    assert!(matches!(next(&mut notices).await, TillNotice::Resumed { last_line: 0 }));
    assert!(matches!(next(&mut notices).await, TillNotice::CaughtUp { sequence: 0 }));
    till.send(by(1, lamp, -2)).await.unwrap();
    till.send(to(2, "C-1", 40)).await.unwrap();
    for (line, quantity) in [(1, 3), (2, 40)] {
        match next(&mut notices).await {
            TillNotice::Acknowledged(answer) => {
                assert_eq!((answer.line, answer.repeated, stock(&answer)), (line, false, quantity));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 3);
    let order = bob.buy(lamp, 1).await.unwrap();
    match next(&mut notices).await {
        TillNotice::Event(event) => match event.kind {
            Some(Kind::OrderPlaced(placed)) => {
                assert_eq!((placed.order, placed.remaining_quantity), (Some(order.clone()), 2));
                till.take_in(event.sequence);
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    call!(bob, CancelOrderRequest { order_id: order.order_id }).unwrap();
    match next(&mut notices).await {
        TillNotice::Event(v1::Event { kind: Some(Kind::OrderCancelled(cancelled)), sequence: 2, .. }) => {
            assert_eq!(cancelled.remaining_quantity, 3);
        }
        other => panic!("{other:?}"),
    }
    till.take_in(2);
    drop(till);
    assert!(matches!(next(&mut notices).await, TillNotice::Done));
    let listed = call!(alice, ListTillsRequest {}).unwrap().tills;
    assert_eq!((listed.len(), listed[0].last_line, listed[0].pending_count), (1, 2, 0));
}

async fn repeated_line_takes_effect_once_and_gets_its_first_answer(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(5).await;
    let (mut shop, _) = Raw::begin(&alice, 0).await;
    let first = shop.answers_to(vec![by(1, lamp, 2), by(2, lamp, -100)]).await;
    let again = shop.answers_to(vec![by(1, lamp, 2), by(2, lamp, -100)]).await;
    for (first, again) in first.iter().zip(&again) {
        assert_eq!((first.repeated, again.repeated, &first.result), (false, true, &again.result));
    }
    assert_eq!(refused_for(&again[1]), "STOCK_OUT_OF_RANGE");
    // The same number for another line.
    let other = shop.answers_to(vec![by(1, lamp, 3)]).await;
    assert_eq!((refused_for(&other[0]), other[0].repeated), ("LINE_REUSED", false));
    assert_eq!(alice.item(lamp).await.unwrap().quantity, 7);
}

async fn wrong_lines_are_reported_and_the_others_take_effect(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let (lamp, foreign, gone) = (alice.lamp(5).await, carol.lamp(5).await, alice.lamp(5).await);
    alice.delete(gone).await.unwrap();
    let (mut shop, _) = Raw::begin(&alice, 0).await;
    let nothing = SyncLine { line: 3, item: None, change: None };
    let lines = vec![
        by(1, foreign, 1),
        by(2, gone, 1),
        nothing,
        to(4, "no such", 1),
        to(5, "x", -1),
        by(6, lamp, 0),
        by(7, lamp, i64::MAX),
        by(8, lamp, 1),
        by(10, lamp, 1),
        by(9, lamp, 1),
    ];
    let answers = shop.answers_to(lines).await;
    let refused: Vec<_> = answers[..7].iter().map(refused_for).collect();
    let (not_found, invalid) = ("ITEM_NOT_FOUND", "INVALID_FIELD");
    assert_eq!(refused, [not_found, not_found, invalid, not_found, invalid, invalid, "STOCK_OUT_OF_RANGE"]);
    // Another seller's item is answered like one that does not exist.
    let (Some(SyncResult::Error(others)), Some(SyncResult::Error(gone))) =
        (&answers[0].result, &answers[1].result)
    else {
        panic!("{answers:?}")
    };
    assert_eq!(
        others.message.replace(&foreign.to_string(), ""),
        gone.message.replace(&gone_number(&gone.message), "")
    );
    assert_eq!(
        (stock(&answers[7]), refused_for(&answers[8]), stock(&answers[9])),
        (6, "LINE_OUT_OF_ORDER", 7)
    );
    match &answers[8].result {
        Some(SyncResult::Error(error)) => assert!(error.message.contains("line 9 is expected"), "{error:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(carol.item(foreign).await.unwrap().quantity, 5);
}

fn gone_number(message: &str) -> String {
    message.chars().filter(char::is_ascii_digit).collect()
}

async fn stream_resumes_where_both_sides_left_off(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let (mut shop, last_line) = Raw::begin(&alice, 0).await;
    assert_eq!(last_line, 0);
    shop.answers_to(vec![by(1, lamp, 1), by(2, lamp, 1)]).await;
    bob.buy(lamp, 1).await.unwrap();
    let seen = shop.next_event().await.sequence;
    // The till disconnects, and sales continue.
    drop(shop);
    bob.buy(lamp, 2).await.unwrap();
    let (mut shop, last_line) = Raw::begin(&alice, seen).await;
    assert_eq!(last_line, 2);
    match shop.next_event().await {
        v1::Event { kind: Some(Kind::OrderPlaced(placed)), sequence, .. } => {
            assert_eq!((placed.remaining_quantity, sequence), (4, seen + 1));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(shop.next().await, Some(Answer::CaughtUp(caught_up)) if caught_up.sequence == seen + 1));
    assert_eq!(stock(&shop.answers_to(vec![by(3, lamp, 1)]).await[0]), 5);
}

async fn unacknowledged_sale_is_delivered_again(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    let (mut shop, _) = Raw::begin(&alice, 0).await;
    bob.buy(lamp, 1).await.unwrap();
    bob.buy(lamp, 1).await.unwrap();
    let (first, second) = (shop.next_event().await, shop.next_event().await);
    shop.send(Message::TakenIn(v1::SyncTakenIn { sequence: first.sequence }));
    eventually("the first was taken out", || async {
        call!(alice, ListTillsRequest {}).unwrap().tills[0].pending_count == 1
    })
    .await;
    drop(shop);
    let (mut shop, _) = Raw::begin(&alice, 0).await;
    assert_eq!(shop.next_event().await, second);
    // The seller's own mailbox is independent of the till's.
    assert_eq!(alice.pending().await, 2);
}

async fn later_stream_of_a_till_ends_the_earlier_one(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (mut first, _) = Raw::begin(&alice, 0).await;
    let _second = Raw::begin(&alice, 0).await;
    let ended = first.failure(&alice.connection).await;
    assert_eq!(reason::<()>(Err(ended)), Reason::StreamReplaced);
}

async fn lines_before_a_broken_message_take_effect_and_are_acknowledged(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(5).await;
    let broken = [hello("shop", 0), Message::TakenIn(v1::SyncTakenIn { sequence: -1 })];
    for (number, last) in broken.into_iter().enumerate() {
        let line = number as i64 + 1;
        // A line that was not taken must not be acknowledged.
        let early = Message::Line(by(1_000, lamp, 1));
        let messages = vec![hello("shop", 0), Message::Line(by(line, lamp, 1)), early, last];
        let mut shop = raw(&alice.connection, messages).await.unwrap();
        let ended = shop.failure(&alice.connection).await;
        let kept = format!("the lines up to {line} were applied");
        assert!(ended.to_string().contains(&kept), "{ended}");
        assert_eq!(reason::<()>(Err(ended)), Reason::InvalidField);
        assert_eq!(alice.item(lamp).await.unwrap().quantity, 5 + line);
    }
}

async fn stream_without_a_good_hello_is_refused(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    for first in [Message::Line(by(1, 1, 1)), hello("Not A Name", 0), hello("shop", -1)] {
        assert_eq!(reason(raw(&alice.connection, vec![first]).await.map(|_| ())), Reason::InvalidField);
    }
    let buyers = raw(&bob.connection, vec![hello("shop", 0)]).await;
    assert_eq!(reason(buyers.map(|_| ())), Reason::RoleDenied);
    let stranger = fixture.stranger(souk_certs::identity::Role::Seller, "dora").await;
    let unregistered = raw(&stranger.connection, vec![hello("shop", 0)]).await;
    assert_eq!(reason(unregistered.map(|_| ())), Reason::NotRegistered);
    assert_eq!(call!(alice, ListTillsRequest {}).unwrap().tills, []);
}

async fn tills_are_listed_and_removed_and_belong_to_their_seller(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let lamp = alice.lamp(5).await;
    let (mut shop, _) = Raw::begin(&alice, 0).await;
    shop.answers_to(vec![by(1, lamp, 1)]).await;
    let remove = async |seller: &Party| call!(seller, RemoveTillRequest { till: "shop".into() });
    assert_eq!(reason(remove(&carol).await), Reason::TillNotFound);
    remove(&alice).await.unwrap();
    assert_eq!(reason(remove(&alice).await), Reason::TillNotFound);
    // The removal ends its stream.
    let ended = shop.failure(&alice.connection).await;
    assert!(ended.to_string().contains("the lines up to 1 were applied"), "{ended}");
    assert_eq!(reason::<()>(Err(ended)), Reason::TillNotFound);
    // If it is opened again, its lines start from the beginning.
    let (_shop, last_line) = Raw::begin(&alice, 0).await;
    assert_eq!(last_line, 0);
}

async fn suspended_seller_tills_are_cut_off(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (mut shop, _) = Raw::begin(&alice, 0).await;
    let olga = fixture.stranger(souk_certs::identity::Role::Operator, "olga").await;
    call!(olga, SuspendRequest { party_id: alice.id(), reason: "why".into() }).unwrap();
    let ended = shop.failure(&alice.connection).await;
    assert_eq!(reason::<()>(Err(ended)), Reason::AccountSuspended);
}

async fn long_history_of_lines_passes_through_the_window(fixture: &Fixture) {
    const LINES: i64 = 1_000;
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(1).await;
    let (till, mut notices) = till::open(alice.connection.clone(), "shop".into(), 0);
    let sender = tokio::spawn(async move {
        for line in 1..=LINES {
            till.send(by(line, lamp, 1)).await.unwrap();
        }
    });
    let mut answered = 0;
    loop {
        match next(&mut notices).await {
            TillNotice::Acknowledged(answer) => {
                answered += 1;
                assert_eq!((answer.line, stock(&answer)), (answered, answered + 1));
            }
            TillNotice::Done => break,
            TillNotice::Resumed { .. } | TillNotice::CaughtUp { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    sender.await.unwrap();
    assert_eq!((answered, alice.item(lamp).await.unwrap().quantity), (LINES, LINES + 1));
}

//! A till that stops reading its stream: the windows fill up in both directions, and then the till is
//! removed. The windows are the same on every store, so the tests run on one.

use souk_client::{TillNotice, till};
use souk_proto::{
    Reason,
    v1::{self, sync_inventory_request::Message},
};
use souk_testkit::local::StoreKind;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    fixture::{Fixture, PATIENCE, Party, call, draft, reason},
    till::{Raw, by},
};

/// The orders per request, and the number of requests: more events than a till may hold and than all queues
/// together.
const BASKET: usize = 100;
const BASKETS: usize = 30;
/// A character of four bytes, for names that make events as large as possible.
const WIDE: &str = "\u{1f3ee}";

/// Creates a seller with enough items, and a buyer, all with names of the maximum length.
async fn wordy(fixture: &Fixture) -> (Party, Vec<i64>, Party) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    // Names are unique, so each has a letter of its own.
    alice.register_as_seller(&format!("{}a", WIDE.repeat(99))).await.unwrap();
    call!(bob, RegisterBuyerRequest { display_name: format!("{}b", WIDE.repeat(99)) }).unwrap();
    let mut lamps = Vec::new();
    for _ in 0..BASKET {
        lamps.push(alice.sell(draft(&WIDE.repeat(200), "home/light", 1_250, 1_000)).await.unwrap().item_id);
    }
    (alice, lamps, bob)
}

async fn sell_many(bob: &Party, lamps: &[i64]) {
    for _ in 0..BASKETS {
        let line =
            |item_id: &i64| v1::OrderLine { item_id: *item_id, quantity: 1, expected_unit_price: None };
        call!(bob, PlaceOrderRequest { lines: lamps.iter().map(line).collect() }).unwrap();
    }
}

async fn remove(alice: &Party, till: &str) {
    call!(alice, RemoveTillRequest { till: till.into() }).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_answered_while_a_tills_window_is_full_and_no_sale_is_lost() {
    let fixture = Fixture::open(StoreKind::Memory).await;
    const LINES: i64 = 4 * till::WINDOW as i64;
    /// The number of sales that are acknowledged together.
    const AT_ONCE: usize = 300;
    let (alice, lamps, bob) = wordy(&fixture).await;
    let (till, mut notices) = till::open(alice.connection.clone(), "shop".to_owned(), 0);
    assert!(matches!(next(&mut notices).await, TillNotice::Resumed { .. }));
    sell_many(&bob, &lamps).await;
    let sender = tokio::spawn(async move {
        for line in 1..=LINES {
            till.send(by(line, lamps[0], 1)).await.unwrap();
        }
        till
    });
    let (mut sequences, mut answered) = (Vec::new(), 0);
    while answered < LINES || sequences.len() < till::MAX_HANDED_OUT {
        match next(&mut notices).await {
            TillNotice::Event(event) => sequences.push(event.sequence),
            TillNotice::Acknowledged(answer) => {
                answered += 1;
                assert_eq!((answer.line, answer.repeated), (answered, false));
            }
            TillNotice::CaughtUp { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sequences.len(), till::MAX_HANDED_OUT, "no more is handed out");
    let till = sender.await.unwrap();
    while sequences.len() < BASKETS * BASKET {
        if sequences.len() == till::MAX_HANDED_OUT || sequences.len() % AT_ONCE == 0 {
            till.take_in(sequences[sequences.len() - 1]);
        }
        match next(&mut notices).await {
            TillNotice::Event(event) => sequences.push(event.sequence),
            // Events that were skipped arrive by another stream.
            TillNotice::Resumed { last_line: LINES } | TillNotice::CaughtUp { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sequences, (1..=(BASKETS * BASKET) as i64).collect::<Vec<_>>(), "each once, and in order");
    drop(till);
    while !matches!(next(&mut notices).await, TillNotice::Done) {}
    fixture.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_till_that_does_not_read_is_notified_once_it_reads() {
    let fixture = Fixture::open(StoreKind::Memory).await;
    let (alice, lamps, bob) = wordy(&fixture).await;
    let (mut shop, _) = Raw::begin(&alice, 0).await;
    for line in 1..=till::WINDOW as i64 {
        shop.send(Message::Line(by(line, lamps[0], 1)));
    }
    sell_many(&bob, &lamps).await;
    remove(&alice, "shop").await;
    let ended = shop.failure(&alice.connection).await;
    assert!(ended.to_string().contains("the lines up to 64 were applied"), "{ended}");
    assert_eq!(reason::<()>(Err(ended)), Reason::TillNotFound);
    fixture.close().await;
}

async fn next(notices: &mut mpsc::Receiver<TillNotice>) -> TillNotice {
    timeout(PATIENCE, notices.recv()).await.expect("a notice in time").expect("a last notice")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_till_with_full_windows_is_notified() {
    let fixture = Fixture::open(StoreKind::Memory).await;
    let (alice, lamps, bob) = wordy(&fixture).await;
    for (name, is_closed) in [("closed", true), ("open", false)] {
        let (till, mut notices) = till::open(alice.connection.clone(), name.to_owned(), 0);
        assert!(matches!(next(&mut notices).await, TillNotice::Resumed { .. }));
        sell_many(&bob, &lamps).await;
        let mut held = Vec::new();
        while held.len() < till::MAX_HANDED_OUT {
            if let TillNotice::Event(event) = next(&mut notices).await {
                held.push(event.sequence);
            }
        }
        // The stream is not read any more: a full window of lines is in flight, and one more waits.
        for line in 1..=till::WINDOW as i64 + 1 {
            till.send(by(line, lamps[0], 1)).await.unwrap();
        }
        remove(&alice, name).await;
        let till = if is_closed {
            drop(till);
            None
        } else {
            till.take_in(held[held.len() - 1]);
            Some(till)
        };
        let ended = loop {
            match next(&mut notices).await {
                TillNotice::Ended(failure) => break failure,
                TillNotice::Acknowledged(_) | TillNotice::Event(_) | TillNotice::CaughtUp { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(reason::<()>(Err(ended)), Reason::TillNotFound);
        drop(till);
        assert_eq!(call!(alice, ListTillsRequest {}).unwrap().tills, [], "it is not opened again");
    }
    fixture.close().await;
}

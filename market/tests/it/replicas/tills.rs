//! A till that switches between two markets on one database: its lines take effect once and it gets every
//! sale, whichever it is connected to.

use std::collections::HashSet;

use souk_certs::identity::Role;
use souk_proto::{
    Reason,
    v1::{self, SyncAcknowledgement, event::Kind, sync_inventory_request::Message},
};
use tokio::time::timeout;

use super::SECOND;
use crate::{
    fixture::{Fixture, Party, call, eventually, reason},
    till::{Raw, by, stock},
};

with_two_markets!(
    till_lines_take_effect_once_after_a_switch_to_the_other_market,
    removed_tills_stream_ends_at_the_other_market,
    sale_is_delivered_once_to_the_till_at_the_other_market,
);

/// The numbers of lines that are answered before the till switches, in flight while it does, and sent only
/// after it.
const ANSWERED: i64 = 20;
const UNANSWERED: i64 = 20;
const NEW: i64 = 10;

async fn till_lines_take_effect_once_after_a_switch_to_the_other_market(fixture: &Fixture, beside: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(1).await;
    let bob = fixture.buyer("bob").await;
    let there = beside.known(Role::Seller, "alice").await;
    let lines =
        |numbers: std::ops::RangeInclusive<i64>| numbers.map(|line| by(line, lamp, 1)).collect::<Vec<_>>();
    let (mut first, _) = Raw::begin(&alice, 0).await;
    let answers = first.answers_to(lines(1..=ANSWERED)).await;
    assert!(answers.iter().all(|answer| !answer.repeated));

    // These are in flight at one market while the till, which has no answers to them, starts at the other.
    for line in lines(ANSWERED + 1..=ANSWERED + UNANSWERED) {
        first.send(Message::Line(line));
    }
    let (mut second, last_line) = Raw::begin(&there, 0).await;
    let ended = timeout(SECOND, first.failure(&alice.connection)).await.expect("within a second");
    assert_eq!(reason::<()>(Err(ended)), Reason::StreamReplaced);
    assert!((ANSWERED..=ANSWERED + UNANSWERED).contains(&last_line), "{last_line}");
    let all = ANSWERED + UNANSWERED + NEW;
    let answers = second.answers_to(lines(ANSWERED + 1..=all)).await;
    // Each line took effect at the market that received it first, with the stock at that moment.
    let stocks: Vec<_> = answers.iter().map(|answer| (answer.line, stock(answer))).collect();
    assert_eq!(stocks, (ANSWERED + 1..=all).map(|line| (line, line + 1)).collect::<Vec<_>>());
    let is_new = |answer: &&SyncAcknowledgement| answer.line > ANSWERED + UNANSWERED;
    assert!(answers.iter().filter(is_new).all(|answer| !answer.repeated));
    assert_eq!(alice.item(lamp).await.unwrap().quantity, 1 + all);

    // A sale at the market that the till left reaches it at the one that it is connected to.
    let order = bob.buy(lamp, 1).await.unwrap();
    let sale = timeout(SECOND, second.next_event()).await.expect("within a second");
    assert_eq!((sold(&sale).order_id, sale.sequence), (order.order_id, 1));
}

async fn removed_tills_stream_ends_at_the_other_market(fixture: &Fixture, beside: &Fixture) {
    let alice = fixture.seller("alice").await;
    let there = beside.known(Role::Seller, "alice").await;
    let (mut shop, _) = Raw::begin(&there, 0).await;
    call!(alice, RemoveTillRequest { till: "shop".into() }).unwrap();
    let ended = timeout(SECOND, shop.failure(&there.connection)).await.expect("within a second");
    assert_eq!(reason::<()>(Err(ended)), Reason::TillNotFound);
}

async fn sale_is_delivered_once_to_the_till_at_the_other_market(fixture: &Fixture, beside: &Fixture) {
    const SALES: i64 = 10;
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(100).await;
    let (bob, dave) = (beside.buyer("bob").await, fixture.buyer("dave").await);
    let (mut shop, _) = Raw::begin(&alice, 0).await;
    let mut ids = HashSet::new();
    for sequence in 1..=SALES {
        let order = bob.buy(lamp, 1).await.unwrap();
        let sale = timeout(SECOND, shop.next_event()).await.expect("within a second");
        assert_eq!((sold(&sale).order_id, sale.sequence), (order.order_id, sequence));
        ids.insert(sale.event_id);
    }
    // The next event is a sale at its own market, so none was repeated in between.
    let order = dave.buy(lamp, 1).await.unwrap();
    let last = shop.next_event().await;
    assert_eq!((sold(&last).order_id, last.sequence), (order.order_id, SALES + 1));
    ids.insert(last.event_id);
    assert_eq!(ids.len() as i64, SALES + 1, "each is an event of its own");
    // Events that were acknowledged at one market are not delivered again by either.
    shop.send(Message::TakenIn(v1::SyncTakenIn { sequence: last.sequence }));
    eventually("the event is confirmed", || async { pending(&alice).await == 0 }).await;
    let (mut shop, _) = Raw::begin(&beside.known(Role::Seller, "alice").await, 0).await;
    let order = dave.buy(lamp, 1).await.unwrap();
    assert_eq!(sold(&shop.next_event().await).order_id, order.order_id);
}

fn sold(event: &v1::Event) -> &v1::Order {
    match &event.kind {
        Some(Kind::OrderPlaced(placed)) => placed.order.as_ref().unwrap(),
        other => panic!("not a sale: {other:?}"),
    }
}

async fn pending(seller: &Party) -> i64 {
    call!(seller, ListTillsRequest {}).unwrap().tills[0].pending_count
}

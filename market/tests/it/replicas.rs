//! Two markets on one database: what is done at one takes effect at the other.

use std::time::Duration;

use souk_certs::identity::Role;
use souk_proto::{
    Reason,
    v1::{self, subscribe_response::Message, watch_search_response::Message as Watched},
};
use tokio::time::{Instant, timeout};

use crate::{
    fixture::{Fixture, PATIENCE, Party, call, draft, eventually, reason},
    several::at,
};

/// The time after which a change must be visible at every market.
const SECOND: Duration = Duration::from_secs(1);

macro_rules! with_two_markets {
    ($($name:ident),+ $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if souk_testkit::postgres::is_there() {
                    let fixture = crate::fixture::Fixture::on_postgres().await;
                    let beside = fixture.beside().await;
                    super::$name(&fixture, &beside).await;
                    beside.close().await;
                    fixture.close().await;
                }
            })+
        }
    };
}

mod tills;

with_two_markets!(
    token_of_one_market_is_valid_at_the_other,
    stock_is_sold_once_across_both,
    request_is_carried_out_once_across_both,
    listing_is_found_at_the_other_market_within_a_second,
    own_writes_at_either_are_in_the_next_search_at_both,
    watched_search_reports_changes_at_the_other_market,
    stream_delivers_purchases_at_the_other_market,
    stream_at_the_other_market_replaces_this_one,
    suspension_takes_effect_at_the_other_market_within_a_second,
    account_changed_at_one_market_is_shown_by_the_other_within_a_second,
    market_that_joins_late_finds_everything,
);

async fn token_of_one_market_is_valid_at_the_other(fixture: &Fixture, beside: &Fixture) {
    let bob = fixture.buyer("bob").await;
    let there = beside.known(Role::Buyer, "bob").await;
    let here = call!(bob, WhoAmIRequest {}).unwrap();
    let answer = call!(there, WhoAmIRequest {}).unwrap();
    assert_eq!(answer.account, here.account);
}

async fn stock_is_sold_once_across_both(fixture: &Fixture, beside: &Fixture) {
    const STOCK: i64 = 40;
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(STOCK).await;
    let bob = fixture.buyer("bob").await;
    let there = beside.known(Role::Buyer, "bob").await;
    let buy_all = async |buyer: &Party| {
        let mut bought = 0;
        while buyer.buy(lamp, 1).await.is_ok() {
            bought += 1;
        }
        bought
    };
    let (here, elsewhere) = tokio::join!(buy_all(&bob), buy_all(&there));
    assert_eq!(here + elsewhere, STOCK);
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 0);
}

async fn request_is_carried_out_once_across_both(fixture: &Fixture, beside: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(100).await;
    let bob = fixture.buyer("bob").await;
    let there = beside.known(Role::Buyer, "bob").await;
    for _ in 0..10 {
        let id = bob.request_id();
        let (one, other) = tokio::join!(bob.buy_as(id.clone(), lamp, 1), there.buy_as(id, lamp, 1));
        assert_eq!(one.unwrap(), other.unwrap());
    }
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 90);
}

async fn listing_is_found_at_the_other_market_within_a_second(fixture: &Fixture, beside: &Fixture) {
    let alice = fixture.seller("alice").await;
    let there = beside.buyer("bob").await;
    alice.lamp(1).await;
    let listed = Instant::now();
    while there.search("lamp", "").await.is_empty() {
        assert!(listed.elapsed() < SECOND, "it is not found in time");
    }
}

/// Concurrent calls are balanced over both markets.
async fn own_writes_at_either_are_in_the_next_search_at_both(fixture: &Fixture, beside: &Fixture) {
    const ROUNDS: usize = 12;
    fixture.seller("alice").await;
    let alice =
        at(fixture, [fixture, beside].map(|fixture| fixture.market.address()), Role::Seller, "alice").await;
    for round in 1..=ROUNDS {
        alice.lamp(1).await;
        let (one, other) = tokio::join!(alice.search("lamp", ""), alice.search("lamp", ""));
        assert_eq!((one.len(), other.len()), (round, round));
    }
}

async fn watched_search_reports_changes_at_the_other_market(fixture: &Fixture, beside: &Fixture) {
    let alice = fixture.seller("alice").await;
    let bob = beside.buyer("bob").await;
    let request = v1::WatchSearchRequest { query: "lamp".into(), ..Default::default() };
    let mut watched = bob.connection.catalog().watch_search(request).await.unwrap().into_inner();
    let next = async |watched: &mut tonic::Streaming<v1::WatchSearchResponse>| {
        timeout(PATIENCE, watched.message()).await.expect("in time").unwrap().unwrap().message.unwrap()
    };
    assert!(matches!(next(&mut watched).await, Watched::Synced(_)));
    let lamp = alice.sell(draft("Lamp", "home", 100, 1)).await.unwrap();
    let Watched::Change(change) = next(&mut watched).await else { panic!("no change") };
    assert_eq!(change.item.unwrap().item_id, lamp.item_id);
}

/// Opens an event stream that has caught up.
async fn followed(party: &Party) -> tonic::Streaming<v1::SubscribeResponse> {
    let request = v1::SubscribeRequest::default();
    let mut stream = party.connection.events().subscribe(request).await.unwrap().into_inner();
    loop {
        let message = timeout(PATIENCE, stream.message()).await.expect("in time").unwrap().unwrap();
        if matches!(message.message, Some(Message::CaughtUp(_))) {
            return stream;
        }
    }
}

async fn stream_delivers_purchases_at_the_other_market(fixture: &Fixture, beside: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(5).await;
    let bob = beside.buyer("bob").await;
    let mut stream = followed(&alice).await;
    for sequence in 1..=3 {
        bob.buy(lamp, 1).await.unwrap();
        let message = timeout(SECOND, stream.message()).await.expect("within a second").unwrap().unwrap();
        assert!(matches!(message.message, Some(Message::Event(event)) if event.sequence == sequence));
    }
}

async fn stream_at_the_other_market_replaces_this_one(fixture: &Fixture, beside: &Fixture) {
    let bob = fixture.buyer("bob").await;
    let there = beside.known(Role::Buyer, "bob").await;
    let mut first = followed(&bob).await;
    let mut second = followed(&there).await;
    let ended = timeout(SECOND, first.message()).await.expect("within a second").unwrap_err();
    assert_eq!(Reason::of(&ended), Some(Reason::StreamReplaced));
    call!(bob, TestEventRequest { text: "hello".into() }).unwrap();
    let message = timeout(PATIENCE, second.message()).await.expect("in time").unwrap().unwrap();
    assert!(matches!(message.message, Some(Message::Event(_))));
}

async fn suspension_takes_effect_at_the_other_market_within_a_second(fixture: &Fixture, beside: &Fixture) {
    let bob = fixture.buyer("bob").await;
    let there = beside.known(Role::Buyer, "bob").await;
    call!(there, WhoAmIRequest {}).unwrap();
    let mut stream = followed(&there).await;
    let olga = fixture.stranger(Role::Operator, "olga").await;
    call!(olga, SuspendRequest { party_id: bob.id(), reason: "tests".into() }).unwrap();
    let ended = timeout(SECOND, stream.message()).await.expect("within a second").unwrap_err();
    assert_eq!(Reason::of(&ended), Some(Reason::AccountSuspended));
    assert_eq!(reason(call!(there, WhoAmIRequest {})), Reason::AccountSuspended);
    call!(olga, ReinstateRequest { party_id: bob.id() }).unwrap();
    let is_in = || async { call!(there, WhoAmIRequest {}).is_ok() };
    eventually("he is let in again everywhere", is_in).await;
}

async fn account_changed_at_one_market_is_shown_by_the_other_within_a_second(
    fixture: &Fixture,
    beside: &Fixture,
) {
    let alice = fixture.seller("alice").await;
    let there = beside.known(Role::Seller, "alice").await;
    let name = || async { call!(there, WhoAmIRequest {}).unwrap().account.unwrap().display_name };
    assert_eq!(name().await, "alice");
    alice.register_as_seller("Alice & Daughters").await.unwrap();
    let changed = Instant::now();
    while name().await == "alice" {
        // Counted from the change, so what was read before it is too old by now.
        assert!(changed.elapsed() < SECOND + PATIENCE / 10, "an account of an age ago");
    }
    assert_eq!(name().await, "Alice & Daughters");
}

async fn market_that_joins_late_finds_everything(fixture: &Fixture, _beside: &Fixture) {
    let alice = fixture.seller("alice").await;
    for _ in 0..20 {
        alice.lamp(1).await;
    }
    let late = fixture.beside().await;
    let bob = late.buyer("bob").await;
    // Its index starts empty; a search waits until it has caught up.
    assert_eq!(bob.search("lamp", "").await.len(), 20);
    late.close().await;
}

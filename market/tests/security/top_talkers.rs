//! How an operator finds who abuses the market.

use prost::Message as _;
use souk_certs::identity::Role;
use souk_proto::{Reason, v1};
use souk_testkit::{actor::Actor, eventually, local::LocalMarketOptions};
use tokio::time::timeout;
use tonic::Code;

use crate::{
    fixture::{Fixture, MARKET, PATIENCE, attacks, connect_from, greet_on},
    forge::client,
    raw::Pass,
};

attacks!(a_party_that_hurries_from_connection_to_connection, handshakes_that_fail);

const GET_ITEM: &str = "/shopping.v1.CatalogService/GetItem";
/// The number of calls in one round of a flood.
const FLOOD: usize = 200;

fn few_calls_per_second() -> LocalMarketOptions {
    let adjust = |config: &mut souk_server::config::Config| {
        config.limits.seller_calls_per_second = 10;
        config.limits.burst_calls = 40;
    };
    LocalMarketOptions { adjust, ..LocalMarketOptions::default() }
}

async fn operator(fixture: &Fixture) -> Actor {
    Actor::enter(&fixture.market, Role::Operator, "Olga").await.unwrap()
}

async fn top(operator: &Actor, limit: i32) -> v1::ListTopTalkersResponse {
    operator.connection.call(v1::ListTopTalkersRequest { limit }).await.unwrap()
}

/// Makes calls, and returns how many were refused because of the rate.
async fn flood(pass: &Pass, item_id: i64, calls: usize) -> i64 {
    let request = v1::GetItemRequest { item_id }.encode_to_vec();
    let mut refused = 0;
    for _ in 0..calls {
        let answer = pass.call(GET_ITEM, request.clone()).await;
        refused += i64::from(answer.is_err_and(|status| status.code() == Code::ResourceExhausted));
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_that_floods_is_first_and_an_idle_one_is_not() {
    let fixture = Fixture::with(few_calls_per_second()).await;
    let (mallory, idle, olga) =
        (fixture.seller("Mallory").await, fixture.seller("Idle").await, operator(&fixture).await);
    let pass = Pass::of(&fixture, &mallory).await;
    let (mut calls, mut refused) = (0, 0);
    // Until the flood has kept threads busy for longer than the registration of others: a thread may have been interrupted
    // during that.
    let flooded = timeout(PATIENCE, async {
        loop {
            refused += flood(&pass, fixture.lamp.item_id, FLOOD).await;
            calls += i64::try_from(FLOOD).unwrap();
            let parties = top(&olga, 0).await.parties;
            if parties[0].party_id == mallory.id() {
                return parties;
            }
        }
    });
    let parties = flooded.await.expect("the flood comes first");
    let first = &parties[0];
    assert_eq!((first.role(), first.display_name.as_str()), (v1::Role::Seller, "Mallory"));
    // Registration and the token are calls, too.
    assert!((calls..calls + 10).contains(&first.call_count), "{first:?} of {calls}");
    assert!(refused > 0 && (refused..refused + 10).contains(&first.refused_count), "{first:?} of {refused}");
    assert!(first.received_bytes > 20 * calls && first.sent_bytes > 20 * calls, "{first:?}");
    assert!(first.cpu_time.is_some_and(|time| time.seconds > 0 || time.nanos > 0), "{first:?}");
    assert_eq!((first.connection_count, first.suspended), (2, false), "{first:?}");
    let other = parties.iter().find(|party| party.party_id == idle.id()).expect("it has registered");
    assert!(other.call_count < 10 && other.refused_count == 0, "{other:?}");
    assert_eq!(top(&olga, 1).await.parties.len(), 1);
    let refusal = olga.connection.call(v1::ListTopTalkersRequest { limit: -1 }).await.unwrap_err();
    assert_eq!(refusal.reason(), Some(Reason::InvalidField));

    // What the operator does then.
    let request = v1::SuspendRequest {
        party_id: first.party_id.clone(),
        reason: "floods the market".into(),
        ..Default::default()
    };
    olga.connection.call(request).await.unwrap();
    assert!(top(&olga, 1).await.parties[0].suspended);
    let request = v1::ReinstateRequest { party_id: mallory.id(), ..Default::default() };
    olga.connection.call(request).await.unwrap();
    fixture.hold().await;
}

/// The calls of a connection count also after it has ended.
async fn a_party_that_hurries_from_connection_to_connection(fixture: &Fixture) {
    let (mallory, olga) = (fixture.seller("Mallory").await, operator(fixture).await);
    let token = crate::fixture::token(&mallory).await;
    let (connections, calls_of_each) = (20, 10);
    for _ in 0..connections {
        let pass = Pass::of_token(fixture, &mallory, &token).await;
        flood(&pass, fixture.lamp.item_id, calls_of_each).await;
    }
    let calls = i64::try_from(connections * calls_of_each).unwrap();
    eventually("the other connections have ended", || async {
        let parties = top(&olga, 200).await.parties;
        let usage = parties.into_iter().find(|party| party.party_id == mallory.id()).unwrap();
        assert!((calls..calls + 10).contains(&usage.call_count), "{usage:?}");
        usage.connection_count == 1
    })
    .await;
}

async fn handshakes_that_fail(fixture: &Fixture) {
    let olga = operator(fixture).await;
    for _ in 0..5 {
        let tcp = connect_from("127.0.0.2", fixture.market.address()).await.unwrap();
        greet_on(tcp, MARKET, client(fixture, None)).await.unwrap_err();
    }
    // The market counts a handshake when it has seen the client leave.
    eventually("all are counted", || async {
        top(&olga, 0).await.strangers.iter().any(|stranger| stranger.failed_handshake_count == 5)
    })
    .await;
    let strangers = top(&olga, 0).await.strangers;
    assert_eq!(strangers.len(), 1);
    assert_eq!(strangers[0].address, "127.0.0.2");
}

//! Tokens: fetched once, renewed, and replaced when rejected.

use std::time::Duration;

use souk_client::Error;
use souk_proto::{
    Reason,
    v1::{TestEventRequest, WhoAmIRequest},
};

use crate::{market::refusal, world::World};

#[tokio::test]
async fn callers_at_the_same_time_share_one_token() {
    let world = World::open().await;
    let alice = world.seller("alice");
    world.market.set_issuing(false);
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let alice = alice.clone();
            tokio::spawn(async move { alice.call(WhoAmIRequest {}).await })
        })
        .collect();
    world.market.until("IssueToken", |script| script.issued > 0).await;
    world.market.set_issuing(true);
    for call in calls {
        call.await.expect("no panic").expect("answered");
    }
    assert_eq!(world.market.script().issued, 1);
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_take_the_fetch_with_it() {
    let world = World::open().await;
    let alice = world.seller("alice");
    world.market.set_issuing(false);
    let hasty = alice.with_timeout(Duration::from_millis(100));
    let gave_up = hasty.call(WhoAmIRequest {}).await;
    assert!(matches!(gave_up, Err(Error::TimedOut { .. })), "{gave_up:?}");
    world.market.set_issuing(true);
    alice.call(WhoAmIRequest {}).await.expect("the next caller starts again");
}

#[tokio::test]
async fn a_token_is_renewed_at_two_thirds_of_its_life() {
    let world = World::open().await;
    world.market.script().token_life = Duration::from_millis(600);
    let alice = world.seller("alice");
    let call = || alice.call(WhoAmIRequest {});
    let begin = tokio::time::Instant::now();
    while world.market.script().issued < 2 {
        call().await.expect("answered");
    }
    assert!(begin.elapsed() >= Duration::from_millis(400), "renewed after {:?}", begin.elapsed());
}

#[tokio::test]
async fn while_renewing_fails_the_old_token_serves_to_its_end() {
    let world = World::open().await;
    world.market.script().token_life = Duration::from_secs(3);
    let alice = world.seller("alice");
    let call = || alice.call(WhoAmIRequest {});
    call().await.expect("answered");
    world.market.script().issue_refused = Some(refusal(Reason::Unavailable));
    while world.market.script().issued < 2 {
        call().await.expect("the first token is good yet");
    }
    call().await.expect("the first token is good yet");
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_call_replayed_once() {
    let world = World::open().await;
    let alice = world.seller("alice");
    let call = || alice.call(TestEventRequest::default());
    call().await.expect("answered");
    world.market.script().oldest_token = 2;
    call().await.expect("answered with the second token");
    let tokens: Vec<_> = world.market.script().calls.iter().map(|call| call.token.clone()).collect();
    assert_eq!(tokens, ["Bearer token-1", "Bearer token-2"]);

    // If the market accepts no token at all, the client fetches one more and then gives up.
    world.market.script().oldest_token = u32::MAX;
    let refused = call().await.expect_err("refused");
    assert_eq!(refused.refusal().and_then(|r| r.reason()), Some(Reason::TokenExpired));
    assert_eq!(souk_cli::exit::of_error(&refused), 4);
    assert_eq!(world.market.script().issued, 3);
}

#[tokio::test]
async fn a_refusal_that_is_not_about_the_token_is_not_replayed() {
    let world = World::open().await;
    let alice = world.seller("alice");
    world.market.script().test_event.push_back(refusal(Reason::CertificateRevoked));
    let refused = alice.call(TestEventRequest::default()).await;
    assert_eq!(souk_cli::exit::of_error(&refused.expect_err("refused")), 4);
    assert_eq!(world.market.script().calls.len(), 1);
}

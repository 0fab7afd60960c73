//! Retries: what is retried, how often, and with which id.

use std::{collections::HashSet, time::Duration};

use futures::future::join_all;
use souk_client::{ClientConfig, Clock, Connection, Error, Random, budget::MAX_TOKENS, retry::MAX_ATTEMPTS};
use souk_proto::{
    Reason,
    v1::{TestEventRequest, TestEventResponse},
};
use time::macros::datetime;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tonic::Status;

use crate::{
    market::{refusal, refusal_for},
    world::World,
};

async fn test_event(connection: &Connection) -> Result<TestEventResponse, Error> {
    connection.call(TestEventRequest::default()).await
}

#[tokio::test]
async fn a_passing_failure_is_repeated_with_the_same_request_id() {
    let world = World::open().await;
    let alice = world.seller("alice");
    world.market.script().test_event.extend([
        refusal(Reason::OutcomeUnknown),
        refusal_for(Reason::Overloaded, Duration::from_millis(20)),
        Status::unavailable("from a proxy"),
    ]);
    test_event(&alice).await.expect("the fourth attempt succeeds");
    let calls = world.market.script().calls.clone();
    assert_eq!(calls.len(), 4);
    let ids: HashSet<_> = calls.iter().map(|call| &call.request_id).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(calls.iter().all(|call| call.party_id == alice.party().to_string()));

    test_event(&alice).await.expect("answered");
    let calls = world.market.script().calls.clone();
    assert_ne!(calls[4].request_id, calls[3].request_id, "a new wish has a new id");
}

#[tokio::test]
async fn request_ids_are_made_of_the_given_clock_and_source_of_randomness() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let config = ClientConfig {
        clock: Clock::new(|| datetime!(2026-01-01 00:00:00.001 UTC)),
        random: Random::new(|bytes| bytes.fill(0)),
        ..world.config(&alice)
    };
    let connection = Connection::with_credentials(&config, &alice.credentials).expect("a connection");
    assert_eq!(connection.request_id(), "019b76da-a801-7000-8000-000000000000");
}

#[tokio::test]
async fn a_lasting_refusal_is_not_repeated() {
    let world = World::open().await;
    let alice = world.seller("alice");
    for status in
        [refusal(Reason::OutOfStock), Status::resource_exhausted("too large"), Status::internal("broken")]
    {
        world.market.script().calls.clear();
        world.market.script().test_event.push_back(status);
        test_event(&alice).await.expect_err("refused");
        assert_eq!(world.market.script().calls.len(), 1);
    }
}

#[tokio::test]
async fn attempts_are_bounded_and_the_last_failure_is_returned() {
    let world = World::open().await;
    let alice = world.seller("alice");
    let attempts = MAX_ATTEMPTS as usize;
    world.market.script().test_event.extend(vec![refusal(Reason::Unavailable); 2 * attempts]);
    let failure = test_event(&alice).await.expect_err("refused");
    assert_eq!(souk_cli::exit::of_error(&failure), 6);
    assert_eq!(world.market.script().calls.len(), attempts);
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let world = World::open().await;
    let alice = world.seller("alice");
    world.market.script().test_event.push_back(refusal_for(Reason::RateLimited, Duration::from_secs(3_600)));
    let failure = test_event(&alice).await.expect_err("refused");
    assert_eq!(failure.refusal().and_then(|r| r.reason()), Some(Reason::RateLimited));
}

#[tokio::test]
async fn the_deadline_goes_to_the_market_and_shrinks_with_each_attempt() {
    let world = World::open().await;
    let alice = world.seller("alice").with_timeout(Duration::from_secs(5));
    world.market.script().test_event.push_back(refusal(Reason::Unavailable));
    test_event(&alice).await.expect("answered");
    let microseconds = |deadline: &Option<String>| -> u64 {
        let text = deadline.as_deref().expect("a deadline").trim_end_matches('u');
        text.parse().expect("microseconds")
    };
    let deadlines: Vec<_> =
        world.market.script().calls.iter().map(|call| microseconds(&call.deadline)).collect();
    assert!(deadlines[0] <= 5_000_000);
    assert!(deadlines[1] + 50_000 <= deadlines[0], "{deadlines:?}");
}

#[tokio::test]
async fn a_market_that_does_not_answer_is_given_up_at_the_deadline() {
    let world = World::open().await;
    let alice = world.seller("alice").with_timeout(Duration::from_millis(300));
    world.market.set_issuing(false);
    let failure = test_event(&alice).await.expect_err("timed out");
    assert!(matches!(failure, Error::TimedOut { .. }), "{failure:?}");
    assert_eq!(souk_cli::exit::of_error(&failure), 6);
}

#[tokio::test]
async fn a_handshake_that_times_out_is_retried_within_the_deadline() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address").to_string();
    let market = world.market.address;
    // The first connection is accepted and never answered, as by a market that is too busy; the next ones are served.
    let proxy = tokio::spawn(async move {
        let _silent = listener.accept().await.expect("a connection");
        loop {
            let (mut near, _) = listener.accept().await.expect("a connection");
            let mut far = TcpStream::connect(market).await.expect("connected");
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let config = ClientConfig { market: address.parse().expect("a dial"), ..world.config(&alice) };
    let connection = Connection::with_credentials(&config, &alice.credentials).expect("a connection");
    test_event(&connection).await.expect("the second connection is answered");
    proxy.abort();
}

#[tokio::test]
async fn a_wait_that_the_market_requests_is_spread_and_not_shortened() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let requested = Duration::from_millis(300);
    for (random, least) in [
        (Random::new(|bytes| bytes.fill(0)), requested),
        (Random::new(|bytes| bytes.fill(0xff)), requested * 149 / 100),
    ] {
        let config = ClientConfig { random, ..world.config(&alice) };
        let connection = Connection::with_credentials(&config, &alice.credentials).expect("a connection");
        world.market.script().test_event.push_back(refusal_for(Reason::Overloaded, requested));
        let begin = Instant::now();
        test_event(&connection).await.expect("the second attempt is answered");
        assert!(begin.elapsed() >= least, "waited {:?} instead of {least:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn a_pushback_decides_when_a_call_is_retried_and_whether() {
    let world = World::open().await;
    let alice = world.seller("alice");
    let pushed_back = |value: &str| {
        let mut status = refusal(Reason::Unavailable);
        status.metadata_mut().insert("grpc-retry-pushback-ms", value.parse().expect("a value"));
        status
    };
    world.market.script().test_event.push_back(pushed_back("400"));
    let begin = Instant::now();
    test_event(&alice).await.expect("the second attempt is answered");
    assert!(begin.elapsed() >= Duration::from_millis(400), "waited {:?}", begin.elapsed());

    world.market.script().calls.clear();
    world.market.script().test_event.push_back(pushed_back("-1"));
    test_event(&alice).await.expect_err("the first attempt was the last");
    assert_eq!(world.market.script().calls.len(), 1);
}

#[tokio::test]
async fn retries_end_with_the_budget_of_the_connection() {
    const CALLS: usize = 100;
    let world = World::open().await;
    let alice = world.seller("alice");
    world
        .market
        .script()
        .test_event
        .extend(vec![refusal(Reason::Unavailable); CALLS * MAX_ATTEMPTS as usize]);
    let outcomes = join_all((0..CALLS).map(|_| test_event(&alice))).await;
    assert!(outcomes.iter().all(Result::is_err));
    let retries = world.market.script().calls.len() - CALLS;
    assert_eq!(retries, MAX_TOKENS as usize / 2 - 1);

    world.market.script().calls.clear();
    // Another connection has a budget of its own.
    test_event(&world.seller("bob")).await.expect_err("refused");
    assert_eq!(world.market.script().calls.len(), MAX_ATTEMPTS as usize);
}

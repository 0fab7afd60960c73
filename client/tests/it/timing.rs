//! Timing: each attempt is measured, and reported when the call is over.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use souk_client::{ClientConfig, Connection, Error, Timings, timing::CallTiming};
use souk_proto::{
    Reason,
    v1::{SubscribeRequest, TestEventRequest, TestEventResponse},
};
use tonic::Code;

use crate::{
    market::{refusal, refusal_for},
    world::World,
};

type Reported = Arc<Mutex<Vec<CallTiming>>>;

fn timed(world: &World) -> (Connection, Reported) {
    let reported = Reported::default();
    let timings = {
        let reported = Arc::clone(&reported);
        Timings::new(move |call: &CallTiming| reported.lock().expect("the list").push(call.clone()))
    };
    let alice = world.party("seller/alice");
    let config = ClientConfig { timings: Some(timings), ..world.config(&alice) };
    (Connection::with_credentials(&config, &alice.credentials).expect("opened"), reported)
}

async fn test_event(connection: &Connection) -> Result<TestEventResponse, Error> {
    connection.call(TestEventRequest::default()).await
}

/// Returns the reported methods, and how their attempts ended.
fn ends(reported: &Reported) -> Vec<(String, Vec<Option<Code>>)> {
    let calls = reported.lock().expect("the list");
    let ends = calls
        .iter()
        .map(|call| (call.method.clone(), call.attempts.iter().map(|attempt| attempt.code).collect()));
    ends.collect()
}

#[tokio::test]
async fn all_attempts_of_a_call_are_reported_together() {
    let world = World::open().await;
    let (alice, reported) = timed(&world);
    let wait = Duration::from_millis(20);
    world
        .market
        .script()
        .test_event
        .extend([refusal(Reason::OutcomeUnknown), refusal_for(Reason::Overloaded, wait)]);
    test_event(&alice).await.expect("the third attempt succeeds");
    let attempts = vec![Some(Code::Unavailable), Some(Code::ResourceExhausted), Some(Code::Ok)];
    assert_eq!(
        ends(&reported),
        [
            ("AccountService/IssueToken".to_owned(), vec![Some(Code::Ok)]),
            ("EventService/TestEvent".to_owned(), attempts),
        ]
    );
    let call = reported.lock().expect("the list")[1].clone();
    let in_attempts: Duration = call.attempts.iter().map(|attempt| attempt.took).sum();
    assert!(call.took >= in_attempts + wait, "the waits in between count: {call}");
    // This market reports neither.
    assert!(call.attempts.iter().all(|attempt| attempt.market.is_none() && attempt.request_id.is_none()));
}

#[tokio::test]
async fn a_call_that_is_given_up_is_reported_without_an_answer() {
    let world = World::open().await;
    let (alice, reported) = timed(&world);
    world.market.set_issuing(false);
    test_event(&alice.with_timeout(Duration::from_millis(300))).await.expect_err("timed out");
    assert_eq!(ends(&reported), [("AccountService/IssueToken".to_owned(), vec![None])]);
}

#[tokio::test]
async fn background_calls_are_not_reported() {
    let world = World::open().await;
    let (alice, reported) = timed(&world);
    test_event(&alice.silent()).await.expect("answered");
    assert!(ends(&reported).iter().all(|(method, _)| method == "AccountService/IssueToken"));
}

#[tokio::test]
async fn a_stream_is_reported_at_its_end() {
    let world = World::open().await;
    let (alice, reported) = timed(&world);
    let stream = alice.events().subscribe(SubscribeRequest::default()).await.expect("opened");
    assert_eq!(ends(&reported).len(), 1, "only the token so far");
    drop(stream);
    assert_eq!(ends(&reported)[1], ("EventService/Subscribe".to_owned(), vec![None]));
}

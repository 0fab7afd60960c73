//! Events by Subscribe: in order, once, over streams that break.

use souk_client::{
    Connection, Notice, Seen,
    follow::{follow, follow_as},
};
use souk_proto::{
    Reason,
    v1::{CaughtUp, Event, MissedTotal, StreamOpened, SubscribeResponse, subscribe_response::Message},
};
use tokio::sync::mpsc;
use tonic::Status;

use crate::{
    market::refusal,
    world::{Party, World, next, notice_of, test_notice},
};

fn sent(event: Event) -> Result<SubscribeResponse, Status> {
    Ok(SubscribeResponse { message: Some(Message::Event(event)) })
}

fn caught_up(sequence: i64) -> Result<SubscribeResponse, Status> {
    Ok(SubscribeResponse { message: Some(Message::CaughtUp(CaughtUp { sequence })) })
}

fn connect(world: &World) -> (Party, Connection) {
    let alice = world.party("seller/alice");
    let connection = world.connect(&alice);
    (alice, connection)
}

async fn interrupted(notices: &mut mpsc::Receiver<Notice>) {
    match next(notices).await {
        Notice::Interrupted { failure, .. } => assert!(failure.is_transient(), "{failure}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cut_stream_is_resumed_after_the_last_event_taken() {
    let world = World::open().await;
    let (alice, connection) = connect(&world);
    let [a, b, c] = [(3, "a"), (5, "b"), (9, "c")].map(|(sequence, id)| test_notice(&alice, sequence, id));
    world.market.script().streams.extend([
        vec![sent(a), sent(b.clone()), Err(Status::unavailable("cut"))],
        vec![sent(b), sent(c), caught_up(9)],
    ]);
    let (follower, mut notices) = follow(connection, Seen::in_memory());
    notice_of(&mut notices).await.take();
    let kept = notice_of(&mut notices).await;
    interrupted(&mut notices).await;
    assert_eq!(notice_of(&mut notices).await.take().event_id, "c", "b waits here already");
    assert_eq!(kept.take().event_id, "b");
    assert!(matches!(next(&mut notices).await, Notice::CaughtUp { sequence: 9 }));
    assert_eq!(world.market.script().cursors, [0, 3], "b was not taken when the stream was cut");
    follower.close().await;
    assert_eq!(world.market.script().acknowledged.last(), Some(&9));
}

#[tokio::test]
async fn what_was_taken_is_acknowledged_within_a_second() {
    let world = World::open().await;
    let (alice, connection) = connect(&world);
    world.market.script().streams.push_back(vec![sent(test_notice(&alice, 8, "a"))]);
    let (follower, mut notices) = follow(connection, Seen::in_memory());
    let delivery = notice_of(&mut notices).await;
    assert!(world.market.script().acknowledged.is_empty());
    let begin = tokio::time::Instant::now();
    delivery.take();
    world.market.until("Acknowledge", |script| script.acknowledged == [8]).await;
    assert!(begin.elapsed() >= std::time::Duration::from_millis(500), "it waited for more to come");
    follower.close().await;
}

#[tokio::test]
async fn sixty_four_events_are_acknowledged_at_once() {
    let world = World::open().await;
    let (alice, connection) = connect(&world);
    let events = (1..=64).map(|n| sent(test_notice(&alice, n, &n.to_string())));
    world.market.script().streams.push_back(events.collect());
    let (follower, mut notices) = follow(connection, Seen::in_memory());
    for n in 1..=64 {
        assert_eq!(notice_of(&mut notices).await.take().sequence, n);
    }
    world.market.until("Acknowledge", |script| script.acknowledged.last() == Some(&64)).await;
    follower.close().await;
}

#[tokio::test]
async fn what_the_user_has_had_is_not_shown_again_after_a_restart() {
    let world = World::open().await;
    let (alice, connection) = connect(&world);
    let folder = tempfile::tempdir().expect("a folder");
    let remembered = || Seen::open(folder.path(), &world.dial().into(), alice.id).expect("opened");
    let [a, b] = [(1, "a"), (2, "b")].map(|(sequence, id)| test_notice(&alice, sequence, id));

    world.market.script().streams.push_back(vec![sent(a.clone())]);
    let (follower, mut notices) = follow(connection.clone(), remembered());
    notice_of(&mut notices).await.take();
    follower.close().await;

    // As if the acknowledgement had been lost, the market sends everything again.
    world.market.script().streams.push_back(vec![sent(a), sent(b)]);
    let (follower, mut notices) = follow(connection, remembered());
    assert_eq!(notice_of(&mut notices).await.take().event_id, "b");
    follower.close().await;
    assert_eq!(world.market.script().acknowledged, [1, 2]);
}

#[tokio::test]
async fn a_token_that_ends_while_following_is_renewed_without_a_word() {
    let world = World::open().await;
    let (alice, connection) = connect(&world);
    world.market.script().streams.extend([
        vec![sent(test_notice(&alice, 1, "a")), Err(refusal(Reason::TokenExpired))],
        vec![sent(test_notice(&alice, 2, "b"))],
    ]);
    let (follower, mut notices) = follow(connection, Seen::in_memory());
    notice_of(&mut notices).await.take();
    assert_eq!(notice_of(&mut notices).await.take().event_id, "b");
    follower.close().await;
}

#[tokio::test]
async fn a_stream_that_was_replaced_ends_for_good() {
    let world = World::open().await;
    let (_, connection) = connect(&world);
    world.market.script().streams.push_back(vec![Err(refusal(Reason::StreamReplaced))]);
    let (follower, mut notices) = follow(connection, Seen::in_memory());
    match next(&mut notices).await {
        Notice::Ended(failure) => assert_eq!(souk_cli::exit::of_error(&failure), 5),
        other => panic!("{other:?}"),
    }
    assert!(notices.recv().await.is_none());
    assert_eq!(world.market.script().cursors.len(), 1);
    follower.close().await;
}

/// Its own earlier attempt, which reached the market late, may have replaced it.
#[tokio::test]
async fn a_named_stream_that_was_replaced_is_opened_again() {
    let world = World::open().await;
    let (alice, connection) = connect(&world);
    for passing in [Reason::StreamReplaced, Reason::TooManyConsumers] {
        let begun = vec![sent(test_notice(&alice, 1, "a")), Err(refusal(passing))];
        let again = vec![sent(test_notice(&alice, 2, "b"))];
        world.market.script().streams.extend([begun, again]);
        let (follower, mut notices) = follow_as(connection.clone(), Seen::in_memory(), "shell".into());
        notice_of(&mut notices).await.take();
        assert!(matches!(next(&mut notices).await, Notice::Interrupted { .. }), "{passing:?}");
        assert_eq!(notice_of(&mut notices).await.take().event_id, "b");
        follower.close().await;
    }
}

fn opened(kept: bool) -> Result<SubscribeResponse, Status> {
    let opened = StreamOpened { kept, ..Default::default() };
    Ok(SubscribeResponse { message: Some(Message::Opened(opened)) })
}

/// The first answer's notice is taken only when the second stream is open, as if the answer had been lost.
#[tokio::test]
async fn missed_events_are_reported_once_and_confirmed_when_the_notice_was_taken() {
    let world = World::open().await;
    let (_, connection) = connect(&world);
    let opened = || {
        let missed_total = Some(MissedTotal { order_count: 7, update_count: 1 });
        let (missed_order_count, missed_update_count) = (2, 1);
        let opened = StreamOpened {
            kept: true,
            missed_order_count,
            missed_update_count,
            missed_total,
            after_sequence: 0,
        };
        Ok(SubscribeResponse { message: Some(Message::Opened(opened)) })
    };
    let cut = Err(Status::unavailable("cut"));
    world.market.script().streams.extend([vec![opened(), cut], vec![opened(), caught_up(0)]]);
    let (follower, mut notices) = follow_as(connection, Seen::in_memory(), "shell".into());
    world.market.until("Subscribe again", |script| script.cursors.len() == 2).await;
    assert!(world.market.script().confirmed.is_empty(), "the consumer has taken nothing");
    let mut reported = Vec::new();
    loop {
        match next(&mut notices).await {
            Notice::Opened { missed, .. } => reported.push((missed.orders, missed.updates)),
            Notice::Interrupted { .. } => {}
            Notice::CaughtUp { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reported, [(2, 1), (0, 0)]);
    world.market.until("a confirmation", |script| !script.confirmed.is_empty()).await;
    assert_eq!(world.market.script().confirmed, [MissedTotal { order_count: 7, update_count: 1 }]);
    follower.close().await;
}

#[tokio::test]
async fn a_stream_that_is_not_kept_acknowledges_nothing() {
    let world = World::open().await;
    let (alice, connection) = connect(&world);
    world.market.script().streams.push_back(vec![opened(false), sent(test_notice(&alice, 8, "a"))]);
    let (follower, mut notices) = follow_as(connection, Seen::in_memory(), "shell".into());
    assert!(matches!(next(&mut notices).await, Notice::Opened { kept: false, .. }));
    notice_of(&mut notices).await.take();
    follower.close().await;
    assert!(world.market.script().acknowledged.is_empty());
}

#[tokio::test]
async fn a_stream_that_was_not_kept_goes_on_from_the_consumers_cursor() {
    let world = World::open().await;
    let (alice, connection) = connect(&world);
    let [a, b] = [(8, "a"), (5, "b")].map(|(sequence, id)| test_notice(&alice, sequence, id));
    world.market.script().streams.extend([
        vec![opened(false), sent(a), Err(refusal(Reason::ConsumerFree))],
        vec![opened(true), sent(b), caught_up(5)],
    ]);
    let (follower, mut notices) = follow_as(connection, Seen::in_memory(), "shell".into());
    assert!(matches!(next(&mut notices).await, Notice::Opened { kept: false, .. }));
    notice_of(&mut notices).await.take();
    // It goes on without a word, from the consumer's own cursor.
    assert!(matches!(next(&mut notices).await, Notice::Opened { kept: true, .. }));
    notice_of(&mut notices).await.take();
    assert!(matches!(next(&mut notices).await, Notice::CaughtUp { sequence: 5 }));
    follower.close().await;
    let script = world.market.script();
    assert_eq!((&*script.cursors, &*script.acknowledged), (&[0, 0][..], &[5][..]));
    assert_eq!(script.consumers[0], script.consumers[1], "the same client");
    assert_eq!(script.consumers[0].0, "shell");
}

#[tokio::test]
async fn a_suspended_party_is_followed_again_when_it_is_reinstated() {
    let world = World::open().await;
    let (alice, connection) = connect(&world);
    world.market.script().streams.extend([
        vec![Err(refusal(Reason::AccountSuspended))],
        vec![Err(refusal(Reason::AccountSuspended))],
        vec![sent(test_notice(&alice, 1, "a"))],
    ]);
    let (follower, mut notices) = follow(connection, Seen::in_memory());
    for _ in 0..2 {
        assert!(matches!(next(&mut notices).await, Notice::Interrupted { .. }));
    }
    assert_eq!(notice_of(&mut notices).await.take().event_id, "a");
    follower.close().await;
}

//! Several programs of one party, each of which gets every event under a name of its own.

use souk_certs::identity::Role;
use souk_client::{Seen, follow::follow_as};
use souk_proto::{
    Reason,
    v1::{self, subscribe_response::Message},
};
use tokio::time::timeout;
use tonic::Streaming;

use super::delivering::{ANY_PORT, inbox, next, order_of, register_with_callback};
use crate::fixture::{Fixture, PATIENCE, Party, call, eventually, on_every_store, reason};

on_every_store!(
    each_name_gets_every_event,
    named_stream_does_not_take_events_from_the_callback,
    second_stream_of_a_name_takes_nothing_from_the_first,
    client_that_reconnects_has_its_name_at_once,
    ninth_consumer_is_refused_with_the_names_in_use,
    wrong_names_are_refused,
    party_removes_a_consumer_of_its_own,
);

const FIRST: &str = "00000000-0000-4000-8000-000000000001";
const SECOND: &str = "00000000-0000-4000-8000-000000000002";

pub(crate) async fn subscribed(
    party: &Party,
    consumer: &str,
    stream_id: &str,
) -> Result<Streaming<v1::SubscribeResponse>, souk_client::Error> {
    let request =
        v1::SubscribeRequest { consumer: consumer.into(), stream_id: stream_id.into(), ..Default::default() };
    match party.connection.events().subscribe(request).await {
        Ok(stream) => Ok(stream.into_inner()),
        Err(status) => Err(party.connection.explain(status).await),
    }
}

pub(crate) async fn message(stream: &mut Streaming<v1::SubscribeResponse>) -> Message {
    let message = timeout(PATIENCE, stream.message()).await.expect("in time");
    message.unwrap().unwrap().message.unwrap()
}

/// Opens a stream that has caught up. Returns it with the sequences sent until then, and whether it is kept.
pub(crate) async fn caught_up(
    party: &Party,
    consumer: &str,
    stream_id: &str,
) -> (Streaming<v1::SubscribeResponse>, Vec<i64>, bool) {
    let mut stream = subscribed(party, consumer, stream_id).await.unwrap();
    let Message::Opened(opened) = message(&mut stream).await else { panic!("not greeted") };
    let mut sequences = Vec::new();
    loop {
        match message(&mut stream).await {
            Message::Event(event) => sequences.push(event.sequence),
            Message::CaughtUp(_) => return (stream, sequences, opened.kept),
            Message::Opened(_) => panic!("greeted twice"),
        }
    }
}

async fn each_name_gets_every_event(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(9).await;
    let before = bob.buy(lamp, 1).await.unwrap();
    let (shell, mut in_shell) = follow_as(alice.connection.clone(), Seen::in_memory(), "shell".into());
    assert_eq!(order_of(next(&mut in_shell).await), before.order_id);
    // A new name starts with what is in the mailbox.
    eventually("the first is removed", || async { alice.pending().await == 0 }).await;
    let (listen, mut in_listen) = follow_as(alice.connection.clone(), Seen::in_memory(), "listen".into());
    for _ in 0..3 {
        let order = bob.buy(lamp, 1).await.unwrap();
        assert_eq!(order_of(next(&mut in_shell).await), order.order_id);
        assert_eq!(order_of(next(&mut in_listen).await), order.order_id);
    }
    eventually("both have acknowledged", || async { alice.pending().await == 0 }).await;
    listen.close().await;
    // What happens while one of them is away waits for it, and for it only.
    let missed = bob.buy(lamp, 1).await.unwrap();
    assert_eq!(order_of(next(&mut in_shell).await), missed.order_id);
    shell.close().await;
    let status = call!(alice, MailboxStatusRequest {}).unwrap();
    let waiting: Vec<_> =
        status.consumers.iter().map(|consumer| (consumer.name.as_str(), consumer.pending_count)).collect();
    assert_eq!(waiting, [("listen", 1), ("shell", 0)]);
    let (listen, mut in_listen) = follow_as(alice.connection.clone(), Seen::in_memory(), "listen".into());
    assert_eq!(order_of(next(&mut in_listen).await), missed.order_id);
    listen.close().await;
    assert_eq!(alice.pending().await, 0);
}

async fn named_stream_does_not_take_events_from_the_callback(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (inbox, mut called) = inbox(fixture, "alice", Role::Seller, ANY_PORT).await;
    register_with_callback(&alice, "alice", inbox.address().port()).await.unwrap();
    let (follower, mut followed) = follow_as(alice.connection.clone(), Seen::in_memory(), "shell".into());
    let lamp = alice.lamp(9).await;
    for _ in 0..3 {
        let order = bob.buy(lamp, 1).await.unwrap();
        assert_eq!(order_of(next(&mut called).await), order.order_id);
        assert_eq!(order_of(next(&mut followed).await), order.order_id);
    }
    follower.close().await;
    inbox.close().await;
}

async fn second_stream_of_a_name_takes_nothing_from_the_first(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(9).await;
    bob.buy(lamp, 1).await.unwrap();
    let (mut first, sent, kept) = caught_up(&alice, "shell", FIRST).await;
    assert_eq!((sent, kept), (vec![1], true));
    let (mut second, sent, kept) = caught_up(&alice, "shell", SECOND).await;
    assert_eq!((sent, kept), (vec![], false), "it starts at the mailbox's end");
    bob.buy(lamp, 1).await.unwrap();
    for stream in [&mut first, &mut second] {
        assert!(matches!(message(stream).await, Message::Event(event) if event.sequence == 2));
    }
    // It holds nothing back either.
    let acknowledged = call!(alice, AcknowledgeRequest { sequence: 2, consumer: "shell".into() }).unwrap();
    assert_eq!(acknowledged.pending_count, 0);
    assert_eq!(alice.pending().await, 0);
    drop(first);
    // Once the name is free, the market asks the second one to subscribe again, which is then kept.
    let ended = timeout(PATIENCE, async {
        loop {
            if let Err(ended) = second.message().await {
                break ended;
            }
        }
    });
    assert_eq!(Reason::of(&ended.await.expect("it ends in time")), Some(Reason::ConsumerFree));
    assert!(caught_up(&alice, "shell", SECOND).await.2);
}

async fn client_that_reconnects_has_its_name_at_once(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (mut first, _, kept) = caught_up(&alice, "shell", FIRST).await;
    assert!(kept);
    let lamp = alice.lamp(9).await;
    bob.buy(lamp, 1).await.unwrap();
    message(&mut first).await;
    // As after a connection that broke without the market's noticing: nothing is missed.
    let (_second, sent, kept) = caught_up(&alice, "shell", FIRST).await;
    assert_eq!((sent, kept), (vec![1], true));
    let ended = timeout(PATIENCE, first.message()).await.expect("it ends in time").unwrap_err();
    assert_eq!(Reason::of(&ended), Some(Reason::StreamReplaced));
}

async fn ninth_consumer_is_refused_with_the_names_in_use(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    for number in 1..=7 {
        caught_up(&alice, &format!("c{number}"), FIRST).await;
    }
    let refused = subscribed(&alice, "c8", FIRST).await.map(|_| ());
    assert!(format!("{refused:?}").contains("c1, c2, c3, c4, c5, c6, c7"), "{refused:?}");
    assert_eq!(reason(refused), Reason::TooManyConsumers);
    caught_up(&alice, "c7", FIRST).await;
}

async fn wrong_names_are_refused(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    for (name, stream_id) in [("Shell", ""), ("a b", ""), (&*"a".repeat(65), ""), ("shell", "7")] {
        let refused = subscribed(&alice, name, stream_id).await.map(|_| ());
        assert_eq!(reason(refused), Reason::InvalidField, "{name} {stream_id}");
    }
    let unknown = call!(alice, AcknowledgeRequest { sequence: 0, consumer: "nobody".into() });
    assert_eq!(reason(unknown), Reason::ConsumerNotFound);
    let unknown = call!(alice, MailboxStatusRequest { consumer: "nobody".into() });
    assert_eq!(reason(unknown), Reason::ConsumerNotFound);
}

async fn party_removes_a_consumer_of_its_own(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let bob = fixture.buyer("bob").await;
    let lamp = alice.lamp(9).await;
    let (stream, ..) = caught_up(&alice, "lost", FIRST).await;
    caught_up(&alice, "shell", SECOND).await;
    bob.buy(lamp, 1).await.unwrap();
    call!(alice, AcknowledgeRequest { sequence: 1, consumer: "shell".into() }).unwrap();
    let remove =
        async |party: &Party, name: &str| call!(party, RemoveConsumerRequest { consumer: name.into() });
    assert_eq!(reason(remove(&alice, "lost").await), Reason::ConsumerConnected);
    assert_eq!(reason(remove(&carol, "lost").await), Reason::ConsumerNotFound, "names are a party's own");
    assert_eq!(reason(remove(&alice, "").await), Reason::InvalidField);
    assert_eq!(reason(remove(&alice, "a b").await), Reason::InvalidField);
    assert_eq!(alice.pending().await, 1);
    drop(stream);
    eventually("the name is free", async || remove(&alice, "lost").await.is_ok()).await;
    assert_eq!(reason(remove(&alice, "lost").await), Reason::ConsumerNotFound);
    let status = call!(alice, MailboxStatusRequest {}).unwrap();
    let names: Vec<_> = status.consumers.iter().map(|consumer| consumer.name.as_str()).collect();
    assert_eq!((names, status.pending_count), (vec!["shell"], 0), "the event waits for nobody");
}

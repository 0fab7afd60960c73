//! Notifications by callback and by Subscribe, to clients that are online and to clients that are not.

use std::net::SocketAddr;

use souk_certs::{clock, credentials::Credentials, identity::Role};
use souk_client::{Inbox, Notice, Seen, follow::follow};
use souk_proto::{
    Reason,
    v1::{self, event::Kind},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::fixture::{Fixture, PATIENCE, Party, call, eventually, on_every_store, pounds, reason};

on_every_store!(
    seller_is_notified_of_a_purchase_by_callback,
    seller_is_notified_of_a_purchase_by_subscribe,
    wishing_buyers_are_notified_of_an_update_and_others_are_not,
    offline_seller_gets_everything_once_when_it_comes_back,
    pending_updates_of_one_item_coalesce,
    wishing_buyers_are_notified_of_a_withdrawal,
    purchase_does_not_wait_for_a_dead_callback,
    callback_that_does_not_answer_is_not_registered,
    test_event_arrives_and_shows_in_mailbox_status,
    later_subscribe_stream_replaces_the_earlier_one,
    cursor_ahead_of_the_mailbox_loses_no_event,
    registration_replay_returns_the_first_outcome,
);

pub(super) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Opens a callback server for a party, as `seller listen --listen` does.
pub(super) async fn inbox(
    fixture: &Fixture,
    name: &str,
    role: Role,
    at: SocketAddr,
) -> (Inbox, mpsc::Receiver<Notice>) {
    let config = fixture.market.identity(role, name).await.unwrap();
    let credentials = Credentials::load(&config.credentials, &config.trust_domain, clock::now()).unwrap();
    let listener = Inbox::bind(at).await.unwrap();
    Inbox::open(listener, &credentials, Seen::in_memory()).unwrap()
}

pub(super) async fn register_with_callback(
    party: &Party,
    name: &str,
    port: u16,
) -> Result<(), souk_client::Error> {
    let callback = v1::CallbackAddress { host: String::new(), port: u32::from(port) };
    call!(party, RegisterSellerRequest { display_name: name.into(), callback: Some(callback) }).map(|_| ())
}

/// Waits for the next event.
pub(super) async fn next(notices: &mut mpsc::Receiver<Notice>) -> Kind {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match timeout(left, notices.recv()).await.expect("an event in time").expect("an open stream") {
            Notice::Event(delivery) => return delivery.take().kind.unwrap(),
            Notice::Ended(failure) => panic!("the stream ended: {failure}"),
            Notice::Opened { .. } | Notice::CaughtUp { .. } | Notice::Interrupted { .. } => {}
        }
    }
}

pub(super) fn order_of(kind: Kind) -> i64 {
    match kind {
        Kind::OrderPlaced(placed) => placed.order.unwrap().order_id,
        other => panic!("not a purchase: {other:?}"),
    }
}

async fn seller_is_notified_of_a_purchase_by_callback(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (inbox, mut events) = inbox(fixture, "alice", Role::Seller, ANY_PORT).await;
    register_with_callback(&alice, "alice", inbox.address().port()).await.unwrap();
    let lamp = alice.lamp(5).await;
    let order = bob.buy(lamp, 2).await.unwrap();
    match next(&mut events).await {
        Kind::OrderPlaced(placed) => {
            assert_eq!(placed.order.unwrap(), order);
            assert_eq!(placed.remaining_quantity, 3);
        }
        other => panic!("{other:?}"),
    }
    eventually("the mailbox is empty", || async { alice.pending().await == 0 }).await;
    inbox.close().await;
}

async fn seller_is_notified_of_a_purchase_by_subscribe(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (follower, mut events) = follow(alice.connection.clone(), Seen::in_memory());
    let lamp = alice.lamp(5).await;
    let order = bob.buy(lamp, 1).await.unwrap();
    assert_eq!(order_of(next(&mut events).await), order.order_id);
    let cancelled = call!(bob, CancelOrderRequest { order_id: order.order_id });
    cancelled.unwrap();
    assert!(
        matches!(next(&mut events).await, Kind::OrderCancelled(cancelled) if cancelled.remaining_quantity == 5)
    );
    eventually("the mailbox is empty", || async { alice.pending().await == 0 }).await;
    follower.close().await;
}

async fn wishing_buyers_are_notified_of_an_update_and_others_are_not(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (bob, dave) = (fixture.buyer("bob").await, fixture.buyer("dave").await);
    let lamp = alice.lamp(5).await;
    bob.wish(lamp).await.unwrap();
    let (follower, mut events) = follow(bob.connection.clone(), Seen::in_memory());
    let cheaper = v1::ItemDraft { unit_price: pounds(999), ..Default::default() };
    alice.update(lamp, cheaper).await.unwrap();
    match next(&mut events).await {
        Kind::ItemUpdated(updated) => {
            assert_eq!(updated.changed_fields, ["unit_price"]);
            assert_eq!(updated.item.unwrap().unit_price, pounds(999));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(dave.pending().await, 0);
    follower.close().await;
}

async fn offline_seller_gets_everything_once_when_it_comes_back(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (first, events) = inbox(fixture, "alice", Role::Seller, ANY_PORT).await;
    let address = first.address();
    register_with_callback(&alice, "alice", address.port()).await.unwrap();
    let lamp = alice.lamp(9).await;
    drop(events);
    first.close().await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.push(bob.buy(lamp, 1).await.unwrap().order_id);
    }
    eventually("an attempt has failed", || async {
        let status = call!(alice, MailboxStatusRequest {}).unwrap();
        status.pending_count == 5 && status.failure_count > 0
    })
    .await;
    let (again, mut events) = inbox(fixture, "alice", Role::Seller, address).await;
    // Registering or fetching a token ends the back-off.
    register_with_callback(&alice, "alice", address.port()).await.unwrap();
    for order in &placed {
        assert_eq!(order_of(next(&mut events).await), *order);
    }
    eventually("the mailbox is empty", || async { alice.pending().await == 0 }).await;
    assert!(events.try_recv().is_err(), "nothing came twice");
    again.close().await;
}

async fn pending_updates_of_one_item_coalesce(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    bob.wish(lamp).await.unwrap();
    for price in [900, 800, 700] {
        let cheaper = v1::ItemDraft { unit_price: pounds(price), ..Default::default() };
        alice.update(lamp, cheaper).await.unwrap();
    }
    eventually("the fan-out is done", || async { bob.pending().await >= 1 }).await;
    let (follower, mut events) = follow(bob.connection.clone(), Seen::in_memory());
    let mut last_version = 0;
    loop {
        let Kind::ItemUpdated(updated) = next(&mut events).await else { panic!("not an update") };
        let item = updated.item.unwrap();
        assert!(item.version > last_version, "versions never go back");
        last_version = item.version;
        if item.unit_price == pounds(700) {
            break;
        }
    }
    follower.close().await;
}

async fn wishing_buyers_are_notified_of_a_withdrawal(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    bob.wish(lamp).await.unwrap();
    let (follower, mut events) = follow(bob.connection.clone(), Seen::in_memory());
    alice.delete(lamp).await.unwrap();
    assert!(matches!(next(&mut events).await, Kind::ItemWithdrawn(gone) if gone.item_id == lamp));
    follower.close().await;
}

async fn purchase_does_not_wait_for_a_dead_callback(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (inbox, _events) = inbox(fixture, "alice", Role::Seller, ANY_PORT).await;
    register_with_callback(&alice, "alice", inbox.address().port()).await.unwrap();
    let address = inbox.address();
    inbox.close().await;
    // From now on the address accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind(address).await.unwrap();
    let lamp = alice.lamp(50).await;
    for _ in 0..20 {
        bob.buy(lamp, 1).await.unwrap();
    }
    // All purchases finish while the first notification still waits for an answer.
    let status = call!(alice, MailboxStatusRequest {}).unwrap();
    assert_eq!(status.pending_count, 20);
    drop(silent);
}

async fn callback_that_does_not_answer_is_not_registered(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let nobody = tokio::net::TcpListener::bind(ANY_PORT).await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    assert_eq!(reason(register_with_callback(&alice, "alice", port).await), Reason::CallbackUnreachable);
    // Another party's callback server is not accepted as alice's either.
    let (carols, _events) = inbox(fixture, "carol", Role::Seller, ANY_PORT).await;
    let at_carols = register_with_callback(&alice, "alice", carols.address().port()).await;
    assert_eq!(reason(at_carols), Reason::CallbackUnreachable);
    carols.close().await;
}

/// The callback that was probed at the first call is gone now, and the replay must still return the first
/// outcome.
async fn registration_replay_returns_the_first_outcome(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (inbox, _events) = inbox(fixture, "alice", Role::Seller, ANY_PORT).await;
    let address = inbox.address();
    let callback = v1::CallbackAddress { host: String::new(), port: u32::from(address.port()) };
    let request_id = alice.request_id();
    let register = async |name: &str| {
        call!(
            alice,
            RegisterSellerRequest {
                request_id: request_id.clone(),
                display_name: name.into(),
                callback: Some(callback.clone()),
            }
        )
    };
    let first = register("Alice").await.unwrap();
    inbox.close().await;
    assert_eq!(register("Alice").await.unwrap(), first);
    assert_eq!(reason(register("Alicia").await), Reason::RequestIdReused);
}

async fn test_event_arrives_and_shows_in_mailbox_status(fixture: &Fixture) {
    let bob = fixture.buyer("bob").await;
    let sent = call!(bob, TestEventRequest { text: "hello".into() });
    assert!(!sent.unwrap().event_id.is_empty());
    assert_eq!(bob.pending().await, 1);
    let (follower, mut events) = follow(bob.connection.clone(), Seen::in_memory());
    assert!(matches!(next(&mut events).await, Kind::TestNotice(test) if test.text == "hello"));
    eventually("it is acknowledged", || async { bob.pending().await == 0 }).await;
    let status = call!(bob, MailboxStatusRequest {}).unwrap();
    assert_eq!((status.acknowledged_sequence, status.oldest_time), (1, None));
    follower.close().await;
}

/// As after a restore of the market's store from a backup: the client's cursor is ahead of the mailbox.
async fn cursor_ahead_of_the_mailbox_loses_no_event(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(9).await;
    bob.buy(lamp, 1).await.unwrap();
    let acknowledged = call!(alice, AcknowledgeRequest { sequence: 50 }).unwrap();
    assert_eq!(acknowledged.pending_count, 1);
    let ahead = v1::SubscribeRequest { cursor: 50, ..Default::default() };
    let mut stream = alice.connection.events().subscribe(ahead).await.unwrap().into_inner();
    for sequence in [1, 2] {
        let event = loop {
            match stream.message().await.unwrap().unwrap().message.unwrap() {
                v1::subscribe_response::Message::Event(event) => break event,
                v1::subscribe_response::Message::CaughtUp(_) | v1::subscribe_response::Message::Opened(_) => {
                }
            }
        };
        assert_eq!(event.sequence, sequence);
        bob.buy(lamp, 1).await.unwrap();
    }
}

async fn later_subscribe_stream_replaces_the_earlier_one(fixture: &Fixture) {
    let bob = fixture.buyer("bob").await;
    let mut first =
        bob.connection.events().subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner();
    assert!(matches!(
        first.message().await.unwrap().unwrap().message,
        Some(v1::subscribe_response::Message::CaughtUp(_))
    ));
    let mut second =
        bob.connection.events().subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner();
    second.message().await.unwrap().unwrap();
    let ended = timeout(PATIENCE, first.message()).await.expect("it ends in time").unwrap_err();
    assert_eq!(Reason::of(&ended), Some(Reason::StreamReplaced));
}

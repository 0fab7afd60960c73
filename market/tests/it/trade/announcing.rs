//! Callback servers that come back after an outage, and what does and does not disturb the market's back-off.

use std::time::Duration;

use futures::FutureExt as _;
use souk_certs::identity::Role;
use souk_proto::Reason;
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};

use super::delivering::{ANY_PORT, inbox, next, order_of, register_with_callback};
use crate::fixture::{Fixture, PATIENCE, Party, call, eventually, on_every_store, reason};

on_every_store!(
    server_that_comes_back_gets_everything_when_it_says_so,
    probe_says_whether_the_callback_answers,
    validate_only_test_event_does_not_disturb_the_back_off,
);

/// Registers a callback server, closes it, and returns its address.
async fn outage(fixture: &Fixture, party: &Party, name: &str) -> std::net::SocketAddr {
    let (inbox, _told) = inbox(fixture, name, Role::Seller, ANY_PORT).await;
    register_with_callback(party, name, inbox.address().port()).await.unwrap();
    let address = inbox.address();
    inbox.close().await;
    address
}

/// Waits until the market has failed this often: after two failures, its next attempt is at least four seconds away,
/// after three at least 24.
async fn in_back_off(party: &Party, failures: i32) {
    eventually("the market backs off", || async {
        call!(party, MailboxStatusRequest {}).unwrap().failure_count >= failures
    })
    .await;
}

async fn server_that_comes_back_gets_everything_when_it_says_so(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let address = outage(fixture, &alice, "alice").await;
    let lamp = alice.lamp(5).await;
    let order = bob.buy(lamp, 1).await.unwrap();
    in_back_off(&alice, 2).await;
    let (mut inbox, mut told) = inbox(fixture, "alice", Role::Seller, address).await;
    let back = Instant::now();
    inbox.announce(alice.connection.clone());
    assert_eq!(order_of(next(&mut told).await), order.order_id);
    // The third attempt would come after four seconds at the earliest.
    assert!(back.elapsed() < Duration::from_secs(3), "after {:?}", back.elapsed());
    inbox.close().await;
}

async fn probe_says_whether_the_callback_answers(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    assert_eq!(
        reason(call!(alice, AnnounceInboxRequest { probe_only: true })),
        Reason::CallbackUnreachable,
        "none is registered"
    );
    let address = outage(fixture, &alice, "alice").await;
    let silent = call!(alice, AnnounceInboxRequest { probe_only: true });
    assert_eq!(reason(silent), Reason::CallbackUnreachable);
    let (inbox, _told) = inbox(fixture, "alice", Role::Seller, address).await;
    call!(alice, AnnounceInboxRequest { probe_only: true }).unwrap();
    inbox.close().await;
}

async fn validate_only_test_event_does_not_disturb_the_back_off(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let bob = fixture.buyer("bob").await;
    let (alices, carols) = (outage(fixture, &alice, "alice").await, outage(fixture, &carol, "carol").await);
    let lamp = alice.lamp(5).await;
    bob.buy(lamp, 1).await.unwrap();
    in_back_off(&alice, 3).await;
    let (alices, carols) =
        (TcpListener::bind(alices).await.unwrap(), TcpListener::bind(carols).await.unwrap());
    let text = || "hello".to_owned();
    call!(alice, TestEventRequest { request_id: alice.request_id(), validate_only: true, text: text() })
        .unwrap();
    // Probes are carried out in order, so when carol's has led to a call, alice's would have led to one too.
    call!(carol, TestEventRequest { request_id: carol.request_id(), text: text() }).unwrap();
    timeout(PATIENCE, carols.accept()).await.expect("in time").unwrap();
    call!(alice, MailboxStatusRequest {}).unwrap();
    assert!(alices.accept().now_or_never().is_none(), "it was called");
}

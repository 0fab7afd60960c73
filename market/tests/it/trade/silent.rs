//! Callbacks that accept connections and never answer, beside one that does.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use souk_certs::identity::Role;
use souk_testkit::local::StoreKind;
use tokio::net::TcpListener;

use super::delivering::{ANY_PORT, inbox, next, order_of, register_with_callback};
use crate::fixture::{Fixture, call, eventually};

/// More than all slots for callbacks that have answered and for those that have not.
const SILENT: usize = 90;
/// The slots for callbacks that have not answered yet.
const SILENT_SLOTS: usize = 16;
/// What a market would call at once that makes no difference between them.
const ALL_SLOTS: usize = 64;

/// Accepts connections, keeps them open and counts them.
async fn accept_silently(at: SocketAddr) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(at).await.unwrap();
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            open.push(connection);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    attempts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_callbacks_do_not_delay_a_seller_that_answers() {
    let fixture = Fixture::open(StoreKind::Sqlite).await;
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (alices, mut told) = inbox(&fixture, "alice", Role::Seller, ANY_PORT).await;
    register_with_callback(&alice, "alice", alices.address().port()).await.unwrap();
    let lamp = alice.lamp(50).await;
    let first = bob.buy(lamp, 1).await.unwrap();
    assert_eq!(order_of(next(&mut told).await), first.order_id);
    // All at the same address, where each answers while it registers.
    let mut at = ANY_PORT;
    let mut silent = Vec::new();
    for number in 0..SILENT {
        let name = format!("silent-{number}");
        let seller = fixture.stranger(Role::Seller, &name).await;
        let (own, _) = inbox(&fixture, &name, Role::Seller, at).await;
        at = own.address();
        register_with_callback(&seller, &name, at.port()).await.unwrap();
        own.close().await;
        silent.push(seller);
    }
    let attempts = accept_silently(at).await;
    for seller in &silent {
        let request_id = seller.request_id();
        call!(seller, TestEventRequest { request_id: request_id, text: "hello".into() }).unwrap();
    }
    eventually("the slots of silent callbacks are in use", || async {
        attempts.load(Ordering::SeqCst) >= SILENT_SLOTS
    })
    .await;
    for _ in 0..10 {
        let order = bob.buy(lamp, 1).await.unwrap();
        assert_eq!(order_of(next(&mut told).await), order.order_id);
    }
    let called = attempts.load(Ordering::SeqCst);
    assert!(called < ALL_SLOTS, "every notice came before {called} of {SILENT} silent callbacks were called");
    alices.close().await;
    fixture.close().await;
}

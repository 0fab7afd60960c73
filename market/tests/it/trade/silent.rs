//! Callbacks that accept connections and never answer, beside one that does.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

use souk_certs::identity::Role;
use souk_testkit::local::StoreKind;
use tokio::net::{TcpListener, TcpStream};

use super::delivering::{ANY_PORT, inbox, next, order_of, register_with_callback};
use crate::fixture::{Fixture, call, eventually};

/// More than all slots for callbacks that have answered and for those that have not.
const SILENT: usize = 90;
/// The slots for callbacks that have not answered yet.
const SILENT_SLOTS: usize = 16;
/// What a market would call at once that makes no difference between them.
const ALL_SLOTS: usize = 64;

/// An address at which callback servers answer, one after another, until it falls silent.
struct Gate {
    address: SocketAddr,
    /// The port of the callback server to which connections are passed on; 0 once the gate is silent.
    server: Arc<AtomicU16>,
    /// The number of connections that were accepted and never answered.
    attempts: Arc<AtomicUsize>,
}

impl Gate {
    async fn open() -> Self {
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (server, attempts) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicUsize::new(0)));
        let (to, count) = (Arc::clone(&server), Arc::clone(&attempts));
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                let port = to.load(Ordering::SeqCst);
                if port == 0 {
                    silent.push(connection);
                    count.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                tokio::spawn(async move {
                    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
                    // Ends with an error when the server closes.
                    let _ = tokio::io::copy_bidirectional(&mut connection, &mut server).await;
                });
            }
        });
        Self { address, server, attempts }
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }
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
    let gate = Gate::open().await;
    let mut silent = Vec::new();
    for number in 0..SILENT {
        let name = format!("silent-{number}");
        let seller = fixture.stranger(Role::Seller, &name).await;
        let (own, _) = inbox(&fixture, &name, Role::Seller, ANY_PORT).await;
        gate.server.store(own.address().port(), Ordering::SeqCst);
        register_with_callback(&seller, &name, gate.address.port()).await.unwrap();
        own.close().await;
        silent.push(seller);
    }
    gate.server.store(0, Ordering::SeqCst);
    for seller in &silent {
        let request_id = seller.request_id();
        call!(seller, TestEventRequest { request_id: request_id, text: "hello".into() }).unwrap();
    }
    eventually("the slots of silent callbacks are in use", || async { gate.attempts() >= SILENT_SLOTS })
        .await;
    for _ in 0..10 {
        let order = bob.buy(lamp, 1).await.unwrap();
        assert_eq!(order_of(next(&mut told).await), order.order_id);
    }
    let called = gate.attempts();
    assert!(called < ALL_SLOTS, "every notice came before {called} of {SILENT} silent callbacks were called");
    alices.close().await;
    fixture.close().await;
}

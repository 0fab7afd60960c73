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
const SILENT: usize = 120;
/// The slots for callbacks that have not answered yet, and for those that have failed.
const SLOTS: usize = 48;

/// An address at which callback servers answer, one after another, until it falls silent.
struct Gate {
    address: SocketAddr,
    /// The port of the callback server to which connections are passed on; 0 once the gate is silent.
    server: Arc<AtomicU16>,
    /// The highest number of connections that were open at once and not answered.
    most_silent: Arc<AtomicUsize>,
}

impl Gate {
    async fn open() -> Self {
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (server, most_silent) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicUsize::new(0)));
        let (to, most, silent) =
            (Arc::clone(&server), Arc::clone(&most_silent), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let port = to.load(Ordering::SeqCst);
                let (most, silent) = (Arc::clone(&most), Arc::clone(&silent));
                tokio::spawn(async move {
                    if port == 0 {
                        most.fetch_max(silent.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        // Until the market closes it.
                        let _ = tokio::io::copy(&mut connection, &mut tokio::io::sink()).await;
                        silent.fetch_sub(1, Ordering::SeqCst);
                        return;
                    }
                    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
                    // Ends with an error when the server closes.
                    let _ = tokio::io::copy_bidirectional(&mut connection, &mut server).await;
                });
            }
        });
        Self { address, server, most_silent }
    }

    fn most_silent(&self) -> usize {
        self.most_silent.load(Ordering::SeqCst)
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
    let carol = fixture.seller("carol").await;
    let (carols, mut carol_told) = inbox(&fixture, "carol", Role::Seller, ANY_PORT).await;
    register_with_callback(&carol, "carol", carols.address().port()).await.unwrap();
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
    eventually("silent callbacks leave their slots to others", || async { gate.most_silent() > SLOTS }).await;
    for _ in 0..10 {
        let order = bob.buy(lamp, 1).await.unwrap();
        assert_eq!(order_of(next(&mut told).await), order.order_id);
    }
    let chair = carol.lamp(50).await;
    let order = bob.buy(chair, 1).await.unwrap();
    assert_eq!(order_of(next(&mut carol_told).await), order.order_id, "a new seller is notified as well");
    alices.close().await;
    carols.close().await;
    fixture.close().await;
}

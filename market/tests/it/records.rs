//! How many TLS records an answer takes. The market writes each record with a separate system call, so this
//! is also what an answer costs in system calls.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use souk_certs::identity::Role;
use souk_client::Connection;
use souk_proto::v1;
use souk_testkit::{
    actor::{Actor, draft},
    local::{LocalMarket, LocalMarketOptions, StoreKind},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
};

/// The content type of records that carry application data (RFC 8446 §5.1).
const APPLICATION_DATA: u8 = 23;
/// Calls of each kind.
const CALLS: u64 = 50;
/// Records that belong to no answer: SETTINGS, window updates, answers to pings.
const OTHER_RECORDS: u64 = 10;
/// Enough for an answer of several KiB.
const ITEMS: usize = 50;

/// Listens in front of a market, and counts the records that the market sends.
async fn counting_relay(market: SocketAddr) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let records = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&records);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, to_client) = client.into_split();
            let (from_market, mut to_market) = TcpStream::connect(market).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_market).await });
            tokio::spawn(relay_records(from_market, to_client, Arc::clone(&count)));
        }
    });
    (address, records)
}

async fn relay_records(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, count: Arc<AtomicU64>) {
    let mut record = vec![0; 5];
    loop {
        record.truncate(5);
        if from.read_exact(&mut record).await.is_err() {
            return;
        }
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(5 + length, 0);
        if from.read_exact(&mut record[5..]).await.is_err() {
            return;
        }
        if record[0] == APPLICATION_DATA {
            // Count before passing it on, because the receiver of the answer may read the count at once.
            count.fetch_add(1, Ordering::SeqCst);
        }
        if to.write_all(&record).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn an_answer_takes_one_record_and_a_large_one_two() {
    let options = LocalMarketOptions { store: StoreKind::Memory, ..LocalMarketOptions::default() };
    let market = LocalMarket::open(options).await.unwrap();
    let alice = Actor::enter(&market, Role::Seller, "Alice").await.unwrap();
    alice.register(None).await.unwrap();
    for number in 0..ITEMS {
        alice.sell(draft(&format!("Lamp {number}"), "home/light", 900, 1)).await.unwrap();
    }
    let (relay, records) = counting_relay(market.address()).await;
    let mut config = alice.config.clone();
    config.market = relay.into();
    let connection = Connection::open(&config).await.unwrap();

    let mut bytes = 0;
    let mut counts = Vec::new();
    for is_large in [false, true] {
        // Connect, fetch the token, and fill the caches.
        who_am_i(&connection).await;
        let before = records.load(Ordering::SeqCst);
        for _ in 0..CALLS {
            bytes = if is_large { items(&connection).await } else { who_am_i(&connection).await };
        }
        counts.push((bytes, records.load(Ordering::SeqCst) - before));
    }
    let [(small, of_small), (large, of_large)] = counts[..] else { unreachable!("two kinds of calls") };
    assert!(small <= 1_024 && large > 4_096, "answers of {small} and {large} bytes");
    assert!((CALLS..=CALLS + OTHER_RECORDS).contains(&of_small), "{of_small} records for {CALLS} answers");
    assert!(of_large <= 2 * CALLS + OTHER_RECORDS, "{of_large} records for {CALLS} large answers");
    market.close().await.unwrap();
}

async fn who_am_i(connection: &Connection) -> usize {
    let request = v1::WhoAmIRequest {};
    let answer = connection.call(request).await.unwrap();
    prost::Message::encoded_len(&answer)
}

async fn items(connection: &Connection) -> usize {
    let request = v1::DisplaySellerItemsRequest { page_size: 50, ..Default::default() };
    let answer = connection.call(request).await.unwrap();
    prost::Message::encoded_len(&answer)
}

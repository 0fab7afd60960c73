//! Connections before their handshake: behind load balancers (PROXY protocol), and at the admin port.

use std::{
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
    time::Duration,
};

use rustls::{AlertDescription, ClientConfig};
use souk_server::config::Config;
use souk_store::sqlite;
use souk_testkit::local::{LocalMarketOptions, StoreKind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    fixture::{Fixture, MARKET, PATIENCE, connect_from, get, greet_on},
    forge::{client, foreign_root, from_files, honest_params, sign},
    handshake::alert,
};

/// The address of the load balancer, the only one that may state others.
const BALANCER: &str = "127.0.0.9";
/// Any other host.
const ELSEWHERE: &str = "127.0.0.2";

fn behind_balancer(config: &mut Config) {
    config.server.proxy_protocol = vec!["127.0.0.9/32".parse().unwrap()];
}

async fn fixture() -> Fixture {
    let options = LocalMarketOptions { adjust: behind_balancer, ..LocalMarketOptions::default() };
    Fixture::with_store(options, StoreKind::Sqlite).await
}

/// Encodes a header of version 2 for a client at this address (TCP over IPv4).
fn header(client: &str) -> Vec<u8> {
    let IpAddr::V4(client) = client.parse().unwrap() else { panic!("IPv4 only") };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(client.octets());
    header.extend([127, 0, 0, 1]);
    header.extend([0x30, 0x39, 0x1d, 0x13]);
    header
}

/// Sends a header, performs a handshake, and returns the first data.
async fn greet(from: &str, to: SocketAddr, header: &[u8], tls: ClientConfig) -> std::io::Result<Vec<u8>> {
    let mut tcp = connect_from(from, to).await.unwrap();
    tcp.write_all(header).await?;
    timeout(PATIENCE, greet_on(tcp, MARKET, tls)).await.expect("in time")
}

fn honest(fixture: &Fixture) -> ClientConfig {
    client(fixture, Some(from_files(&fixture.bob.config.credentials)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_behind_a_balancer_sees_the_clients_addresses() {
    let fixture = fixture().await;
    let market = fixture.market.address();
    let first = greet(BALANCER, market, &header("192.0.2.7"), honest(&fixture)).await.unwrap();
    assert!(!first.is_empty(), "the market starts HTTP/2");
    // A refusal is recorded with the client's address.
    let forged =
        client(&fixture, Some(sign(&foreign_root(), &honest_params("spiffe://souk.internal/market"))));
    let refused = greet(BALANCER, market, &header("192.0.2.8"), forged).await.unwrap_err();
    assert_eq!(alert(&refused), Some(AlertDescription::UnknownCA));
    let store = fixture.market.path().join("souk.db");
    let recorded = timeout(PATIENCE, async {
        loop {
            let rows = sqlite::open_reads(&store).unwrap().audit(0, 1_000).await.unwrap();
            if rows.iter().any(|row| row.line.contains("\"192.0.2.8\"")) {
                return;
            }
        }
    });
    recorded.await.expect("the audit log names the client's address");
    fixture.hold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balancer_without_a_header_is_refused() {
    let fixture = fixture().await;
    let market = fixture.market.address();
    for bytes in [&b""[..], b"PROXY TCP4 192.0.2.7 127.0.0.1 12345 7443\r\n", &header("192.0.2.7")[..20]] {
        greet(BALANCER, market, bytes, honest(&fixture)).await.unwrap_err();
    }
    let mut silent = connect_from(BALANCER, market).await.unwrap();
    let read = timeout(PATIENCE, silent.read(&mut [0; 16])).await.expect("it is closed");
    assert_eq!(read.unwrap_or(0), 0);
    fixture.hold().await;
}

/// Otherwise any host could claim any address, and with it the places and the callbacks of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_from_elsewhere_is_refused() {
    let fixture = fixture().await;
    greet(ELSEWHERE, fixture.market.address(), &header("192.0.2.7"), honest(&fixture)).await.unwrap_err();
    let plain = greet(ELSEWHERE, fixture.market.address(), b"", honest(&fixture)).await.unwrap();
    assert!(!plain.is_empty(), "without a header it is a client like any other");
    fixture.hold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_sockets_through_a_balancer_use_up_their_own_share() {
    let fixture = fixture().await;
    let market = fixture.market.address();
    let mut silent = Vec::new();
    for _ in 0..300 {
        let mut tcp = connect_from(BALANCER, market).await.unwrap();
        tcp.write_all(&header("192.0.2.66")).await.unwrap();
        silent.push(tcp);
    }
    // All of these within less than the timeout of a handshake, which is five seconds.
    let served = timeout(Duration::from_secs(4), async {
        for number in 1..=6 {
            let header = header(&format!("192.0.2.{number}"));
            assert!(!greet(BALANCER, market, &header, honest(&fixture)).await.unwrap().is_empty());
        }
    });
    served.await.expect("other clients of the balancer do not wait");
    drop(silent);
    fixture.hold().await;
}

static ADMIN: OnceLock<SocketAddr> = OnceLock::new();

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_sockets_at_the_admin_port() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    ADMIN.set(free).unwrap();
    let adjust = |config: &mut Config| config.server.admin_listen = ADMIN.get().copied();
    let fixture = Fixture::with(LocalMarketOptions { adjust, ..LocalMarketOptions::default() }).await;
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut tcp = connect_from(ELSEWHERE, free).await.unwrap();
        // Some say nothing, and some never finish. One that was closed already may refuse the bytes.
        if number % 2 == 0 {
            let _ = tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").await;
        }
        silent.push(tcp);
    }
    let scraped = timeout(Duration::from_secs(5), get(free, "/metrics")).await.expect("scrapes go on");
    let open = scraped.lines().find_map(|line| line.strip_prefix("souk_admin_connections ")).unwrap();
    assert!(open.parse::<u32>().unwrap() <= 17, "16 of the flood, and the scrape: {open}");
    assert!(timeout(Duration::from_secs(5), get(free, "/livez")).await.unwrap().starts_with("HTTP/1.1 200"));
    for mut tcp in silent {
        let read = timeout(PATIENCE, tcp.read_to_end(&mut Vec::new())).await;
        read.expect("none stays open").ok();
    }
    fixture.hold().await;
}

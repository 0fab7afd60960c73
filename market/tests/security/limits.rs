//! Resource limits. During each flood, other clients are still served.

use http_body_util::Full;
use prost::Message;
use souk_certs::identity::Role;
use souk_proto::{Reason, v1};
use souk_testkit::{
    actor::{Actor, refused},
    frames::{
        CANCEL, CONTINUATION, END_HEADERS, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, block, frame, kinds,
    },
    local::LocalMarketOptions,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use crate::{
    compression::Encoding,
    fixture::{Fixture, PATIENCE, attacks, reason},
    forge::{client, from_files},
    raw::{Pass, call},
    wire::{Wire, post},
};

attacks!(
    handshakes_of_one_address,
    message_of_one_mebibyte,
    message_that_says_it_has_four_gibibytes,
    message_cut_off,
    gzip_bomb,
    unknown_compression,
    metadata_of_64_kib,
    metadata_of_2_000_entries,
    unknown_service_and_method,
    rapid_reset_flood,
    continuation_flood,
    ping_and_settings_flood,
    streams_without_end,
    calls_that_never_send_their_message,
);

async fn pass(fixture: &Fixture) -> Pass {
    Pass::of(fixture, &fixture.seller("Mallory").await).await
}

async fn message_of_one_mebibyte(fixture: &Fixture) {
    let draft = v1::ItemDraft { description: Some("x".repeat(1 << 20)), ..Default::default() };
    let request = v1::SellItemRequest {
        request_id: souk_certs::random::uuid_v4().to_string(),
        item: Some(draft),
        ..Default::default()
    };
    let sold = pass(fixture).await.call(SELL, request.encode_to_vec()).await;
    assert_eq!(reason(sold), Reason::MessageTooLarge);
}

async fn metadata_of_64_kib(fixture: &Fixture) {
    let pass = pass(fixture).await;
    let mut request = pass.request(Vec::new());
    request.metadata_mut().insert("x-large", "x".repeat(64 * 1024).parse().unwrap());
    assert_eq!(reason(call(pass.channel(), request, WHO).await), Reason::MetadataTooLarge);
}

async fn metadata_of_2_000_entries(fixture: &Fixture) {
    let pass = pass(fixture).await;
    let mut request = pass.request(Vec::new());
    for _ in 0..2_000 {
        request.metadata_mut().append("x-many", "x".parse().unwrap());
    }
    assert_eq!(reason(call(pass.channel(), request, WHO).await), Reason::MetadataTooLarge);
}

const SELL: &str = "/shopping.v1.SellerService/SellItem";
const WHO: &str = "/shopping.v1.SessionService/WhoAmI";

async fn unknown_service_and_method(fixture: &Fixture) {
    let pass = pass(fixture).await;
    for path in ["/shopping.v1.SellerService/Nothing", "/shopping.v1.Nothing/SellItem", "/", "/x/../y"] {
        assert_eq!(reason(pass.call(path, Vec::new()).await), Reason::MethodUnknown, "{path}");
    }
}

/// CVE-2023-44487: opens and resets streams without waiting for an answer.
async fn rapid_reset_flood(fixture: &Fixture) {
    let flood = (0..50_000_u32).map(|number| {
        let stream = 2 * number + 1;
        [frame(HEADERS, END_HEADERS, stream, &post(SELL)), frame(RST_STREAM, 0, stream, &CANCEL)].concat()
    });
    let wire = Wire::open(fixture, &fixture.seller("Mallory").await).await;
    let (answer, ()) = tokio::join!(wire.flood(flood), serves(fixture));
    assert!(kinds(&answer).contains(&GOAWAY), "the market hangs up");
}

/// CVE-2024-27316: a header block that never ends.
async fn continuation_flood(fixture: &Fixture) {
    let begin = std::iter::once(frame(HEADERS, 0, 1, &post(SELL)));
    let more = block(&[("x-more", "and more and more and more and more and more and more and more")]);
    let on = (0..200_000).map(move |_| frame(CONTINUATION, 0, 1, &more));
    let wire = Wire::open(fixture, &fixture.seller("Mallory").await).await;
    let (answer, ()) = tokio::join!(wire.flood(begin.chain(on)), serves(fixture));
    assert!(kinds(&answer).contains(&GOAWAY), "the market hangs up");
}

/// Floods of frames that each require an answer (CVE-2019-9512, CVE-2019-9515).
async fn ping_and_settings_flood(fixture: &Fixture) {
    let flood = (0..50_000).map(|_| [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])].concat());
    let wire = Wire::open(fixture, &fixture.seller("Mallory").await).await;
    tokio::join!(wire.flood(flood), serves(fixture));
}

/// Opens more calls at once than a connection may have, none of which ever sends its message.
async fn streams_without_end(fixture: &Fixture) {
    let flood = (0..2_000_u32).map(|number| frame(HEADERS, END_HEADERS, 2 * number + 1, &post(SELL)));
    let wire = Wire::open(fixture, &fixture.seller("Mallory").await).await;
    let (answer, ()) = tokio::join!(wire.flood(flood), serves(fixture));
    let (refused, ended) = (kinds(&answer).contains(&RST_STREAM), kinds(&answer).contains(&GOAWAY));
    assert!(refused || ended, "what is too much is refused");
}

/// Checks that bob is served during the flood, on an old connection and on a new one.
async fn serves(fixture: &Fixture) {
    for _ in 0..20 {
        fixture.bob.item(fixture.lamp.item_id).await.unwrap();
    }
    let fresh = Actor::enter(&fixture.market, Role::Buyer, "Bob").await.unwrap();
    fresh.item(fixture.lamp.item_id).await.unwrap();
}

/// Makes a call with valid credentials and a body that the client library would not send. Returns the reason
/// of the status, which comes without a message.
async fn with_body(fixture: &Fixture, encoding: &str, body: Vec<u8>) -> Reason {
    let pass = pass(fixture).await;
    let mut request = pass.http(SELL, Body::new(Full::from(body)));
    request.headers_mut().insert("grpc-encoding", encoding.parse().unwrap());
    let response = timeout(PATIENCE, pass.channel().oneshot(request)).await.expect("in time").unwrap();
    reason(Err::<(), _>(Status::from_header_map(response.headers()).expect("a status and no message")))
}

/// Encodes gRPC's framing: a compression flag and a length, which may be wrong.
fn framed(compressed: u8, length: u32, message: &[u8]) -> Vec<u8> {
    [&[compressed][..], &length.to_be_bytes(), message].concat()
}

async fn message_that_says_it_has_four_gibibytes(fixture: &Fixture) {
    let refused = with_body(fixture, "identity", framed(0, u32::MAX, b"and then not")).await;
    assert_eq!(refused, Reason::MessageTooLarge);
}

async fn message_cut_off(fixture: &Fixture) {
    for body in [framed(0, 1_000, &[0; 10]), vec![0, 0], framed(7, 0, &[])] {
        assert_eq!(with_body(fixture, "identity", body).await, Reason::RequestMalformed);
    }
    assert_eq!(with_body(fixture, "identity", Vec::new()).await, Reason::RequestMalformed);
}

/// A message that decompresses to far more than its own size.
async fn gzip_bomb(fixture: &Fixture) {
    let zeros = vec![0; 64 << 20];
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let bomb = encoding.compress(&zeros);
        let length = u32::try_from(bomb.len()).unwrap();
        let refused = with_body(fixture, encoding.name(), framed(1, length, &bomb)).await;
        assert_eq!(refused, Reason::MessageTooLarge, "{encoding:?}");
        let broken = with_body(fixture, encoding.name(), framed(1, 10, &bomb[..10])).await;
        assert_eq!(broken, Reason::RequestMalformed, "{encoding:?}");
    }
}

async fn unknown_compression(fixture: &Fixture) {
    assert_eq!(with_body(fixture, "brotli", framed(1, 5, b"bombs")).await, Reason::CompressionUnsupported);
    // Marked as compressed, without naming an encoding.
    assert_eq!(with_body(fixture, "identity", framed(1, 5, b"bombs")).await, Reason::CompressionUnnamed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_quota() {
    let adjust = |config: &mut souk_server::config::Config| {
        config.limits.seller_calls_per_second = 1;
        config.limits.burst_calls = 10;
    };
    let fixture = Fixture::with(LocalMarketOptions { adjust, ..LocalMarketOptions::default() }).await;
    let mallory = fixture.seller("Mallory").await;
    let pass = Pass::of(&fixture, &mallory).await;
    let mut last = Ok(Vec::new());
    for _ in 0..11 {
        last = pass.call(WHO, Vec::new()).await;
    }
    let status = last.unwrap_err();
    assert_eq!((status.code(), Reason::of(&status)), (Code::ResourceExhausted, Some(Reason::RateLimited)));
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!wait.is_zero() && wait <= std::time::Duration::from_secs(1), "{wait:?}");
    // The same for gRPC libraries, which repeat calls by themselves (gRFC A6).
    let pushback = status.metadata().get(souk_proto::metadata::RETRY_PUSHBACK).unwrap().to_str().unwrap();
    assert_eq!(pushback.parse::<u128>().unwrap(), wait.as_micros().div_ceil(1_000));
    // The quota is per party: others are not affected, and another connection does not help.
    fixture.bob.item(fixture.lamp.item_id).await.unwrap();
    let again = Pass::of_token(&fixture, &mallory, pass.token()).await;
    assert_eq!(Reason::of(&again.call(WHO, Vec::new()).await.unwrap_err()), Some(Reason::RateLimited));
    fixture.hold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_party() {
    let adjust = |config: &mut souk_server::config::Config| config.limits.connections_of_party = 4;
    let fixture = Fixture::with(LocalMarketOptions { adjust, ..LocalMarketOptions::default() }).await;
    let config = fixture.market.identity(Role::Seller, "Mallory").await.unwrap();
    let open = || async {
        let tls = client(&fixture, Some(from_files(&config.credentials)));
        let mut stream = fixture.shake_hands(tls).await.unwrap();
        let first = timeout(PATIENCE, stream.read(&mut [0; 64])).await.unwrap().unwrap();
        (stream, first > 0)
    };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(open().await);
    }
    assert!(held.iter().all(|(_, served)| *served));
    assert!(!open().await.1, "the fifth is closed");
    // Others are not affected, and a place is free again when a connection ends.
    serves(&fixture).await;
    held.pop();
    let again = timeout(PATIENCE, async { while !open().await.1 {} });
    again.await.expect("a place is free again");
    drop(held);
    fixture.hold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_everybody() {
    let adjust = |config: &mut souk_server::config::Config| config.limits.connections = 8;
    let fixture = Fixture::with(LocalMarketOptions { adjust, ..LocalMarketOptions::default() }).await;
    let mallory = Actor::enter(&fixture.market, Role::Seller, "Mallory").await.unwrap();
    let mut held = Vec::new();
    for _ in 0..8 {
        let tls = client(&fixture, Some(from_files(&mallory.config.credentials)));
        held.push(fixture.shake_hands(tls).await.unwrap());
    }
    // Existing clients are served during the flood, and new ones after it.
    fixture.bob.item(fixture.lamp.item_id).await.unwrap();
    drop(held);
    refused(fixture.bob.buy(1 << 40, 1).await, Reason::ItemNotFound).unwrap();
    fixture.hold().await;
}

/// Each call holds a place until its deadline; together they get no more than the party's share.
async fn calls_that_never_send_their_message(fixture: &Fixture) {
    const CALLS: usize = 200;
    let pass = pass(fixture).await;
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let channel = fixture.market.channel(Role::Seller, "Mallory").await.unwrap();
        for _ in 0..CALLS {
            let silent = http_body_util::StreamBody::new(futures::stream::pending::<
                Result<http_body::Frame<bytes::Bytes>, Status>,
            >());
            held.spawn(channel.clone().oneshot(pass.http(WHO, Body::new(silent))));
        }
    }
    // The calls above the share are refused at once; by then all others are held.
    let refused = timeout(PATIENCE, held.join_next()).await.expect("in time").unwrap().unwrap().unwrap();
    let status = Status::from_header_map(refused.headers()).expect("a status and no message");
    assert!(matches!(Reason::of(&status), Some(Reason::Overloaded | Reason::RateLimited)), "{status:?}");
    serves(fixture).await;
    held.abort_all();
}

/// Many clients may share one address: those beyond the limit wait for their turn instead of being closed.
async fn handshakes_of_one_address(fixture: &Fixture) {
    // As many as the default of `limits.handshakes_of_address`, and silent.
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(fixture.market.address()).await.unwrap());
    }
    let config = fixture.market.identity(Role::Seller, "Patient").await.unwrap();
    let patient = client(fixture, Some(from_files(&config.credentials)));
    // Its turn comes when the silent ones have used up their time.
    assert!(!fixture.greet(patient).await.unwrap().is_empty(), "the market starts HTTP/2");
    drop(silent);
}

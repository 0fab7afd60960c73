//! What one connection may do with the frames of HTTP/2. Legal clients are never cut off, and others soon are.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all};
use prost::Message as _;
use souk_certs::identity::Role;
use souk_proto::{Reason, v1};
use souk_testkit::{
    actor::draft,
    frames::{
        CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, block, frame, message,
    },
    local::{LocalMarket, LocalMarketOptions},
};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;

use crate::{
    fixture::{Fixture, PATIENCE, attacks},
    streams::Streams,
    wire::{Wire, post},
};

attacks!(
    a_connection_outlives_bursts_of_cancellations,
    streams_of_small_messages_do_not_end_their_connection,
    one_request_stream_too_many_is_refused_and_nothing_else,
    refused_request_streams_do_not_wear_out_their_connection,
    floods_of_control_frames,
    a_connection_with_nothing_but_unknown_methods,
    a_connection_with_nothing_but_large_metadata,
);

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Begins a call with an empty message.
fn begin(stream: u32, path: &str) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, stream, &post(path)), frame(DATA, END_STREAM, stream, &message(&[]))]
        .concat()
}

/// Time-outs come in bursts, and a client cancels every call whose time is over.
async fn a_connection_outlives_bursts_of_cancellations(fixture: &Fixture) {
    const BURST: u32 = 250;
    let mut wire = Wire::open(fixture, &fixture.seller("Hasty").await).await;
    wire.send(&begin(1, WATCH)).await;
    wire.until(|frame| frame.stream == 1 && frame.kind == DATA).await;
    let mut next = 3;
    for _ in 0..5 {
        let mut burst = Vec::new();
        let streams: Vec<u32> = (0..BURST).map(|number| next + 2 * number).collect();
        next += 2 * BURST;
        for stream in &streams {
            burst.extend(begin(*stream, CHECK));
        }
        for stream in streams {
            burst.extend(frame(RST_STREAM, 0, stream, &CANCEL));
        }
        wire.send(&burst).await;
        wire.send(&begin(next, CHECK)).await;
        let ended = wire.until(|frame| {
            assert!(frame.stream != 1, "the watch goes on: {frame:?}");
            frame.stream == next && frame.flags & END_STREAM != 0
        });
        assert_eq!(ended.await.kind, HEADERS);
        next += 2;
    }
}

/// Sends one message in a frame of its own. Returns whether the market still takes it.
async fn send(stream: &mut h2::SendStream<Bytes>, content: &impl prost::Message) -> bool {
    let bytes = message(&content.encode_to_vec());
    stream.reserve_capacity(bytes.len());
    while stream.capacity() < bytes.len() {
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context));
        if !matches!(timeout(PATIENCE, capacity).await.expect("the market reads"), Some(Ok(_))) {
            return false;
        }
    }
    stream.send_data(bytes.into(), false).is_ok()
}

/// Returns the answer's status and first message.
async fn finish(answer: h2::client::ResponseFuture) -> Result<Vec<u8>, Status> {
    let broken = |error: h2::Error| Status::aborted(error.to_string());
    let answer = timeout(PATIENCE, answer).await.expect("an answer in time").map_err(broken)?;
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return Err(status);
    }
    let (mut body, mut bytes) = (answer.into_body(), Vec::new());
    while let Some(data) = timeout(PATIENCE, body.data()).await.expect("more in time") {
        bytes.extend(data.map_err(broken)?);
    }
    let trailers = body.trailers().await.map_err(broken)?.expect("trailers");
    match Status::from_header_map(&trailers).expect("a status") {
        status if status.code() == Code::Ok => Ok(bytes.split_off(5)),
        status => Err(status),
    }
}

const IMPORT: &str = "/shopping.v1.SellerService/ImportItems";
/// The market's limit for one connection.
const REQUEST_STREAMS: usize = 16;

fn header() -> v1::ImportItemsRequest {
    use v1::import_items_request::Message;
    v1::ImportItemsRequest { message: Some(Message::Header(v1::ImportHeader::default())) }
}

fn row(line: i64) -> v1::ImportItemsRequest {
    use v1::import_items_request::Message;
    let item = v1::ItemDraft { sku: Some(format!("s{line}")), ..draft("n", "c", 1, 1) };
    let row = v1::ImportRow { line, item: Some(item), ..v1::ImportRow::default() };
    v1::ImportItemsRequest { message: Some(Message::Row(row)) }
}

/// As many request streams as a connection may have, each as fast as it may be, one small message in each frame.
async fn streams_of_small_messages_do_not_end_their_connection(fixture: &Fixture) {
    const ROWS: i64 = 2_500;
    let streams = Streams::open(fixture, &fixture.seller("Prolific").await).await;
    let imports = (0..REQUEST_STREAMS).map(async |number| {
        let (answer, mut rows) = streams.begin(IMPORT).await;
        assert!(send(&mut rows, &header()).await);
        for line in 1..=ROWS {
            assert!(send(&mut rows, &row(line)).await, "stream {number}, line {line}");
        }
        rows.send_data(Bytes::new(), true).unwrap();
        finish(answer).await
    });
    for imported in join_all(imports).await {
        let imported = v1::ImportItemsResponse::decode(&imported.unwrap()[..]).unwrap();
        assert_eq!(imported.created_count + imported.unchanged_count, ROWS, "{imported:?}");
    }
}

async fn one_request_stream_too_many_is_refused_and_nothing_else(fixture: &Fixture) {
    let streams = Streams::open(fixture, &fixture.seller("Eager").await).await;
    let mut open = Vec::new();
    for _ in 0..REQUEST_STREAMS {
        let (answer, mut rows) = streams.begin(IMPORT).await;
        assert!(send(&mut rows, &header()).await);
        open.push((answer, rows));
    }
    let (answer, _rows) = streams.begin(IMPORT).await;
    let status = finish(answer).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::Overloaded), "{status:?}");
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    for (answer, mut rows) in open {
        rows.send_data(Bytes::new(), true).unwrap();
        finish(answer).await.unwrap();
    }
    let (answer, mut rows) = streams.begin(IMPORT).await;
    assert!(send(&mut rows, &header()).await);
    rows.send_data(Bytes::new(), true).unwrap();
    finish(answer).await.unwrap();
}

/// What a client has sent before it learns that its stream is refused must not count against its connection: here, as
/// much as its window allows, in the smallest frames.
async fn refused_request_streams_do_not_wear_out_their_connection(fixture: &Fixture) {
    const WINDOW: usize = 64 * 1024;
    let mut wire = Wire::open(fixture, &fixture.seller("Mistaken").await).await;
    for number in 0..40 {
        let stream = 2 * number + 1;
        // Without a token.
        wire.send(&frame(HEADERS, END_HEADERS, stream, &post(IMPORT))).await;
        wire.until(|frame| frame.stream == stream && frame.flags & END_STREAM != 0).await;
        wire.send(&frame(DATA, 0, stream, &[0; 8]).repeat(WINDOW / 8 - 1)).await;
        wire.send(&frame(RST_STREAM, 0, stream, &CANCEL)).await;
    }
    wire.send(&begin(81, CHECK)).await;
    wire.until(|frame| frame.stream == 81 && frame.flags & END_STREAM != 0).await;
}

/// Frames that carry nothing, a million of them.
async fn floods_of_control_frames(fixture: &Fixture) {
    let mallory = fixture.seller("Mallory").await;
    let update = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
    let floods = [
        ("ping", frame(PING, 0, 0, &[0; 8])),
        ("answers to no ping", frame(PING, 1, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("window update", update),
        ("priority", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16])),
        ("unknown", frame(0xF3, 0, 0, &[])),
        ("empty data", frame(DATA, 0, 1, &[])),
        ("reset", frame(RST_STREAM, 0, 1, &CANCEL)),
    ];
    for (name, flood) in floods {
        let wire = Wire::open(fixture, &mallory).await;
        let mut sent = 0;
        let begin = std::iter::once(begin(1, WATCH));
        // In pieces of 1,000 frames.
        let pieces = (0..1_000).map(|_| {
            sent += 1;
            flood.repeat(1_000)
        });
        wire.flood(begin.chain(pieces)).await;
        assert!(sent < 1_000, "{name}: the market hangs up");
    }
    fixture.bob.item(fixture.lamp.item_id).await.unwrap();
}

/// Makes calls in rounds, because a connection may have only so many in progress, until the market ends the connection.
/// Returns the number of calls that were made.
async fn calls_until_goaway(wire: &mut Wire, in_round: u32, call: impl Fn(u32) -> Vec<u8>) -> u32 {
    for round in 0..200 {
        let streams = (0..in_round).map(|number| 2 * (round * in_round + number) + 1);
        let last = 2 * (round + 1) * in_round - 1;
        wire.send(&streams.flat_map(&call).collect::<Vec<_>>()).await;
        loop {
            match wire.receive().await {
                Some(frame) if frame.kind == GOAWAY => return (round + 1) * in_round,
                Some(frame) if frame.stream == last && frame.flags & END_STREAM != 0 => break,
                Some(_) => {}
                None => panic!("the connection ends without GOAWAY"),
            }
        }
    }
    panic!("the connection does not end");
}

/// Its requests count against the party's rate, whatever they ask for, and in the end the connection is closed.
async fn a_connection_with_nothing_but_unknown_methods(fixture: &Fixture) {
    let mut wire = Wire::open(fixture, &fixture.seller("Lost").await).await;
    let calls = calls_until_goaway(&mut wire, 100, |stream| begin(stream, "/no.such.Service/Call")).await;
    assert!((1_025..3_000).contains(&calls), "{calls}");
}

/// HTTP/2 decodes all of it before the market can refuse the call.
async fn a_connection_with_nothing_but_large_metadata(fixture: &Fixture) {
    let metadata = block(&[("x-many", "of them all")]).repeat(600);
    let mut wire = Wire::open(fixture, &fixture.seller("Wordy").await).await;
    let calls = calls_until_goaway(&mut wire, 4, |stream| {
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &[post(CHECK), metadata.clone()].concat())
    });
    let calls = calls.await;
    assert!((32..64).contains(&calls), "{calls}");
}

/// Otherwise a client could do on many connections what it must not do on one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_connections_use_up_the_budget_of_their_address() {
    const ENDED: u32 = 25;
    let adjust = |config: &mut souk_server::config::Config| {
        config.limits.handshakes_per_second_of_address = 100;
        config.limits.handshakes_of_address = 1;
    };
    let fixture = Fixture::with(LocalMarketOptions { adjust, ..LocalMarketOptions::default() }).await;
    let mallory = fixture.seller("Mallory").await;
    let began = Instant::now();
    for _ in 0..ENDED {
        let pings = frame(PING, 0, 0, &[0; 8]).repeat(1_000);
        Wire::open(&fixture, &mallory).await.flood(std::iter::repeat(pings)).await;
    }
    // The budget of ten seconds pays for 1,000 handshakes, and each of these connections costs as much as 51. What the
    // last ones cost may not be known yet.
    let unpaid = Duration::from_millis(u64::from(ENDED - 3) * 51 * 10) - Duration::from_secs(10);
    assert!(began.elapsed() >= unpaid, "{:?}", began.elapsed());
    fixture.bob.item(fixture.lamp.item_id).await.unwrap();
    fixture.hold().await;
}

fn ten_calls_per_second() -> LocalMarketOptions {
    let adjust = |config: &mut souk_server::config::Config| {
        config.limits.seller_calls_per_second = 10;
        config.limits.burst_calls = 40;
    };
    LocalMarketOptions { adjust, ..LocalMarketOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_methods_count_against_the_rate() {
    let fixture = Fixture::with(ten_calls_per_second()).await;
    let lost = fixture.seller("Lost").await;
    let pass = crate::raw::Pass::of(&fixture, &lost).await;
    let mut codes = HashMap::<Code, usize>::new();
    for _ in 0..200 {
        let status = pass.call("/no.such.Service/Call", Vec::new()).await.unwrap_err();
        *codes.entry(status.code()).or_default() += 1;
    }
    assert!(codes[&Code::ResourceExhausted] > 0, "{codes:?}");
    fixture.bob.item(fixture.lamp.item_id).await.unwrap();
    fixture.hold().await;
}

fn list_services() -> ServerReflectionRequest {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    ServerReflectionRequest { host: String::new(), message_request }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_stream_count_against_the_rate() {
    let fixture = Fixture::with(ten_calls_per_second()).await;
    fixture.seller("Curious").await;
    let channel = fixture.market.channel(Role::Seller, "Curious").await.unwrap();
    let began = Instant::now();
    let requests = futures::stream::repeat_with(list_services);
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    // The burst of 40 calls, and two seconds of 10 each. Registration and the stream itself are calls, too.
    for _ in 0..60 {
        timeout(PATIENCE, answers.next()).await.expect("it is slowed down, not stopped").unwrap().unwrap();
    }
    assert!(began.elapsed() >= std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    drop(answers);
    fixture.hold().await;
}

/// Opens a health watch.
async fn watch(
    market: &LocalMarket,
    service: &str,
) -> tonic::Streaming<tonic_health::pb::HealthCheckResponse> {
    let channel = market.channel(Role::Seller, "Alice").await.unwrap();
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(channel).watch(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_do_not_hold_up_a_shutdown() {
    let fixture = Fixture::open().await;
    let (mut known, mut unknown) = (watch(&fixture.market, "").await, watch(&fixture.market, "no").await);
    let state = known.next().await.unwrap().unwrap().status();
    assert_eq!(state, ServingStatus::Serving);
    assert_eq!(unknown.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let reflection = fixture.market.channel(Role::Seller, "Alice").await.unwrap();
    let silent = futures::stream::iter([list_services()]).chain(futures::stream::pending());
    let mut described =
        ServerReflectionClient::new(reflection).server_reflection_info(silent).await.unwrap().into_inner();
    described.next().await.unwrap().unwrap();
    let streams = Streams::open(&fixture, &fixture.alice).await;
    let (imported, mut rows) = streams.begin(IMPORT).await;
    assert!(send(&mut rows, &header()).await);
    // A stream that does not end by itself would be cut off at the end of the drain, without a status.
    timeout(PATIENCE, fixture.market.close()).await.expect("the streams end").unwrap();
    assert_eq!(known.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(known.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert_eq!(unknown.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert!(described.next().await.is_none_or(|end| end.is_err()));
    let status = finish(imported).await.unwrap_err();
    // The latter if the import had begun when its stream ended.
    let reason = Reason::of(&status);
    assert!(matches!(reason, Some(Reason::Unavailable | Reason::ImportInterrupted)), "{status:?}");
}

//! Connections over a pipe in memory, with a clock that runs as fast as it can.

use std::{convert::Infallible, sync::Arc};

use h2::{
    Reason,
    client::{self, SendRequest},
};
use http_body_util::Full;
use souk_authority::{Authority, LeafOptions};
use souk_certs::{
    acceptor::PeerInfo,
    identity::{Identity, TrustDomain},
    random::Random,
};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;
use uuid::Uuid;

use super::{
    super::{answers::Answers, call::WRITE_PATIENCE},
    *,
};
use crate::observe::TopTalkers;

fn peer() -> PeerInfo {
    let begin = OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap();
    let authority = Authority::create(&TrustDomain::default(), begin, Random::SYSTEM).unwrap();
    let buyer = Identity::Buyer(Uuid::from_u128(0xb0b));
    let (issued, _) = authority.issue(&buyer, &LeafOptions::default(), begin).unwrap();
    PeerInfo { address: ([127, 0, 0, 1], 1).into(), certificate: Arc::new(issued.peer) }
}

struct Served {
    answers: Answers,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), ConnectionError>>,
}

/// Serves a connection. The path of a call is the size of its answer.
fn begin() -> (Served, DuplexStream) {
    let (market, client) = duplex(1024 * 1024);
    let (answers, stop) = (Answers::default(), CancellationToken::new());
    let service = service_fn(async |request: Request<tonic::body::Body>| {
        let size = request.uri().path().trim_start_matches('/').parse().unwrap();
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![7; size]))))
    });
    let (peer, ending) = (KnownPeer::new(peer()), Ending::new(&stop));
    let share = answers.share(peer.certificate.identity());
    let talker = TopTalkers::default().enter(peer.certificate.identity());
    let ended = tokio::spawn(async move { serve(market, (&peer, &share, &talker), &ending, service).await });
    (Served { answers, stop, ended }, client)
}

async fn connect(window: u32, client: DuplexStream) -> SendRequest<Bytes> {
    let mut builder = client::Builder::new();
    // So that only the windows of the streams are limits.
    builder.initial_window_size(window).initial_connection_window_size(16 * 1024 * 1024);
    let (sender, connection) = builder.handshake(client).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &SendRequest<Bytes>, size: usize) -> h2::RecvStream {
    let request = Request::get(format!("https://market/{size}")).body(()).unwrap();
    let (answer, _) = sender.clone().ready().await.unwrap().send_request(request, true).unwrap();
    answer.await.unwrap().into_body()
}

/// Reads an answer and opens the window again.
async fn read(body: &mut h2::RecvStream) -> Result<usize, h2::Error> {
    let mut size = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        size += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    Ok(size)
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_not_read_is_reset_and_the_connection_lives() {
    for (window, size) in [(0, 5), (0, 100_000), (100, 5_000), (20_000, 1_000_000)] {
        let (served, client) = begin();
        let sender = connect(window, client).await;
        let begun = Instant::now();
        let mut body = ask(&sender, size).await;
        let mut read = 0;
        let reset = loop {
            match body.data().await.unwrap() {
                Ok(data) => read += data.len(),
                Err(error) => break error,
            }
        };
        assert_eq!((read, reset.reason()), (window as usize, Some(Reason::ENHANCE_YOUR_CALM)));
        // A large piece has a little more time.
        assert!((WRITE_PATIENCE..12 * WRITE_PATIENCE).contains(&begun.elapsed()));
        assert_eq!(served.answers.stalled(), 1, "{window}, {size}");
        assert_eq!((served.answers.unread_bytes(), served.answers.streams()), (0, 0));
        assert!(ask(&sender, 0).await.is_end_stream(), "others go on");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_reader_gets_everything() {
    let (served, client) = begin();
    let sender = connect(10_000, client).await;
    let mut body = ask(&sender, 200_000).await;
    let mut read = 0;
    while let Some(data) = body.data().await {
        read += data.as_ref().unwrap().len();
        // 200,000 bytes at this pace take longer than the patience with a client that reads nothing.
        sleep(Duration::from_secs(3)).await;
        body.flow_control().release_capacity(data.unwrap().len()).unwrap();
    }
    assert_eq!((read, served.answers.stalled()), (200_000, 0));
}

#[tokio::test(start_paused = true)]
async fn unread_answers_are_counted_until_they_are_read() {
    let (served, client) = begin();
    let sender = connect(50_000, client).await;
    let mut bodies = Vec::new();
    for _ in 0..20 {
        bodies.push(ask(&sender, 100_000).await);
    }
    assert_eq!(served.answers.streams(), 20);
    assert!(served.answers.unread_bytes() > 1_000_000, "{}", served.answers.unread_bytes());
    for mut body in bodies {
        assert_eq!(read(&mut body).await.unwrap(), 100_000);
    }
    assert_eq!((served.answers.unread_bytes(), served.answers.streams()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn stop_lets_answers_finish() {
    let (served, client) = begin();
    let sender = connect(10_000, client).await;
    let mut body = ask(&sender, 100_000).await;
    served.stop.cancel();
    assert_eq!(read(&mut body).await.unwrap(), 100_000);
    drop((body, sender));
    served.ended.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn silent_and_vanished_clients_lose_their_connections() {
    let (served, _client) = begin();
    assert!(matches!(served.ended.await.unwrap(), Err(ConnectionError::Silent)));
    let (served, mut client) = begin();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert!(matches!(served.ended.await.unwrap(), Err(ConnectionError::Unanswered)));
}

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::StreamExt as _;
use ipnet::IpNet;
use souk_authority::pki::{InitOptions, IssueOptions, Pki};
use souk_certs::{
    acceptor::{Acceptor, AcceptorLimits, PeerInfo, TlsConnection, incoming},
    clock,
    credentials::Credentials,
    identity,
    server::{ClientPolicy, server_config},
};
use souk_proto::v1::notification_service_server::{NotificationService, NotificationServiceServer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
};
use tonic::{
    Request, Response,
    transport::{Server, server::Connected},
};

use super::*;
use crate::config::CallbackConfig;

#[test]
fn only_an_answer_about_the_events_is_a_refusal() {
    for code in [Code::Internal, Code::InvalidArgument, Code::FailedPrecondition, Code::Unknown] {
        assert!(is_refusal(&Status::new(code, "")), "{code:?}");
    }
    // Not reached, busy, or unwilling to talk to the market at all.
    for code in [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::ResourceExhausted,
        Code::PermissionDenied,
        Code::Unauthenticated,
        Code::Cancelled,
        Code::Aborted,
    ] {
        assert!(!is_refusal(&Status::new(code, "")), "{code:?}");
    }
}

#[test]
fn callback_that_answers_unavailable_was_reached() {
    let answered = Status::unavailable("we restart");
    assert_eq!(in_words(&answered), "the callback answered with an error: UNAVAILABLE");
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let mut unreached = Status::unavailable("tcp connect error");
    unreached.set_source(std::sync::Arc::new(refused));
    assert!(in_words(&unreached).starts_with("could not connect"));
}

/// A callback server that acknowledges everything.
struct Recipient;

#[tonic::async_trait]
impl NotificationService for Recipient {
    async fn notify_client(
        &self,
        _: Request<v1::NotifyClientRequest>,
    ) -> Result<Response<v1::NotifyClientResponse>, Status> {
        Ok(Response::new(v1::NotifyClientResponse::default()))
    }
}

/// A connection that counts the HTTP/2 pings of its client.
struct Watched {
    connection: TlsConnection,
    pings: Arc<AtomicUsize>,
    /// What has been read since the last whole frame.
    unread: Vec<u8>,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;

impl Watched {
    fn take(&mut self, bytes: &[u8]) {
        self.unread.extend(bytes);
        if self.unread.starts_with(PREFACE) {
            self.unread.drain(..PREFACE.len());
        }
        while let [0, high, low, kind, flags, ..] = self.unread[..] {
            let length = FRAME_HEADER + usize::from(u16::from_be_bytes([high, low]));
            if self.unread.len() < length {
                return;
            }
            let is_ping = kind == 6 && flags & 1 == 0;
            self.pings.fetch_add(usize::from(is_ping), Ordering::Relaxed);
            self.unread.drain(..length);
        }
    }
}

impl Connected for Watched {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.connection.connect_info()
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.connection).poll_read(cx, buffer);
        self.take(&buffer.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

/// Servers of C-core, grpc-go and grpc-java close a connection that is pinged more than once in five minutes.
#[tokio::test]
async fn an_idle_connection_is_not_pinged() {
    let folder = tempfile::tempdir().unwrap();
    let (domain, now) = (TrustDomain::default(), clock::now());
    let mut pki = Pki::init(folder.path(), &InitOptions::default(), now).unwrap();
    let alice = pki.issue("alice", identity::Role::Seller, &IssueOptions::default(), now).unwrap();
    let load = |files| Credentials::load(&files, &domain, now).unwrap();
    let (market, party) = (load(pki.market().unwrap().files()), load(alice.files()));

    let policy = ClientPolicy::MarketOnly;
    let config = server_config(&party, policy).unwrap();
    let acceptor = Acceptor::new(config, domain.clone(), policy, AcceptorLimits::default());
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (pings, connections) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (counted, opened) = (Arc::clone(&pings), Arc::clone(&connections));
    let watched = incoming(listener, acceptor).map(move |connection| {
        opened.fetch_add(1, Ordering::Relaxed);
        connection.map(|connection| Watched { connection, pings: Arc::clone(&counted), unread: Vec::new() })
    });
    let service = NotificationServiceServer::new(Recipient);
    let serving = tokio::spawn(Server::builder().add_service(service).serve_with_incoming(watched));

    let here = CallbackConfig { allow: Vec::<IpNet>::new(), allow_loopback: true };
    let policy = CallbackPolicy::new(&here, SocketAddr::from((Ipv4Addr::LOCALHOST, 7_443)));
    let dialer = Dialer::new(ClientTls::new(&market).unwrap(), domain, policy);
    let recipient = PartyId(alice.identity.uuid().unwrap());
    let callback = Callback { host: Ipv4Addr::LOCALHOST.to_string(), port };
    let deliver = || dialer.send(&callback, Role::Seller, recipient, Vec::new());
    deliver().await.map_err(|failure| failure.reason).unwrap();
    // The clock jumps over the pause, and with it over every ping that was due.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(90)).await;
    tokio::time::resume();
    deliver().await.map_err(|failure| failure.reason).unwrap();
    // Frames arrive in order: before the second delivery, any ping was read.
    assert_eq!((pings.load(Ordering::Relaxed), connections.load(Ordering::Relaxed)), (0, 1));
    serving.abort();
}

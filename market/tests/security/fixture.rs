//! The fixture: a market with one seller, one buyer and one item, and the means to attack it.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, pki_types::ServerName};
use souk_certs::identity::Role;
use souk_proto::{
    Reason,
    metadata::{AUTHORIZATION, PARTY_ID},
    v1::{self, seller_service_client::SellerServiceClient},
};
use souk_testkit::{
    actor::{Actor, draft},
    local::{LocalMarket, LocalMarketOptions, StoreKind},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Request, Status, metadata::MetadataValue, transport::Channel};

/// The deadline for everything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The name in a market's certificate.
pub(crate) const MARKET: &str = "market.souk.internal";

pub(crate) struct Fixture {
    pub(crate) market: LocalMarket,
    pub(crate) alice: Actor,
    pub(crate) bob: Actor,
    pub(crate) lamp: v1::Item,
}

impl Fixture {
    pub(crate) async fn open() -> Self {
        Self::with(LocalMarketOptions::default()).await
    }

    pub(crate) async fn with(options: LocalMarketOptions) -> Self {
        Self::with_store(options, StoreKind::Memory).await
    }

    pub(crate) async fn with_store(options: LocalMarketOptions, store: StoreKind) -> Self {
        Self::over(LocalMarket::open(LocalMarketOptions { store, ..options }).await.unwrap()).await
    }

    /// Enters the parties of a market that is already open.
    pub(crate) async fn over(market: LocalMarket) -> Self {
        let alice = Actor::enter(&market, Role::Seller, "Alice").await.unwrap();
        let bob = Actor::enter(&market, Role::Buyer, "Bob").await.unwrap();
        alice.register(None).await.unwrap();
        bob.register(None).await.unwrap();
        let lamp = alice.sell(draft("Lamp", "home/light", 1_250, 10)).await.unwrap();
        Self { market, alice, bob, lamp }
    }

    /// Checks that the attack had no effect, and that the market serves old and new connections.
    pub(crate) async fn hold(self) {
        let request = v1::DisplaySellerItemsRequest::default();
        let items = self.alice.connection.call(request).await.unwrap().items;
        assert_eq!(items, [self.lamp], "alice's items are as they were");
        let fresh = Actor::enter(&self.market, Role::Buyer, "Bob").await.unwrap();
        fresh.item(items[0].item_id).await.unwrap();
        for mailbox in [self.alice.mailbox().await.unwrap(), self.bob.mailbox().await.unwrap()] {
            assert_eq!(mailbox.pending_count, 0, "nobody was notified of anything");
        }
        self.market.close().await.unwrap();
    }

    /// Enters another seller, who registers.
    pub(crate) async fn seller(&self, name: &str) -> Actor {
        let seller = Actor::enter(&self.market, Role::Seller, name).await.unwrap();
        seller.register(None).await.unwrap();
        seller
    }

    /// Opens a connection of alice without the client library.
    pub(crate) async fn channel(&self) -> Channel {
        self.market.channel(Role::Seller, "Alice").await.unwrap()
    }

    /// Returns a valid token of alice.
    pub(crate) async fn token(&self) -> String {
        token(&self.alice).await
    }

    /// Opens a TLS connection, and returns the first data from the market, or its alert.
    pub(crate) async fn greet(&self, tls: ClientConfig) -> Result<Vec<u8>, std::io::Error> {
        let mut stream = self.shake_hands(tls).await?;
        timeout(PATIENCE, first_data(&mut stream)).await.expect("it does not keep us waiting")
    }

    /// Completes the client's side of a handshake. With TLS 1.3, the market may not have verified our
    /// certificate yet.
    pub(crate) async fn shake_hands(
        &self,
        tls: ClientConfig,
    ) -> Result<TlsStream<TcpStream>, std::io::Error> {
        let tcp = TcpStream::connect(self.market.address()).await?;
        timeout(PATIENCE, connect_tls(tcp, MARKET, tls)).await.expect("in time")
    }
}

/// Connects from one of this machine's addresses.
pub(crate) async fn connect_from(host: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(host.parse().unwrap(), 0)).unwrap();
    socket.connect(to).await
}

/// Completes the client's side of a handshake with a server of this name, and returns the first data from it, or its alert.
pub(crate) async fn greet_on(tcp: TcpStream, name: &str, tls: ClientConfig) -> io::Result<Vec<u8>> {
    first_data(&mut connect_tls(tcp, name, tls).await?).await
}

async fn connect_tls(tcp: TcpStream, name: &str, tls: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(tls)).connect(name, tcp).await
}

async fn first_data(stream: &mut TlsStream<TcpStream>) -> io::Result<Vec<u8>> {
    let mut first = vec![0; 1_024];
    let read = stream.read(&mut first).await?;
    first.truncate(read);
    Ok(first)
}

/// Requests a path of a market's admin port, which answers one request per connection.
pub(crate) async fn get(admin: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(admin).await.unwrap();
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Prints a figure directly, because the test harness would capture it.
pub(crate) fn figure(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Fetches a valid token.
pub(crate) async fn token(of: &Actor) -> String {
    of.connection.call(v1::IssueTokenRequest {}).await.unwrap().access_token
}

/// Tries to list an item with exactly this metadata.
pub(crate) async fn sell_with(channel: Channel, metadata: &[(&'static str, &str)]) -> Result<(), Status> {
    let mut request = Request::new(v1::SellItemRequest {
        request_id: souk_certs::random::uuid_v4().to_string(),
        item: Some(draft("Contraband", "home", 1, 1)),
        ..Default::default()
    });
    for (name, value) in metadata {
        request.metadata_mut().append(*name, MetadataValue::try_from(*value).unwrap());
    }
    SellerServiceClient::new(channel).sell_item(request).await.map(|_| ())
}

/// Returns the metadata of an honest call.
pub(crate) fn honest<'a>(party: &'a str, bearer: &'a str) -> [(&'static str, &'a str); 2] {
    [(PARTY_ID, party), (AUTHORIZATION, bearer)]
}

/// Returns the reason with which an attack was refused.
#[track_caller]
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> Reason {
    let status = result.expect_err("it is refused");
    Reason::of(&status).unwrap_or_else(|| panic!("no reason: {status:?}"))
}

/// Generates one test for each attack, after which the fixture must hold.
macro_rules! attacks {
    ($($name:ident),+ $(,)?) => {
        mod attack {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let fixture = crate::fixture::Fixture::open().await;
                super::$name(&fixture).await;
                fixture.hold().await;
            })+
        }
    };
}
pub(crate) use attacks;

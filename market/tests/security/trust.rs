//! A market whose authority lies, or is away. It keeps what it has, passes nothing on, and goes on serving.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use futures::{Stream, StreamExt as _, stream};
use prost::Message as _;
use rcgen::{KeyPair, SigningKey as _};
use souk_authority::{
    Authority,
    pki::{AUTHORITY, Pki},
};
use souk_certs::{
    acceptor::{Acceptor, AcceptorLimits, incoming},
    clock::{self, Clock},
    credentials::Credentials,
    identity::{Role, TrustDomain},
    random::Random,
    server::{ClientPolicy, server_config},
};
use souk_enrolment::trust::bundle::PREFIX;
use souk_proto::v1::{
    self,
    trust_service_server::{TrustService, TrustServiceServer},
};
use souk_testkit::{
    actor::Actor,
    authority::LocalAuthority,
    eventually,
    local::{LocalMarketOptions, StoreKind},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{Request, Response, Status, transport::Server};

use crate::fixture::Fixture;

/// How long an authority is away: an hour less than revocation lists are valid.
const AWAY: Duration = Duration::from_secs(30 * 24 * 3_600 - 3_600);

fn options() -> LocalMarketOptions {
    LocalMarketOptions { store: StoreKind::Memory, ..LocalMarketOptions::default() }
}

/// A server in the authority's place, with its certificate and key, which says the same to every market that follows it.
struct Impostor {
    asked: Arc<Mutex<Vec<i64>>>,
    server: JoinHandle<()>,
}

impl Impostor {
    /// Opens a server at the authority's address, once that has stopped.
    async fn open(at: SocketAddr, folder: &Path, lie: v1::SignedTrustBundle) -> Self {
        let (domain, policy) = (TrustDomain::default(), ClientPolicy::AnyParty);
        let files = Pki::open(folder).unwrap().find(AUTHORITY).unwrap().files();
        let credentials = Credentials::load(&files, &domain, clock::now()).unwrap();
        let config = server_config(&credentials, policy).unwrap();
        let acceptor = Acceptor::new(config, domain, policy, AcceptorLimits::default());
        let bound = Mutex::new(None);
        eventually("the port is free", async || {
            let listener = TcpListener::bind(at).await.ok();
            let is_bound = listener.is_some();
            *bound.lock().unwrap() = listener;
            is_bound
        })
        .await;
        let listener = bound.into_inner().unwrap().unwrap();
        let asked = Arc::<Mutex<Vec<i64>>>::default();
        let service = TrustServiceServer::new(Liar { lie, asked: Arc::clone(&asked) });
        let server = tokio::spawn(async move {
            let serving =
                Server::builder().add_service(service).serve_with_incoming(incoming(listener, acceptor));
            serving.await.unwrap();
        });
        Self { asked, server }
    }

    /// Returns the sequences that the market said it has.
    fn asked(&self) -> Vec<i64> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Liar {
    lie: v1::SignedTrustBundle,
    asked: Arc<Mutex<Vec<i64>>>,
}

#[tonic::async_trait]
impl TrustService for Liar {
    type WatchTrustStream = Pin<Box<dyn Stream<Item = Result<v1::WatchTrustResponse, Status>> + Send>>;

    async fn get_trust(
        &self,
        _request: Request<v1::GetTrustRequest>,
    ) -> Result<Response<v1::GetTrustResponse>, Status> {
        Err(Status::unimplemented("only markets ask"))
    }

    async fn watch_trust(
        &self,
        request: Request<v1::WatchTrustRequest>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        let known = request.into_inner().known_sequence;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(known);
        let lie = Ok(v1::WatchTrustResponse { bundle: Some(self.lie.clone()) });
        // The stream then stays open, as the authority's does.
        Ok(Response::new(stream::once(async { lie }).chain(stream::pending()).boxed()))
    }
}

/// What there is to lie about: the authority's folder, and its bundles.
struct Truth {
    folder: PathBuf,
    /// The bundle of the authority's beginnings.
    first: v1::SignedTrustBundle,
    /// The bundle that the market has.
    newest: v1::SignedTrustBundle,
}

impl Truth {
    /// Returns the contents of the newest bundle, with the next sequence.
    fn next(&self) -> v1::TrustBundle {
        let newest = v1::TrustBundle::decode(self.newest.bundle.as_slice()).unwrap();
        v1::TrustBundle { sequence: newest.sequence + 1, ..newest }
    }

    /// Signs contents with the authority's own key.
    fn signed(&self, contents: &v1::TrustBundle) -> v1::SignedTrustBundle {
        let read = |file: &str| std::fs::read_to_string(self.folder.join(file)).unwrap();
        let root = Authority::load(&TrustDomain::default(), &read("ca.pem"), &read("ca.key"), Random::SYSTEM)
            .unwrap();
        sign(contents, &root)
    }
}

/// Signs contents with the key of a root, also such as no authority publishes.
fn sign(contents: &v1::TrustBundle, root: &Authority) -> v1::SignedTrustBundle {
    let bundle = contents.encode_to_vec();
    let signature = KeyPair::from_pem(&root.key_pem()).unwrap().sign(&[PREFIX, &bundle].concat()).unwrap();
    let root_sha256 = digest(&SHA256, root.certificate()).as_ref().to_vec();
    let signatures = vec![v1::TrustSignature { root_sha256, ecdsa_p256_sha256: signature }];
    v1::SignedTrustBundle { bundle, signatures }
}

/// Returns the sequence of the bundle that the market passes on to its clients.
async fn passed_on(fixture: &Fixture) -> i64 {
    let request = v1::GetTrustRequest { known_sequence: 0 };
    fixture.alice.connection.call(request).await.unwrap().latest_sequence
}

/// Has the authority's place taken by a server that tells this lie, and asserts that the market holds.
async fn refuses(lie: impl FnOnce(&Truth) -> v1::SignedTrustBundle) {
    let (market, mut authority) = LocalAuthority::with_market(options()).await.unwrap();
    let first = authority.pki().newest_bundle().unwrap().unwrap().into();
    let fixture = Fixture::over(market).await;
    authority.pki().refresh_crl(clock::now()).unwrap();
    let newest = authority.pki().newest_bundle().unwrap().unwrap();
    let known = newest.open().unwrap().sequence;
    eventually("the market has the newest bundle", async || passed_on(&fixture).await == known).await;
    authority.stop().await;

    let folder = fixture.market.path().join("pki");
    let lie = lie(&Truth { folder: folder.clone(), first, newest: newest.into() });
    let impostor = Impostor::open(authority.address(), &folder, lie).await;
    eventually("the market asks again", async || impostor.asked().len() >= 2).await;
    let asked = impostor.asked();
    assert!(asked.iter().all(|sequence| *sequence == known), "it has something else: {asked:?}");
    assert_eq!(passed_on(&fixture).await, known);
    Actor::enter(&fixture.market, Role::Buyer, "Bob")
        .await
        .unwrap()
        .item(fixture.lamp.item_id)
        .await
        .unwrap();

    // It follows the authority again as soon as that is back.
    drop(impostor);
    authority.start().await;
    authority.pki().refresh_crl(clock::now()).unwrap();
    eventually("the market follows again", async || passed_on(&fixture).await > known).await;
    fixture.hold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trust_forged() {
    refuses(|truth| {
        let own = Authority::create(&TrustDomain::default(), clock::now(), Random::SYSTEM).unwrap();
        sign(&truth.next(), &own)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trust_older() {
    refuses(|truth| truth.first.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trust_forked() {
    refuses(|truth| {
        let next = truth.next();
        let create_time = next.create_time.map(|at| souk_proto::Timestamp { seconds: at.seconds - 1, ..at });
        truth.signed(&v1::TrustBundle { sequence: next.sequence - 1, create_time, ..next })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trust_no_crl() {
    refuses(|truth| truth.signed(&v1::TrustBundle { crls: Vec::new(), ..truth.next() })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trust_future() {
    refuses(|truth| {
        let seconds = clock::now().unix_timestamp() + 360;
        let create_time = Some(souk_proto::Timestamp { seconds, nanos: 0 });
        truth.signed(&v1::TrustBundle { create_time, ..truth.next() })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authority_offline_30_d() {
    // The market, its parties and its revocation list are of a month ago, and so is the authority's last sign of life.
    let then = Clock::new(|| clock::now() - AWAY);
    let options = LocalMarketOptions {
        store: StoreKind::Sqlite,
        issued_ago: AWAY,
        adjust: |config| config.tls.strict_crl = true,
        ..options()
    };
    let (market, mut authority) = LocalAuthority::with_market_at(options, then).await.unwrap();
    authority.stop().await;
    let mut fixture = Fixture::over(market).await;
    let mallory = fixture.seller("Mallory").await;
    let order = v1::BuyItemRequest { item_id: fixture.lamp.item_id, quantity: 1, ..Default::default() };
    fixture.bob.connection.call(order).await.unwrap();
    // Not even a restart needs the authority.
    fixture.market.restart().await.unwrap();
    assert_eq!(fixture.bob.item(fixture.lamp.item_id).await.unwrap().quantity, 9);

    // Revoked while nobody followed: in force as soon as the authority is back.
    authority.pki().revoke("mallory", clock::now()).unwrap();
    mallory.connection.call(v1::WhoAmIRequest {}).await.unwrap();
    authority.start_at(Clock::SYSTEM).await;
    eventually("mallory is cut off", async || mallory.connection.call(v1::WhoAmIRequest {}).await.is_err())
        .await;
    fixture.market.close().await.unwrap();
}

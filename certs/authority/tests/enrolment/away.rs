//! Parties that were away while the roots changed, and an authority that is away for a month.

use std::fs;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use futures::stream::{Empty, StreamExt as _, empty};
use prost::Message as _;
use rcgen::KeyPair;
use souk_authority::pki::{AUTHORITY, InitOptions, Pki, Setup};
use souk_certs::clock::{self, Clock};
use souk_certs::credentials::{Credentials, StaleLists};
use souk_certs::identity::{Role, TrustDomain};
use souk_certs::random::Random;
use souk_certs::server::enrolment_config;
use souk_client::upkeep;
use souk_enrolment::context::Context;
use souk_enrolment::join::JoinError;
use souk_enrolment::renewal::{Outcome, RenewalError, catch_up, known_sequence, renew, take};
use souk_enrolment::trust::{FetchError, Refused, WalkRefused, trusted_by};
use souk_proto::v1::{
    self,
    trust_service_server::{TrustService, TrustServiceServer},
};
use tempfile::TempDir;
use time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

use super::lying::{own_root, sign};
use super::roots::{change, restart};
use super::stall::Stall;
use super::world::{Member, World};

/// How much longer than a month the certificates and lists are valid that are used while the authority is away.
const LEFT: Duration = Duration::HOUR;

fn roots(context: &Context) -> Vec<Vec<u8>> {
    let trusted = trusted_by(context, &TrustDomain::default()).unwrap();
    trusted.roots().iter().map(|root| root.to_vec()).collect()
}

/// Catches up at the authority, and returns why not.
async fn refusal(context: &Context, clock: Clock) -> FetchError {
    let before = context.generation().unwrap();
    let refused = catch_up(context, clock, Random::SYSTEM).await.unwrap_err();
    assert_eq!(context.generation().unwrap(), before, "what it had is gone");
    match refused {
        RenewalError::CatchUp(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn root_changed_while_away() {
    let mut world = World::new().await;
    let bob = Member::join(&world.invite(Role::Buyer, "bob"), Role::Buyer).await.unwrap();
    let context = bob.context(world.address);
    change(&world);
    // Changes in between make bundles that nobody has to walk along.
    for _ in 0..3 {
        world.pki().refresh_crl(clock::now()).unwrap();
    }
    change(&world);
    restart(&mut world).await;
    let signed = world.signed();
    assert!(catch_up(&context, Clock::SYSTEM, Random::SYSTEM).await.unwrap());
    assert_eq!(roots(&context), [world.pki().root().to_vec()]);
    assert_eq!(known_sequence(&context).unwrap(), world.bundle().open().unwrap().sequence);
    assert_eq!(world.signed(), signed);
    world.serves_others().await;
}

#[tokio::test]
async fn call_goes_on_after_a_root_changed_while_away() {
    let mut world = World::new().await;
    let bob = Member::join(&world.invite(Role::Buyer, "bob"), Role::Buyer).await.unwrap();
    let context = bob.context(world.address);
    world.pki().new_root(clock::now()).unwrap();
    restart(&mut world).await;
    // The market has a certificate of the new root, by which bob can't verify it.
    let market = Member::join(&world.invite(Role::Market, "m1"), Role::Market).await.unwrap();
    let market = Stall::open(&market.credentials()).await;
    let connection = market.connect(&context).await;
    connection.call(v1::WhoAmIRequest {}).await.unwrap_err();
    connection.follow_context(context.clone());
    connection.call(v1::WhoAmIRequest {}).await.unwrap();
    assert_eq!(roots(&context).len(), 2);
    world.serves_others().await;
}

#[tokio::test]
async fn roots_are_not_caught_up_with_31_days_after_the_end() {
    let mut world = World::new().await;
    let bob = Member::join(&world.invite(Role::Buyer, "bob"), Role::Buyer).await.unwrap();
    let context = bob.context(world.address);
    change(&world);
    restart(&mut world).await;
    let late = Clock::new(|| clock::now() + Duration::days(90 + 31));
    let refused = refusal(&context, late).await;
    assert!(matches!(refused, FetchError::Walk(WalkRefused::EndedLongAgo { .. })), "{refused:?}");
    world.serves_others().await;
}

/// A server in the authority's place, with a certificate of an authority of its own. It would verify a client's certificate,
/// and fails the handshake if a client shows one, because it does not know the client's root.
struct Thief {
    address: SocketAddr,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl Thief {
    /// Opens a server that hands out this bundle.
    async fn open(bundle: v1::SignedTrustBundle) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = InitOptions { without_market: true, ..InitOptions::default() };
        let mut pki = Pki::init(folder.path(), &options, clock::now()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let setup = Setup { public: address.into(), markets: Vec::new(), ephemeral: false };
        pki.set_up(&setup, clock::now()).unwrap();
        let files = pki.find(AUTHORITY).unwrap().files();
        let credentials = Credentials::load(&files, &TrustDomain::default(), clock::now()).unwrap();
        let tls = TlsAcceptor::from(enrolment_config(&credentials, &[]).unwrap());
        let connections = TcpListenerStream::new(listener).filter_map(move |tcp| {
            let tls = tls.clone();
            async move { Some(Ok::<_, std::io::Error>(Stranger(tls.accept(tcp.ok()?).await.ok()?))) }
        });
        let service = TrustServiceServer::new(Liar(Arc::new(bundle)));
        let server = tokio::spawn(async move {
            Server::builder().add_service(service).serve_with_incoming(connections).await.unwrap();
        });
        Thief { address, server, _folder: folder }
    }
}

impl Drop for Thief {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Liar(Arc<v1::SignedTrustBundle>);

#[tonic::async_trait]
impl TrustService for Liar {
    type WatchTrustStream = Empty<Result<v1::WatchTrustResponse, Status>>;

    async fn get_trust(
        &self,
        _request: Request<v1::GetTrustRequest>,
    ) -> Result<Response<v1::GetTrustResponse>, Status> {
        let bundle = v1::SignedTrustBundle::clone(&self.0);
        let contents = v1::TrustBundle::decode(bundle.bundle.as_slice()).unwrap();
        let latest_sequence = contents.sequence;
        Ok(Response::new(v1::GetTrustResponse { bundles: vec![bundle], latest_sequence }))
    }

    async fn watch_trust(
        &self,
        _request: Request<v1::WatchTrustRequest>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        Ok(Response::new(empty()))
    }
}

/// The connection of a client that showed no certificate.
struct Stranger(TlsStream<TcpStream>);

impl Connected for Stranger {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Stranger {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(task, buffer)
    }
}

impl AsyncWrite for Stranger {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(task, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(task)
    }
}

#[tokio::test]
async fn stolen_root_that_was_retired_leads_nowhere() {
    let mut world = World::new().await;
    let bob = Member::join(&world.invite(Role::Buyer, "bob"), Role::Buyer).await.unwrap();
    let stolen = fs::read_to_string(world.dir().join("ca.key")).unwrap();
    let (stolen, stolen_root) = (KeyPair::from_pem(&stolen).unwrap(), world.pki().root().clone());
    change(&world);
    restart(&mut world).await;
    let signed = world.signed();
    let (own, own_key, own_list) = own_root();
    let newest: v1::SignedTrustBundle = world.bundle().into();
    let newest = v1::TrustBundle::decode(newest.bundle.as_slice()).unwrap();
    let theirs =
        v1::TrustBundle { sequence: 1_000, roots: vec![own.clone()], crls: vec![own_list], ..newest };

    // Without the stolen key, it is a bundle like any other.
    let thief = Thief::open(sign(&theirs, &own, &own_key)).await;
    let refused = refusal(&bob.context(thief.address), Clock::SYSTEM).await;
    assert!(matches!(refused, FetchError::Walk(WalkRefused::Step(Refused::Forged))), "{refused:?}");
    // With it, its root must still verify the server that has sent it.
    let thief = Thief::open(sign(&theirs, &stolen_root, &stolen)).await;
    let refused = refusal(&bob.context(thief.address), Clock::SYSTEM).await;
    assert!(matches!(refused, FetchError::Walk(WalkRefused::NotTheAuthority)), "{refused:?}");
    assert_eq!(world.signed(), signed);
    world.serves_others().await;
}

/// Joins as of the time at which the authority lives, and returns the context with the folder that it is in.
async fn joined_at(world: &World, role: Role, name: &str, clock: Clock) -> (Context, Member) {
    let code = world.invite(role, name);
    let member = Member::join_at(&code, role, clock.now()).await.unwrap();
    (member.context(world.address), member)
}

#[tokio::test]
async fn authority_offline_30_d() {
    // Everybody has a certificate that was due on the day on which the authority went away, and a list of that day.
    let issued = Clock::new(|| clock::now() - Duration::days(90) + LEFT);
    let gone = Clock::new(|| clock::now() - Duration::days(30) + LEFT);
    let mut world = World::at(issued).await;
    let (market, _market_folder) = joined_at(&world, Role::Market, "m1", issued).await;
    let (bob, _bob_folder) = joined_at(&world, Role::Buyer, "bob", issued).await;
    let (carol, _carol_folder) = joined_at(&world, Role::Buyer, "carol", issued).await;
    world.stop().await;
    world.pki().revoke("carol", gone.now()).unwrap();
    for context in [&market, &bob] {
        take(context, &[world.bundle()], gone, Random::SYSTEM).unwrap().unwrap();
    }
    let signed = world.signed();

    // A month later, less an hour, with the market as strict as it can be.
    let strict = StaleLists::Refuse;
    let files = market.credential_files();
    let credentials = Credentials::load_with(&files, &TrustDomain::default(), strict, clock::now()).unwrap();
    let stall = Stall::open(&credentials).await;
    stall.offer(world.bundle().into());
    let connection = stall.connect(&bob).await;
    connection.call(v1::WhoAmIRequest {}).await.unwrap();
    let said = upkeep::after_work(&bob, Some(&connection), Clock::SYSTEM, Random::SYSTEM).await.unwrap();
    assert!(said.contains("was not renewed: the authority was not reached"), "{said}");
    stall.connect(&bob).await.call(v1::WhoAmIRequest {}).await.unwrap();
    stall.connect(&carol).await.call(v1::WhoAmIRequest {}).await.unwrap_err();
    // Only newcomers have to wait.
    let code = world.invite_at(Role::Buyer, "dave", clock::now());
    let dave = Member::join(&code, Role::Buyer).await.map(drop).unwrap_err();
    assert!(matches!(dave, JoinError::Unreached(_)), "{dave:?}");
    assert_eq!(world.signed(), signed);

    world.start_at(Clock::SYSTEM).await;
    for context in [&market, &bob] {
        let renewed = renew(context, Clock::SYSTEM, Random::SYSTEM).await.unwrap();
        assert!(matches!(renewed, Outcome::Renewed(_)), "{renewed:?}");
    }
    assert_eq!(world.signed(), signed + 2);
    Member::join(&code, Role::Buyer).await.unwrap();
    world.serves_others().await;
}

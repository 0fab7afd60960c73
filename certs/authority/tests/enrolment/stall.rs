//! A market of these cases: a real server with a market's certificate, which hands out the trust bundles that it is given.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{Empty, empty};
use souk_certs::acceptor::{Acceptor, AcceptorLimits, incoming};
use souk_certs::clock;
use souk_certs::credentials::Credentials;
use souk_certs::server::{ClientPolicy, server_config};
use souk_client::{ClientConfig, Connection};
use souk_enrolment::context::Context;
use souk_proto::Timestamp;
use souk_proto::v1::{
    self,
    account_service_server::{AccountService, AccountServiceServer},
    session_service_server::{SessionService, SessionServiceServer},
    trust_service_server::{TrustService, TrustServiceServer},
};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A market, which stops when this is dropped.
pub(crate) struct Stall {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    offer: Mutex<Vec<v1::SignedTrustBundle>>,
    /// The sequences that clients said they have.
    asked: Mutex<Vec<i64>>,
}

impl Stall {
    /// Opens a market with these credentials on a free port.
    pub(crate) async fn open(credentials: &Credentials) -> Self {
        let policy = ClientPolicy::AnyParty;
        let config = server_config(credentials, policy).unwrap();
        let domain = credentials.trust_domain().clone();
        let acceptor = Acceptor::new(config, domain, policy, AcceptorLimits::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let service = Service(Arc::clone(&state));
        let router = Server::builder()
            .add_service(AccountServiceServer::new(service.clone()))
            .add_service(SessionServiceServer::new(service.clone()))
            .add_service(TrustServiceServer::new(service));
        let server = tokio::spawn(async move {
            router.serve_with_incoming(incoming(listener, acceptor)).await.unwrap();
        });
        Stall { address, state, server }
    }

    /// Answers the next questions for trust bundles with this one alone.
    pub(crate) fn offer(&self, bundle: v1::SignedTrustBundle) {
        *locked(&self.state.offer) = vec![bundle];
        locked(&self.state.asked).clear();
    }

    /// Returns the sequences that clients said they have, since the last offer.
    pub(crate) fn asked(&self) -> Vec<i64> {
        locked(&self.state.asked).clone()
    }

    /// Connects a party to this market.
    pub(crate) async fn connect(&self, context: &Context) -> Connection {
        let config = ClientConfig::new(self.address.into(), context.credential_files());
        Connection::open(&config).await.unwrap()
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Service(Arc<State>);

#[tonic::async_trait]
impl TrustService for Service {
    type WatchTrustStream = Empty<Result<v1::WatchTrustResponse, Status>>;

    async fn get_trust(
        &self,
        request: Request<v1::GetTrustRequest>,
    ) -> Result<Response<v1::GetTrustResponse>, Status> {
        locked(&self.0.asked).push(request.into_inner().known_sequence);
        let bundles = locked(&self.0.offer).clone();
        Ok(Response::new(v1::GetTrustResponse { bundles, latest_sequence: i64::MAX }))
    }

    async fn watch_trust(
        &self,
        _request: Request<v1::WatchTrustRequest>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        Ok(Response::new(empty()))
    }
}

#[tonic::async_trait]
impl AccountService for Service {
    async fn register_seller(
        &self,
        _request: Request<v1::RegisterSellerRequest>,
    ) -> Result<Response<v1::RegisterSellerResponse>, Status> {
        Err(Status::unimplemented("nobody registers here"))
    }

    async fn register_buyer(
        &self,
        _request: Request<v1::RegisterBuyerRequest>,
    ) -> Result<Response<v1::RegisterBuyerResponse>, Status> {
        Err(Status::unimplemented("nobody registers here"))
    }

    async fn issue_token(
        &self,
        _request: Request<v1::IssueTokenRequest>,
    ) -> Result<Response<v1::IssueTokenResponse>, Status> {
        let now = clock::now();
        Ok(Response::new(v1::IssueTokenResponse {
            access_token: "token".to_owned(),
            issue_time: Some(timestamp(now)),
            expire_time: Some(timestamp(now + Duration::HOUR)),
        }))
    }
}

#[tonic::async_trait]
impl SessionService for Service {
    async fn who_am_i(
        &self,
        _request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        Ok(Response::new(v1::WhoAmIResponse::default()))
    }
}

/// Encodes a time for a message.
pub(crate) fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: at.nanosecond().cast_signed() }
}

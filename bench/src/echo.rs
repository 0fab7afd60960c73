//! The upper limit for `bench compare`: the market's own server threads and TLS settings, with services that return
//! a constant response.

use std::sync::Arc;

use souk_certs::{
    acceptor::{Acceptor, AcceptorLimits, Listener},
    clock,
    credentials::{CredentialFiles, Credentials},
    identity::TrustDomain,
    server::{ClientPolicy, server_config},
};
use souk_proto::v1::{
    self,
    account_service_server::{AccountService, AccountServiceServer},
    session_service_server::{SessionService, SessionServiceServer},
};
use souk_server::{
    access::CallRates,
    audit::Refusals,
    config::{Config, LimitConfig},
    observe::{self, TopTalkers},
    random::Random,
    transport::{Server, ServerOptions},
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, async_trait, service::RoutesBuilder};

use crate::process::ServeArgs;

/// Length of the token: that of a real one, so that requests have the same size.
const TOKEN_BYTES: usize = 640;
/// Lifetime of the token: longer than a run, so that none is renewed under load.
const TOKEN_SECONDS: i64 = 3_600;

/// Returns a prepared response to every call.
struct Echo(Arc<v1::WhoAmIResponse>);

pub(crate) async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let mut config = Config::load(None)?;
    config.log.level = args.log;
    let _log = observe::init(&config.log, None)?;
    let files = CredentialFiles::beside(args.dir.join("pki/market.pem"));
    let credentials = Credentials::load(&files, &TrustDomain::default(), clock::now())?;
    let policy = ClientPolicy::AnyParty;
    let tls = server_config(&credentials, policy)?;
    let limits = AcceptorLimits {
        handshakes_of_address: usize::MAX,
        handshakes_per_second_of_address: u32::MAX,
        ..AcceptorLimits::default()
    };
    let acceptor = Acceptor::new(tls, TrustDomain::default(), policy, limits);
    let options = ServerOptions {
        calls: usize::MAX,
        calls_of_party: usize::MAX,
        acceptor: acceptor.clone(),
        threads: args.threads,
        drain: config.server.drain(),
        rates: CallRates::new(&LimitConfig {
            seller_calls_per_second: u32::MAX,
            buyer_calls_per_second: u32::MAX,
            burst_calls: u32::MAX,
            ..config.limits
        }),
        log_format: config.log.format,
        times: Arc::default(),
        talkers: TopTalkers::default(),
        refusals: Refusals::default(),
        random: Random::SYSTEM,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let answer = Arc::new(answer());
    let server = Server::start(&options, move || {
        let mut routes = RoutesBuilder::default();
        routes.add_service(AccountServiceServer::new(Echo(Arc::clone(&answer))));
        routes.add_service(SessionServiceServer::new(Echo(Arc::clone(&answer))));
        Ok(routes.routes())
    })?;
    server.deal(&mut Listener::new(listener, acceptor.sources().clone(), Vec::new())).await;
    Ok(())
}

/// Returns a response of the same size as the market's.
fn answer() -> v1::WhoAmIResponse {
    let id = "00000000-0000-4000-8000-000000000000";
    let time = Some(prost_types::Timestamp { seconds: clock::now().unix_timestamp(), nanos: 123_456_000 });
    v1::WhoAmIResponse {
        certificate: Some(v1::CertificateInfo {
            spiffe_id: format!("spiffe://souk.internal/buyer/{id}"),
            serial_number: "0".repeat(40),
            sha256_thumbprint: "0".repeat(64),
            not_before: time,
            not_after: time,
        }),
        token: Some(v1::TokenInfo { token_id: id.into(), issue_time: time, expire_time: time }),
        account: Some(v1::Account {
            party_id: id.into(),
            role: v1::Role::Buyer.into(),
            display_name: "buyer 1".into(),
            register_time: time,
            callback: None,
        }),
        peer_address: "127.0.0.1:50000".into(),
    }
}

#[async_trait]
impl SessionService for Echo {
    async fn who_am_i(&self, _: Request<v1::WhoAmIRequest>) -> Result<Response<v1::WhoAmIResponse>, Status> {
        Ok(Response::new(v1::WhoAmIResponse::clone(&self.0)))
    }
}

#[async_trait]
impl AccountService for Echo {
    async fn register_seller(
        &self,
        _: Request<v1::RegisterSellerRequest>,
    ) -> Result<Response<v1::RegisterSellerResponse>, Status> {
        Ok(Response::new(v1::RegisterSellerResponse { account: self.0.account.clone() }))
    }

    async fn register_buyer(
        &self,
        _: Request<v1::RegisterBuyerRequest>,
    ) -> Result<Response<v1::RegisterBuyerResponse>, Status> {
        Ok(Response::new(v1::RegisterBuyerResponse { account: self.0.account.clone() }))
    }

    async fn issue_token(
        &self,
        _: Request<v1::IssueTokenRequest>,
    ) -> Result<Response<v1::IssueTokenResponse>, Status> {
        let now = clock::now().unix_timestamp();
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        Ok(Response::new(v1::IssueTokenResponse {
            access_token: "x".repeat(TOKEN_BYTES),
            expire_time: time(now + TOKEN_SECONDS),
            issue_time: time(now),
        }))
    }
}

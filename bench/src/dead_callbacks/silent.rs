//! Callback servers that answer the market's probe and nothing else: they accept every delivery and never answer it.

use anyhow::Context as _;
use souk_certs::{
    acceptor::{self, Acceptor, AcceptorLimits},
    clock,
    credentials::Credentials,
    server::{ClientPolicy, server_config},
};
use souk_client::{ClientConfig, Inbox};
use souk_proto::v1::{
    NotifyClientRequest, NotifyClientResponse,
    notification_service_server::{NotificationService, NotificationServiceServer},
};
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, transport::Server};

/// Limits of one server; only the market connects, from one address.
const LIMITS: AcceptorLimits = AcceptorLimits {
    handshakes: 4,
    handshake_timeout: Duration::from_secs(10),
    handshakes_of_address: 4,
    handshakes_per_second_of_address: 1_000,
    waiting: 64,
    connections: 16,
    connections_of_party: 16,
};

struct Silent;

#[tonic::async_trait]
impl NotificationService for Silent {
    async fn notify_client(
        &self,
        request: Request<NotifyClientRequest>,
    ) -> Result<Response<NotifyClientResponse>, Status> {
        if !request.get_ref().events.is_empty() {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(NotifyClientResponse { acknowledged_sequence: 0 }))
    }
}

/// A server of one party, which ends when it is dropped.
pub(super) struct SilentServer {
    pub(super) port: u16,
    serving: JoinHandle<()>,
}

impl SilentServer {
    pub(super) async fn open(config: &ClientConfig) -> anyhow::Result<Self> {
        let credentials = Credentials::load(&config.credentials, &config.trust_domain, clock::now())?;
        let listener = Inbox::bind(([127, 0, 0, 1], 0).into()).await?;
        let port = listener.local_addr().context("the listener's address")?.port();
        let policy = ClientPolicy::MarketOnly;
        let tls = server_config(&credentials, policy)?;
        let acceptor = Acceptor::new(tls, credentials.trust_domain().clone(), policy, LIMITS);
        let serving = tokio::spawn(async move {
            let service = NotificationServiceServer::new(Silent);
            let served = Server::builder().add_service(service);
            if let Err(error) = served.serve_with_incoming(acceptor::incoming(listener, acceptor)).await {
                eprintln!("a callback server ended: {error}");
            }
        });
        Ok(Self { port, serving })
    }
}

impl Drop for SilentServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

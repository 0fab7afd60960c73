//! Callback servers that misbehave.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use souk_certs::{
    acceptor::{Acceptor, AcceptorLimits, incoming},
    clock,
    credentials::{CredentialFiles, Credentials},
    identity::TrustDomain,
    server::{ClientPolicy, server_config},
};
use souk_proto::v1::{
    NotifyClientRequest, NotifyClientResponse,
    notification_service_server::{NotificationService, NotificationServiceServer},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{Request, Response, Status, transport::Server};

/// How a rogue server responds to events. It answers probes, which contain none, correctly, or it could not
/// be registered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// Accepts events and never answers.
    Hang,
    /// Answers with megabytes of metadata and message.
    Huge,
    /// Acknowledges this sequence regardless of what it was sent.
    Acknowledge(i64),
}

/// A callback server that runs until it is dropped.
pub(crate) struct Rogue {
    pub(crate) address: SocketAddr,
    events: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Rogue {
    /// Opens a server with any certificate.
    pub(crate) async fn open(files: &CredentialFiles, manner: Manner) -> Self {
        let domain = TrustDomain::default();
        let credentials = Credentials::load(files, &domain, clock::now()).unwrap();
        let policy = ClientPolicy::MarketOnly;
        let config = server_config(&credentials, policy).unwrap();
        let acceptor = Acceptor::new(config, domain, policy, AcceptorLimits::default());
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let events = Arc::<AtomicUsize>::default();
        let service = NotificationServiceServer::new(Service { manner, events: Arc::clone(&events) });
        let server = tokio::spawn(async move {
            let serving =
                Server::builder().add_service(service).serve_with_incoming(incoming(listener, acceptor));
            serving.await.unwrap();
        });
        Self { address, events, server }
    }

    /// Returns the number of events that it has received.
    pub(crate) fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Service {
    manner: Manner,
    events: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl NotificationService for Service {
    async fn notify_client(
        &self,
        request: Request<NotifyClientRequest>,
    ) -> Result<Response<NotifyClientResponse>, Status> {
        let events = request.into_inner().events;
        if events.is_empty() {
            return Ok(Response::new(NotifyClientResponse { acknowledged_sequence: 0 }));
        }
        self.events.fetch_add(events.len(), Ordering::Relaxed);
        match self.manner {
            Manner::Hang => std::future::pending().await,
            Manner::Huge => {
                Err(Status::with_details(tonic::Code::Unknown, "x".repeat(1 << 20), vec![0; 1 << 20].into()))
            }
            Manner::Acknowledge(acknowledged_sequence) => {
                Ok(Response::new(NotifyClientResponse { acknowledged_sequence }))
            }
        }
    }
}

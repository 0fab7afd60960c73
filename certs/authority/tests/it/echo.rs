//! A minimal gRPC service, which returns its request and the caller's identity.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use souk_certs::acceptor::{Acceptor, AcceptorLimits, PeerInfo, incoming};
use souk_certs::connector::{ConnectOptions, Dial, channel};
use souk_certs::credentials::Credentials;
use souk_certs::identity::{Identity, TrustDomain};
use souk_certs::server::{ClientPolicy, server_config};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::NamedService;
use tonic::{Request, Status};
use tower::Service;

/// A running server, which stops on drop.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) acceptor: Acceptor,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(
        credentials: &Credentials,
        policy: ClientPolicy,
        limits: AcceptorLimits,
    ) -> Self {
        let config = server_config(credentials, policy).unwrap();
        let acceptor = Acceptor::new(config, TrustDomain::default(), policy, limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let connections = incoming(listener, acceptor.clone());
        let serving = tonic::transport::Server::builder()
            .add_service(WhoAsks)
            .serve_with_incoming_shutdown(connections, stopped.map(drop));
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Server { address, acceptor, stop: Some(stop), task }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.take();
        tokio::time::timeout(crate::world::DEADLINE, &mut self.task).await.unwrap().unwrap();
    }
}

/// Makes one call to the service at `dial`, and returns the SPIFFE ID that the server saw.
pub(crate) async fn ask(
    dial: Dial,
    server: Identity,
    config: Arc<rustls::ClientConfig>,
) -> Result<String, Status> {
    ask_on(&channel(dial, server, config.into(), &TrustDomain::default(), ConnectOptions::default())).await
}

/// Makes one call over an existing channel, and returns the SPIFFE ID that the server saw.
pub(crate) async fn ask_on(channel: &tonic::transport::Channel) -> Result<String, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = http::uri::PathAndQuery::from_static("/test.WhoAsks/Ask");
    let codec = tonic_prost::ProstCodec::<String, String>::default();
    grpc.unary(Request::new(String::new()), path, codec).await.map(tonic::Response::into_inner)
}

#[derive(Clone)]
struct WhoAsks;

impl NamedService for WhoAsks {
    const NAME: &'static str = "test.WhoAsks";
}

impl Service<http::Request<Body>> for WhoAsks {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = tower::service_fn(|request: Request<String>| async move {
            let peer: &PeerInfo = request.extensions().get().ok_or_else(|| Status::internal("no peer"))?;
            Ok::<_, Status>(tonic::Response::new(peer.certificate.spiffe_id().to_owned()))
        });
        let codec = tonic_prost::ProstCodec::<String, String>::default();
        async move { Ok(tonic::server::Grpc::new(codec).unary(answer, request).await) }.boxed()
    }
}

//! The server of the enrolment service.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use souk_certs::clock::Clock;
use souk_certs::random::Random;
use souk_proto::explain::{ExplainLayer, HEADER_LIST_BYTES};
use souk_proto::v1::{
    self,
    enrolment_service_server::{EnrolmentService, EnrolmentServiceServer},
    trust_service_server::{TrustService, TrustServiceServer},
};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::error::ServeError;
use super::gate::Gate;
use super::limits::{CALL_TIMEOUT, CALLS_OF_CONNECTION, MESSAGE_BYTES, STOPPING};
use super::state::{State, peer_of};
use super::{join, list, renew, trust, watch};
use crate::pki::{Pki, PkiError};

/// Interval between HTTP/2 pings on an idle connection. A market that lost the power leaves its stream of bundles open.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long a ping may stay unanswered.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// An enrolment service that is ready to serve a folder. Other processes may change the folder meanwhile.
#[derive(Debug)]
pub struct Enrolment {
    state: Arc<State>,
}

impl Enrolment {
    /// Opens a folder in which an enrolment service is set up, and brings it up to date: its certificate, revocation lists
    /// and trust bundle. Blocks on files.
    ///
    /// # Errors
    /// Returns [`PkiError::NotSetUp`] as [`ServeError::Folder`] if there is none, and other variants if a file can't be used.
    pub fn open(dir: &Path, clock: Clock, random: Random) -> Result<Self, ServeError> {
        let mut pki = Pki::open_with(dir, random)?;
        if pki.setup().is_none() {
            return Err(PkiError::NotSetUp { dir: dir.to_owned() }.into());
        }
        watch::keep_current(&mut pki, clock.now())?;
        Ok(Enrolment { state: Arc::new(State::open(dir, clock, random)?) })
    }

    /// Serves until `shutdown` resolves, and then at most [`STOPPING`] longer for calls under way. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// Returns [`ServeError::Server`] if the server fails, and [`ServeError::Watch`] if the folder can't be followed.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let state = self.state;
        let gate = Gate::new(Arc::clone(&state));
        let calls = Calls(Arc::clone(&state));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = Server::builder()
            .timeout(CALL_TIMEOUT)
            .max_concurrent_streams(CALLS_OF_CONNECTION)
            .http2_max_header_list_size(HEADER_LIST_BYTES)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .layer(ExplainLayer)
            .add_service(EnrolmentServiceServer::new(calls.clone()).max_decoding_message_size(MESSAGE_BYTES))
            .add_service(TrustServiceServer::new(calls).max_decoding_message_size(MESSAGE_BYTES))
            .serve_with_incoming_shutdown(gate.incoming(listener), async {
                let _ = stopped.await;
            });
        let follow = tokio::spawn(watch::follow(Arc::clone(&state)));
        let follow_ends = follow.abort_handle();
        let mut serving = tokio::spawn(server);
        tokio::pin!(follow, shutdown);
        let ended = tokio::select! {
            served = &mut serving => return served.map_err(io::Error::other).map_err(ServeError::Watch)?.map_err(ServeError::Server),
            followed = &mut follow => followed.map_err(io::Error::other).map_err(ServeError::Watch)?,
            () = &mut shutdown => Ok(()),
        };
        follow_ends.abort();
        state.stopping.send_replace(true);
        let _ = stop.send(());
        if timeout(STOPPING, &mut serving).await.is_err() {
            serving.abort();
        }
        // What was counted since the last tick.
        let _ = tokio::task::spawn_blocking(move || watch::write_refusals(&state)).await;
        ended
    }
}

/// Implements the services: unwraps, calls, converts.
#[derive(Clone, Debug)]
struct Calls(Arc<State>);

#[tonic::async_trait]
impl EnrolmentService for Calls {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let peer = peer_of(&request)?;
        let request = request.into_inner();
        self.0.work(peer, move |state, peer| join::join(state, peer, &request)).await.map(Response::new)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let peer = peer_of(&request)?;
        let request = request.into_inner();
        self.0.work(peer, move |state, peer| renew::renew(state, peer, &request)).await.map(Response::new)
    }

    async fn list_certificates(
        &self,
        request: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        let peer = peer_of(&request)?;
        let request = request.into_inner();
        self.0.work(peer, move |state, peer| list::list(state, peer, &request)).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl TrustService for Calls {
    async fn get_trust(
        &self,
        request: Request<v1::GetTrustRequest>,
    ) -> Result<Response<v1::GetTrustResponse>, Status> {
        let peer = peer_of(&request)?;
        trust::get(&self.0, &peer, &request.into_inner()).map(Response::new)
    }

    type WatchTrustStream = trust::Bundles;

    async fn watch_trust(
        &self,
        request: Request<v1::WatchTrustRequest>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        let peer = peer_of(&request)?;
        trust::watch(&self.0, peer, &request.into_inner()).map(Response::new)
    }
}

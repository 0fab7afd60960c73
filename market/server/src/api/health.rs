//! The standard health service (`grpc.health.v1`): whether calls should be sent to this market.
//!
//! All services have the same state, that of `/readyz`: SERVING while the market is ready, NOT_SERVING otherwise, and from
//! the beginning of a shutdown on.

use futures::{Stream, StreamExt as _, stream, stream::BoxStream};
use souk_proto::Reason;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

use super::Parts;
use crate::{ledger::OVERLOAD_RETRY_DELAY, wire};

/// Whether the market is ready. At first it is. Clones share the state.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Sender<bool>);

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Readiness {
    /// Sets whether the market is ready, and notifies the watchers if that has changed.
    pub fn set(&self, is_ready: bool) {
        let Self(state) = self;
        state.send_if_modified(|state| std::mem::replace(state, is_ready) != is_ready);
    }
}

/// The state of a market and of all of its services.
#[derive(Clone)]
struct State {
    readiness: Readiness,
    closing: CancellationToken,
}

impl State {
    fn status(&self) -> ServingStatus {
        let is_serving = *self.readiness.0.borrow() && !self.closing.is_cancelled();
        if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing }
    }
}

/// The implementation of the health service.
pub struct HealthApi {
    state: State,
    /// The names of the services whose state is known.
    services: Vec<&'static str>,
}

impl HealthApi {
    /// Creates the service for services with these names, and for the market as a whole (an empty name).
    pub fn new(parts: &Parts, services: Vec<&'static str>) -> Self {
        let state = State { readiness: parts.readiness.clone(), closing: parts.closing.clone() };
        Self { state, services }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }
}

type Watched = BoxStream<'static, Result<HealthCheckResponse, Status>>;

#[async_trait]
impl Health for HealthApi {
    type WatchStream = Watched;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            // The protocol names this code; the error has no reason of ours.
            return Err(Status::not_found("the market has no service of this name"));
        }
        Ok(Response::new(answer(self.state.status())))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Watched>, Status> {
        let state = self.state.clone();
        let states = if self.knows(&request.get_ref().service) {
            changes(state).boxed()
        } else {
            // As the protocol says: such a stream stays open, in case the service appears.
            let closing = state.closing.cancelled_owned();
            stream::once(async { ServingStatus::ServiceUnknown })
                .chain(stream::pending().take_until(closing))
                .boxed()
        };
        let last = stream::once(async {
            let message = "the market is shutting down; ask again in a moment";
            Err(wire::try_again(Reason::Unavailable, message, OVERLOAD_RETRY_DELAY))
        });
        Ok(Response::new(states.map(|state| Ok(answer(state))).chain(last).boxed()))
    }
}

/// Returns the present state and every change, and ends with NOT_SERVING when the market shuts down.
fn changes(state: State) -> impl Stream<Item = ServingStatus> + Send {
    let changed = state.readiness.0.subscribe();
    stream::unfold((state, changed, None), async |(state, mut changed, sent)| {
        loop {
            let status = state.status();
            if sent != Some(status) {
                return Some((status, (state, changed, Some(status))));
            }
            if state.closing.is_cancelled() {
                return None;
            }
            tokio::select! {
                // This fails only if the sender is gone, which `state` keeps.
                _ = changed.changed() => {}
                () = state.closing.cancelled() => {}
            }
        }
    })
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn open() -> (HealthApi, Readiness, CancellationToken) {
        let closing = CancellationToken::new();
        let readiness = Readiness::default();
        let state = State { readiness: readiness.clone(), closing: closing.clone() };
        (HealthApi { state, services: vec!["shop"] }, readiness, closing)
    }

    fn about(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    async fn watch(health: &HealthApi, service: &str) -> Watched {
        health.watch(about(service)).await.unwrap().into_inner()
    }

    async fn next(watched: &mut Watched) -> Result<ServingStatus, Code> {
        let answer = watched.next().await.expect("it goes on");
        answer.map(|answer| answer.status()).map_err(|status| status.code())
    }

    #[tokio::test]
    async fn watchers_follow_readiness_to_its_end() {
        let (health, readiness, closing) = open();
        for service in ["", "shop"] {
            let mut watched = watch(&health, service).await;
            assert_eq!(next(&mut watched).await, Ok(ServingStatus::Serving));
            readiness.set(true);
            readiness.set(false);
            assert_eq!(next(&mut watched).await, Ok(ServingStatus::NotServing));
            let checked = health.check(about(service)).await.unwrap().into_inner();
            assert_eq!(checked.status(), ServingStatus::NotServing);
            readiness.set(true);
            assert_eq!(next(&mut watched).await, Ok(ServingStatus::Serving));
        }
        let mut watched = watch(&health, "shop").await;
        assert_eq!(next(&mut watched).await, Ok(ServingStatus::Serving));
        closing.cancel();
        assert_eq!(next(&mut watched).await, Ok(ServingStatus::NotServing));
        assert_eq!(next(&mut watched).await, Err(Code::Unavailable));
        assert!(watched.next().await.is_none());
    }

    #[tokio::test]
    async fn an_unknown_service_is_said_to_be_unknown_until_the_end() {
        let (health, _, closing) = open();
        assert_eq!(health.check(about("no")).await.unwrap_err().code(), Code::NotFound);
        let mut watched = watch(&health, "no").await;
        assert_eq!(next(&mut watched).await, Ok(ServingStatus::ServiceUnknown));
        assert!(futures::poll!(watched.next()).is_pending());
        closing.cancel();
        assert_eq!(next(&mut watched).await, Err(Code::Unavailable));
    }
}

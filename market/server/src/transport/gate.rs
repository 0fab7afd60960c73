//! What every request meets before it is routed: the rate of its party, and the bounds on request streams. Also ends a
//! connection that has nothing but refused requests.

use std::{
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{Request, Response};
use pin_project_lite::pin_project;
use souk_certs::identity::Identity;
use souk_proto::explain::MetadataRefused;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{
    ending::Ending,
    refused::RefusedRequests,
    request_streams::{ConnectionStreams, Pace, RequestBody, RequestStreams},
};
use crate::access::{CallRates, PartyRate, rate_limited};

/// How many refused requests one with too much metadata counts as. HTTP/2 has decoded all of it before the request is
/// seen, which takes as long as many others, and repeating the request can't help.
const METADATA_WEIGHT: u32 = 32;

/// What the gates of all connections share.
#[derive(Clone, Debug)]
pub(super) struct GateOptions {
    pub(super) rates: CallRates,
    pub(super) streams: RequestStreams,
    /// Ends the request streams.
    pub(super) closing: CancellationToken,
}

/// A layer that applies the [`Gate`] of one connection.
#[derive(Clone, Debug)]
pub(super) struct GateLayer(Arc<State>);

/// The state of one connection. Behind one pointer, because a service is cloned for each call.
#[derive(Debug)]
struct State {
    rate: PartyRate,
    streams: ConnectionStreams,
    closing: CancellationToken,
    refused: RefusedRequests,
    ending: Ending,
}

impl GateLayer {
    /// Creates the gate of a new connection of a party.
    pub(super) fn new(
        options: &GateOptions,
        party: Identity,
        (refused, ending): (RefusedRequests, Ending),
    ) -> Self {
        let GateOptions { rates, streams, closing } = options;
        let (rate, streams, closing) = (rates.of(party), streams.of(party), closing.clone());
        Self(Arc::new(State { rate, streams, closing, refused, ending }))
    }
}

impl State {
    /// Counts a request and, if it is to send a stream, wraps that.
    fn check(&self, request: Request<Body>) -> Result<Request<Body>, Status> {
        let counted = self.rate.count().map_err(rate_limited);
        let Some(messages_per_call) = self.streams.messages_per_call(request.uri().path()) else {
            return counted.map(|()| request);
        };
        let place = counted.and_then(|()| self.streams.enter());
        let pace = Pace::new(self.rate.clone(), messages_per_call);
        let (place, refusal) = match place {
            Ok(place) => (Some(place), None),
            Err(status) => (None, Some(status)),
        };
        // Wrapped also if it is refused: then the rest of it is read when it is dropped here.
        let request = request.map(|body| Body::new(RequestBody::new(body, pace, &self.closing, place)));
        refusal.map_or(Ok(request), Err)
    }

    /// Counts a refused request by its weight, and ends the connection after too many in a row. A weight of 0 means that
    /// the request was not refused.
    fn note(&self, weight: u32) {
        if weight == 0 {
            self.refused.interrupt();
        } else if self.refused.add(weight) {
            self.ending.ask("nothing but refused requests");
        }
    }
}

/// Returns how many refusals a response counts as. It counts if this request could never have succeeded: it named no
/// method of the market, the caller may not make it, or it had too much metadata. The rate is counted where it is
/// checked; overload is not the caller's fault.
fn refusals<A>(response: &Response<A>) -> u32 {
    let code = response.headers().get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    match code {
        Some(Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied) => 1,
        Some(Code::ResourceExhausted) if response.extensions().get::<MetadataRefused>().is_some() => {
            METADATA_WEIGHT
        }
        Some(_) => 0,
        // Such as 415 for a request that is not gRPC.
        None => u32::from(!response.status().is_success()),
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gate { inner, state: Arc::clone(&self.0) }
    }
}

/// A service behind the gate.
#[derive(Clone, Debug)]
pub(super) struct Gate<S> {
    inner: S,
    state: Arc<State>,
}

impl<S, A> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<A>>,
    A: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Passed<S::Future>, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.state.check(request) {
            Ok(request) => {
                Either::Left(Passed { call: self.inner.call(request), state: Arc::clone(&self.state) })
            }
            Err(status) => {
                self.state.note(1);
                Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

pin_project! {
    /// A call that has passed the gate.
    pub(super) struct Passed<F> {
        #[pin]
        call: F,
        state: Arc<State>,
    }
}

impl<F, A, E> Future for Passed<F>
where
    F: Future<Output = Result<Response<A>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answered = std::task::ready!(this.call.poll(context));
        if let Ok(response) = &answered {
            this.state.note(refusals(response));
        }
        Poll::Ready(answered)
    }
}

//! What every request meets before it is routed: the rate of its party, and the bounds on request streams. Also ends a
//! connection that has nothing but refused requests.

use std::{
    future::{Ready, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use futures::future::Either;
use http::{Request, Response};
use pin_project_lite::pin_project;
use souk_certs::acceptor::PeerInfo;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{
    ending::Ending,
    request_streams::{Pace, RequestBody, RequestStreams},
};
use crate::access::{CallRates, rate_limited};

/// The number of requests refused in a row after which a connection is ended. More than may be in progress at once, so
/// that a client whose token has just become invalid can fetch another.
const REFUSED_IN_A_ROW: u32 = 1_024;

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
    options: GateOptions,
    /// The number of calls with a request stream on the connection.
    streams: Arc<AtomicU32>,
    /// The number of requests refused in a row.
    refused: AtomicU32,
    ending: Ending,
}

impl GateLayer {
    /// Creates the gate of a new connection.
    pub(super) fn new(options: GateOptions, ending: Ending) -> Self {
        Self(Arc::new(State { options, streams: Arc::default(), refused: AtomicU32::new(0), ending }))
    }
}

impl State {
    /// Counts a request and, if it is to send a stream, wraps that.
    fn check(&self, request: Request<Body>) -> Result<Request<Body>, Status> {
        let GateOptions { rates, streams, closing } = &self.options;
        let Some(peer) = request.extensions().get::<PeerInfo>() else { return Ok(request) };
        let counted = rates.count(peer).map_err(rate_limited);
        let Some(messages_per_call) = streams.messages_per_call(request.uri().path()) else {
            return counted.map(|()| request);
        };
        let place = counted.and_then(|()| streams.enter(peer.certificate.identity(), &self.streams));
        let pace = Pace::new(rates.clone(), peer.clone(), messages_per_call);
        let (place, refusal) = match place {
            Ok(place) => (Some(place), None),
            Err(status) => (None, Some(status)),
        };
        // Wrapped also if it is refused: then the rest of it is read when it is dropped here.
        let request = request.map(|body| Body::new(RequestBody::new(body, pace, closing, place)));
        refusal.map_or(Ok(request), Err)
    }

    /// Notes whether a request was refused, and ends the connection after too many in a row.
    fn note(&self, is_refused: bool) {
        if !is_refused {
            if self.refused.load(Ordering::Relaxed) != 0 {
                self.refused.store(0, Ordering::Relaxed);
            }
        } else if self.refused.fetch_add(1, Ordering::Relaxed) + 1 == REFUSED_IN_A_ROW {
            self.ending.ask("nothing but refused requests");
        }
    }
}

/// Returns whether a response says that this request could never have succeeded: it named no method of the market, or the
/// caller may not make it. The rate is counted where it is checked; overload is not the caller's fault.
fn is_refused<A>(response: &Response<A>) -> bool {
    let code = response.headers().get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    match code {
        Some(code) => matches!(code, Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied),
        // Such as 415 for a request that is not gRPC.
        None => !response.status().is_success(),
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
                self.state.note(true);
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
            this.state.note(is_refused(response));
        }
        Poll::Ready(answered)
    }
}

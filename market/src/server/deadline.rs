//! The longest time that a call may take to be answered.
//!
//! What a client asks for by `grpc-timeout` is shorter or makes no difference, and is kept by tonic. Calls
//! whose requests come as a stream are answered at its end: they have no such limit, and must bound what they
//! wait for themselves.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::Either;
use http::{Request, Response};
use pin_project_lite::pin_project;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use souk_proto::FILE_DESCRIPTOR_SET;
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Puts [`Deadline`] around a service.
#[derive(Clone, Debug)]
pub(super) struct DeadlineLayer {
    longest: Duration,
    unbounded: Arc<HashSet<String>>,
}

impl DeadlineLayer {
    /// For all calls but those whose requests are streams.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, unbounded: Arc::new(request_streams()) }
    }
}

/// The paths of the calls whose requests are streams.
fn request_streams() -> HashSet<String> {
    // The set was written by our own build.
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default().file;
    let services =
        files.iter().flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
    let methods = services.flat_map(|(package, service)| {
        let streams = service.method.iter().filter(|method| method.client_streaming());
        streams.map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
    });
    methods.collect()
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline { inner, layer: self.clone() }
    }
}

/// A service whose calls end with DEADLINE_EXCEEDED when they take too long.
#[derive(Clone, Debug)]
pub(super) struct Deadline<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S, B, A> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    A: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Bounded<S::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.layer.unbounded.contains(request.uri().path()) {
            return Either::Left(self.inner.call(request));
        }
        Either::Right(Bounded { call: self.inner.call(request), over: sleep(self.layer.longest) })
    }
}

pin_project! {
    /// A call, and when it is given up.
    pub(super) struct Bounded<F> {
        #[pin]
        call: F,
        #[pin]
        over: Sleep,
    }
}

impl<F, A, E> Future for Bounded<F>
where
    F: Future<Output = Result<Response<A>, E>>,
    A: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.project();
        if let Poll::Ready(answered) = call.call.poll(context) {
            return Poll::Ready(answered);
        }
        match call.over.poll(context) {
            Poll::Ready(()) => {
                let told = "the market did not answer in time; whether a change took effect is not known";
                Poll::Ready(Ok(Status::new(Code::DeadlineExceeded, told).into_http()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tonic::body::Body;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    async fn code(path: &str) -> Option<Code> {
        let slow = service_fn(async |_: Request<()>| {
            sleep(Duration::from_secs(2)).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let service = DeadlineLayer::new(Duration::from_secs(1)).layer(slow);
        let request = Request::builder().uri(path).body(()).unwrap();
        let answer = Box::pin(service.oneshot(request)).await.unwrap();
        Status::from_header_map(answer.headers()).map(|status| status.code())
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_bounded_but_not_those_that_are_sent_a_stream() {
        assert_eq!(code("/shopping.v1.BuyerService/BuyItem").await, Some(Code::DeadlineExceeded));
        assert_eq!(code("/shopping.v1.SellerService/ImportItems").await, None);
    }
}

//! Bounds the calls that are under way on all server threads together.

use std::{
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::Either;
use http::{Request, Response};
use pin_project_lite::pin_project;
use souk_proto::Reason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use crate::wire;

/// When a refused caller is told to come back.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// Puts [`Admission`] around a service.
#[derive(Clone, Debug)]
pub(super) struct AdmissionLayer {
    places: Arc<Semaphore>,
}

impl AdmissionLayer {
    /// Lets this many calls in at a time; clones share them.
    pub(super) fn new(calls: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS))) }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admission { inner, places: Arc::clone(&self.places) }
    }
}

/// A service that takes a bounded number of calls at a time and refuses further ones at once. A call counts
/// until its answer begins: an open stream is bounded by its connection.
#[derive(Clone, Debug)]
pub(super) struct Admission<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl<S, B, A> Service<Request<B>> for Admission<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    A: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Admitted<S::Future>, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Either::Left(Admitted { call: self.inner.call(request), _place: place }),
            Err(_) => {
                let told = "the market is as busy as it may be; try again in a moment";
                Either::Right(ready(Ok(wire::try_again(Reason::Overloaded, told, RETRY_DELAY).into_http())))
            }
        }
    }
}

pin_project! {
    /// A call that was let in, and its place.
    pub(super) struct Admitted<F> {
        #[pin]
        call: F,
        _place: OwnedSemaphorePermit,
    }
}

impl<F: Future> Future for Admitted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::Notify;
    use tonic::{Status, body::Body};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[tokio::test]
    async fn one_call_too_many_is_refused_at_once_and_told_when_to_come_back() {
        let done = Arc::new(Notify::new());
        let waiting = Arc::clone(&done);
        let slow = service_fn(move |_: Request<()>| {
            let done = Arc::clone(&waiting);
            async move {
                done.notified().await;
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let service = AdmissionLayer::new(2).layer(slow);
        let call = || tokio::spawn(service.clone().oneshot(Request::new(())));
        let under_way = [call(), call()];
        tokio::task::yield_now().await;
        let refused = call().await.unwrap().unwrap();
        let status = Status::from_header_map(refused.headers()).unwrap();
        assert_eq!(Reason::of(&status), Some(Reason::Overloaded));
        for call in under_way {
            done.notify_one();
            let answer = call.await.unwrap().unwrap();
            assert!(Status::from_header_map(answer.headers()).is_none());
        }
        done.notify_one();
        assert!(
            Status::from_header_map(call().await.unwrap().unwrap().headers()).is_none(),
            "places are free again"
        );
    }
}

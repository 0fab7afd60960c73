//! Bounds the number of concurrent calls on all server threads together.

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
use souk_certs::{acceptor::PeerInfo, identity::Identity};
use souk_proto::Reason;
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use super::party_counts::PartyCounts;
use crate::wire;

/// Retry delay suggested to a rejected caller.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// A layer that applies [`Admission`].
#[derive(Clone, Debug)]
pub(super) struct AdmissionLayer {
    places: Arc<Places>,
}

#[derive(Debug)]
struct Places {
    all: Semaphore,
    most: usize,
    /// The calls in progress of each party.
    of_parties: PartyCounts,
}

impl AdmissionLayer {
    /// Creates a layer that admits this many concurrent calls in total and per party. Clones share the limits.
    pub(super) fn new(calls: usize, calls_of_party: usize) -> Self {
        // `Semaphore::new` panics above this number.
        let most = calls.min(Semaphore::MAX_PERMITS);
        let places = Places {
            all: Semaphore::new(most),
            most,
            of_parties: PartyCounts::new(u32::try_from(calls_of_party).unwrap_or(u32::MAX)),
        };
        Self { places: Arc::new(places) }
    }

    /// Returns the number of admitted calls whose response has not begun.
    pub(super) fn under_way(&self) -> usize {
        self.places.most - self.places.all.available_permits()
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admission { inner, places: Arc::clone(&self.places) }
    }
}

/// A service that admits a bounded number of concurrent calls and rejects further ones at once, instead of queueing
/// them until their deadlines have passed.
///
/// A call counts until its response begins, because the number of open streams is bounded per connection. The limit
/// per party keeps one party from using up the total, for example with calls that never send their message.
#[derive(Clone, Debug)]
pub(super) struct Admission<S> {
    inner: S,
    places: Arc<Places>,
}

/// The permit of a call, returned on drop.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    party: Option<Identity>,
}

impl Place {
    fn take(places: &Arc<Places>, party: Option<Identity>) -> Result<Self, &'static str> {
        // The total comes first: it is one atomic operation, and a flood is rejected without taking the lock.
        // On an early return below, dropping the permit gives the place back.
        let Ok(permit) = places.all.try_acquire() else {
            return Err("the market is as busy as it may be; try again in a moment");
        };
        if party.is_some_and(|party| !places.of_parties.take(party)) {
            return Err("as many of your calls are under way as may be; wait for some to be answered");
        }
        // Returned in `drop`. A `SemaphorePermit` would borrow from `places`.
        permit.forget();
        Ok(Self { places: Arc::clone(places), party })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(party) = self.party {
            self.places.of_parties.give_back(party);
        }
        // Replaces the permit that `take` forgot. Without this, each call would lower the limit for good.
        self.places.all.add_permits(1);
    }
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
        // By the certificate, not by `x-party-id`: the guard has not run yet, so metadata is still unverified.
        let party = request.extensions().get::<PeerInfo>().map(|peer| peer.certificate.identity());
        match Place::take(&self.places, party) {
            Ok(place) => Either::Left(Admitted { call: self.inner.call(request), _place: place }),
            Err(message) => {
                // A response rather than an error: an error would reset the stream, and the client would learn
                // no reason.
                Either::Right(ready(
                    Ok(wire::try_again(Reason::Overloaded, message, RETRY_DELAY).into_http()),
                ))
            }
        }
    }
}

pin_project! {
    /// An admitted call and its permit.
    pub(super) struct Admitted<F> {
        #[pin]
        call: F,
        _place: Place,
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
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn one_call_too_many_is_refused_at_once_with_a_retry_delay() {
        let done = Arc::new(Notify::new());
        let waiting = Arc::clone(&done);
        let slow = service_fn(move |_: Request<()>| {
            let done = Arc::clone(&waiting);
            async move {
                done.notified().await;
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let service = AdmissionLayer::new(2, 2).layer(slow);
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

    #[test]
    fn a_party_has_its_share_and_no_more() {
        let AdmissionLayer { places } = AdmissionLayer::new(3, 2);
        let (one, other) = (Identity::Seller(Uuid::from_u128(1)), Identity::Buyer(Uuid::from_u128(1)));
        let held = [(); 2].map(|()| Place::take(&places, Some(one)).unwrap());
        assert!(Place::take(&places, Some(one)).is_err());
        let others = Place::take(&places, Some(other)).unwrap();
        assert!(Place::take(&places, Some(other)).is_err(), "all places are taken");
        drop((held, others));
        assert!(places.of_parties.is_empty() && places.all.available_permits() == 3);
    }
}

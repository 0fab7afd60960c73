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
use souk_certs::identity::Identity;
use souk_proto::Reason;
use tower::{Layer, Service};

use super::places::Places;
use crate::{
    by_party::{ByParty, OfParty},
    wire,
};

/// Retry delay suggested to a rejected caller.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// The calls in progress of all connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Calls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: Places,
    most: usize,
    most_of_party: usize,
    of_parties: ByParty<Places>,
}

impl Calls {
    /// Creates the counts, with limits for all calls together and for those of a party.
    pub(super) fn new(most: usize, most_of_party: usize) -> Self {
        let (all, of_parties) = (Places::default(), ByParty::default());
        Self(Arc::new(Shared { all, most, most_of_party, of_parties }))
    }

    /// Returns the number of admitted calls whose response has not begun.
    pub(super) fn under_way(&self) -> usize {
        self.0.all.taken()
    }

    /// Returns the layer for a new connection of a party. The identity is that of the certificate, not of `x-party-id`:
    /// the guard has not run yet, so metadata is still unverified.
    pub(super) fn admission(&self, party: Identity) -> AdmissionLayer {
        let of_party = self.0.of_parties.of(party, Places::default);
        AdmissionLayer(Arc::new(OfConnection { calls: self.clone(), of_party }))
    }
}

/// A layer that applies [`Admission`] to the calls of a connection. Behind one pointer, because a service is cloned for
/// each call.
#[derive(Clone, Debug)]
pub(super) struct AdmissionLayer(Arc<OfConnection>);

#[derive(Debug)]
struct OfConnection {
    calls: Calls,
    /// Shared by the connections of the party, so that a call finds it without a lock.
    of_party: Arc<OfParty<Places>>,
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admission { inner, connection: Arc::clone(&self.0) }
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
    connection: Arc<OfConnection>,
}

/// The place of a call, returned on drop.
#[derive(Debug)]
struct Place(Arc<OfConnection>);

impl Place {
    fn take(connection: &Arc<OfConnection>) -> Result<Self, &'static str> {
        let Shared { all, most, most_of_party, .. } = &*connection.calls.0;
        if !connection.of_party.take(*most_of_party) {
            return Err("as many of your calls are under way as may be; wait for some to be answered");
        }
        if !all.take(*most) {
            connection.of_party.give_back();
            return Err("the market is as busy as it may be; try again in a moment");
        }
        Ok(Self(Arc::clone(connection)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let OfConnection { calls, of_party } = &*self.0;
        calls.0.all.give_back();
        of_party.give_back();
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
        match Place::take(&self.connection) {
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
        let service = Calls::new(2, 2).admission(Identity::Market).layer(slow);
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
        let calls = Calls::new(3, 2);
        let connect = |party| calls.admission(party).0;
        let one = Identity::Seller(Uuid::from_u128(1));
        let (first, second) = (connect(one), connect(one));
        let held = [Place::take(&first).unwrap(), Place::take(&second).unwrap()];
        assert!(Place::take(&first).is_err(), "of the party, on both connections");
        let other = connect(Identity::Buyer(Uuid::from_u128(1)));
        let others = Place::take(&other).unwrap();
        assert!(Place::take(&other).is_err(), "all places are taken");
        assert_eq!((calls.under_way(), other.of_party.taken()), (3, 1), "a refused call takes none");
        drop((held, others));
        assert_eq!((calls.under_way(), first.of_party.taken(), other.of_party.taken()), (0, 0, 0));
        drop((first, second, other));
        assert!(calls.0.of_parties.is_empty());
    }
}

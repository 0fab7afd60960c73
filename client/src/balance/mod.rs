//! Calls to a market that has several addresses.
//!
//! Each address has at most one HTTP/2 connection. The first one is dialled when a call needs it, further
//! ones when there are open calls already. A call goes to the address with the fewest open calls. Consecutive
//! calls stay at one address, whose searches already reflect what their caller has just changed. A call that
//! goes elsewhere says so, and the market there waits until its searches reflect the changes too. An address
//! where a dial or a call failed, or that answered UNAVAILABLE, is left out and tried again after a pause
//! that doubles. While none is connected, addresses are dialled one after another, each a moment after the
//! one before, and the first to answer gets the call ("happy eyeballs", RFC 8305), so that an address that
//! swallows packets costs only that moment.
//!
//! A failed call is repeated by [`Connection::call`](crate::Connection::call), which has the whole request. A
//! rejected certificate at one address is reported even if the call succeeds at another.

mod choice;
mod lease;
mod member;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Request, Response};
use souk_certs::{
    client::ClientTls,
    connector::{Closed, ConnectOptions, Dial, DialError, connect_once},
    identity::{Identity, TrustDomain},
    random::Random,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::{Status, body::Body, transport::Channel};
use tower::{Service as _, ServiceExt as _};

use crate::{
    Error, MarketAddresses,
    error::{BoxError, NoneReached},
};
use choice::{Members, Plan};
use lease::{Lease, Watched};

pub use choice::{ATTEMPT_DELAY, OWN_WRITES};
pub use member::{FIRST_LEFT_OUT, MAX_LEFT_OUT};

const WAS_ELSEWHERE: HeaderName = HeaderName::from_static(souk_proto::metadata::WAS_ELSEWHERE);

/// How often a connection is checked while there are others to use. Together with [`FROZEN_TIMEOUT`], it
/// bounds how long a frozen market delays a call.
pub const FROZEN_INTERVAL: Duration = Duration::from_secs(3);
/// How long such a check may take.
pub const FROZEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Spreads calls over the addresses of a market. Clones share connections and load.
#[derive(Clone)]
pub(crate) struct Balancer(Arc<Shared>);

struct Shared {
    dialler: Dialler,
    members: Mutex<Members>,
    /// Counts the results of dials.
    changes: watch::Sender<u64>,
    /// Where to report rejected certificates.
    on_distrust: Mutex<Option<DistrustCallback>>,
}

/// Called with the error that rejected a certificate; see [`Balancer::on_distrust`].
type DistrustCallback = Box<dyn Fn(&Error) + Send>;

/// How to dial the addresses.
#[derive(Clone)]
struct Dialler {
    tls: ClientTls,
    domain: TrustDomain,
    options: ConnectOptions,
}

/// The address that answered a call, as an extension of the response.
#[derive(Clone, Debug)]
pub(crate) struct AnsweredBy(pub(crate) Dial);

impl Balancer {
    pub(crate) fn new(
        market: &MarketAddresses,
        tls: ClientTls,
        domain: &TrustDomain,
        random: Random,
    ) -> Self {
        let options = ConnectOptions {
            keep_alive_interval: Some(FROZEN_INTERVAL),
            keep_alive_timeout: FROZEN_TIMEOUT,
            ..ConnectOptions::default()
        };
        let dialler = Dialler { tls, domain: domain.clone(), options };
        let members = Mutex::new(Members::new(market.iter(), Instant::now(), random));
        Self(Arc::new(Shared {
            dialler,
            members,
            changes: watch::Sender::new(0),
            on_distrust: Mutex::default(),
        }))
    }

    /// Sends a call to the most suitable address. Must be called inside a tokio runtime.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (mut channel, lease) = self.0.lease().await?;
        if lease.was_elsewhere {
            request.headers_mut().insert(WAS_ELSEWHERE, HeaderValue::from_static("1"));
        }
        // The lease is held across the call. If the caller gives up, dropping it uncounts the open call.
        let answer = match channel.ready().await {
            Ok(channel) => channel.call(request).await,
            Err(error) => Err(error),
        };
        let mut response = answer.map_err(|error| lease.broke(error.into()))?;
        // The headers suffice: a failure without a body has its `grpc-status` there (trailers-only response).
        lease.answered(response.headers());
        response.extensions_mut().insert(AnsweredBy(lease.address()));
        Ok(response.map(|body| Body::new(Watched { body, lease })))
    }

    /// Returns whether a call that just failed at one address may be repeated at another without waiting.
    pub(crate) fn has_another(&self) -> bool {
        self.0.members().is_any_in(Instant::now())
    }

    /// Makes addresses that rejected the credentials available again, because they may accept new ones.
    pub(crate) fn forgive(&self) {
        self.0.members().list.iter_mut().for_each(member::Member::forgive);
    }

    /// Reports rejected certificates, once for each address until it is reached again.
    pub(crate) fn on_distrust(&self, on_distrust: impl Fn(&Error) + Send + 'static) {
        // A callback that panicked has poisoned the lock, but the option is whole.
        *self.0.on_distrust.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(on_distrust));
    }
}

impl Shared {
    /// Leases a connected address for a call.
    async fn lease(self: &Arc<Self>) -> Result<(Channel, Lease), Status> {
        let begun = Instant::now();
        // Subscribed before planning: a dial that ends between the plan and the wait is then still seen.
        let mut changes = self.changes.subscribe();
        loop {
            // Marked before the plan, for the same reason; after it, a result in between would be lost.
            changes.mark_unchanged();
            // A statement of its own, so that the lock is released before the match: its arms lock again and
            // await.
            let plan = self.members().plan(begun, Instant::now());
            match plan {
                Plan::Use { place, channel, connection, dial, was_elsewhere } => {
                    // No await between the plan, which has counted the call, and the lease, which uncounts it on drop: a caller that
                    // gives up there would leave the address loaded for good.
                    let (shared, begun) = (Arc::clone(self), Instant::now());
                    let lease = Lease { shared, place, connection, begun, was_elsewhere };
                    self.dial(dial);
                    return Ok((channel, lease));
                }
                Plan::Wait { dial, until } => {
                    self.dial(dial);
                    // On a change and on the timeout alike, plan again. The sender can't be gone, because
                    // `self` owns it.
                    match until {
                        Some(until) => drop(timeout_at(until, changes.changed()).await),
                        None => drop(changes.changed().await),
                    }
                }
                Plan::Nowhere => return Err(self.nowhere()),
            }
        }
    }

    fn nowhere(&self) -> Status {
        let members = self.members();
        let failures = members.list.iter().filter_map(|member| member.dial_failure.as_ref());
        let none = NoneReached(failures.map(|(_, error)| Arc::clone(error)).collect());
        let mut status = Status::unavailable(none.to_string());
        // Kept as the source, so that the caller can tell a rejected certificate from an unreachable host.
        status.set_source(Arc::new(none));
        status
    }

    /// Dials an address in a separate task, so that a caller that gives up does not abort the dial. The task
    /// runs until the connection ends or the balancer has been dropped.
    fn dial(self: &Arc<Self>, place: Option<usize>) {
        let Some(place) = place else { return };
        let target = self.members().list[place].address.clone();
        // Weak: a task that lives as long as its connection must not keep the balancer alive.
        let (shared, dialler) = (Arc::downgrade(self), self.dialler.clone());
        tokio::spawn(async move {
            let dialled = dialler.dial(&target).await;
            // A failed dial is not repeated here: the next call plans it, after the pause of its address.
            let Some(connected) = dialled_to(&shared, place, dialled) else { return };
            let (connection, closed) = connected;
            // Nothing is ever sent; the channel closes with the connection.
            let _ = closed.await;
            if let Some(shared) = shared.upgrade() {
                // By number: a newer connection of this address may have been made since.
                shared.members().list[place].ended(connection);
            }
        });
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        // Every critical section leaves the members consistent, so a panic elsewhere does no harm.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report_distrust(&self, place: usize, error: &DialError) {
        let failure = Error::from_transport(error, &error.target);
        if !failure.is_about_the_certificate() || !self.members().list[place].is_news_of_distrust() {
            return;
        }
        tracing::warn!(%failure, "an address of the market is left out");
        if let Some(on_distrust) = self.on_distrust.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            on_distrust(&failure);
        }
    }
}

/// Records the result of a dial. Returns the connection's number, and a future that resolves at its end.
fn dialled_to(
    shared: &Weak<Shared>,
    place: usize,
    dialled: Result<(Channel, Closed), DialError>,
) -> Option<(u64, Closed)> {
    let shared = shared.upgrade()?;
    let connected = match dialled {
        Ok((channel, closed)) => Some((shared.members().list[place].connected(channel), closed)),
        Err(error) => {
            // Report before any waiting caller wakes up.
            shared.report_distrust(place, &error);
            shared.members().list[place].dial_failed(Arc::new(error), Instant::now());
            None
        }
    };
    // After the members are updated, since the callers that wake up plan with them.
    shared.changes.send_modify(|count| *count += 1);
    connected
}

impl Dialler {
    async fn dial(&self, target: &Dial) -> Result<(Channel, Closed), DialError> {
        connect_once(target, Identity::Market, self.tls.load(), &self.domain, self.options).await
    }
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").finish_non_exhaustive()
    }
}

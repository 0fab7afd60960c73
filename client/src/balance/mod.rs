//! Calls to a market that has several addresses.
//!
//! Each address has one HTTP/2 connection at most, dialled when the first call needs one, and to further
//! addresses when calls are open on it already. A call goes where fewest are open; calls one after the other
//! stay at one address, whose searches know what its caller has just changed. One that goes elsewhere all the same says so,
//! and the market there sees to it that its searches know too. An address where a dial or a
//! call failed, or that answered UNAVAILABLE, is left out, and tried again after a pause that doubles. While
//! none is connected, addresses are dialled one after the other, each a moment after the one before, and the
//! first to answer gets the call ("happy eyeballs", RFC 8305): one that swallows packets costs that moment.
//!
//! The call that failed is repeated by [`Connection::call`](crate::Connection::call), where it is whole.
//! A rejected certificate at one address is reported even if the call succeeds at another.

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
    random,
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

/// How often a connection is checked while there are others to go on with, and how long the answer may take:
/// so a market that has frozen holds a call up for as long as both together, and no longer.
pub const FROZEN_INTERVAL: Duration = Duration::from_secs(3);
/// See [`FROZEN_INTERVAL`].
pub const FROZEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Spreads calls over the addresses of a market. A clone shares connections and load.
#[derive(Clone)]
pub(crate) struct Balancer(Arc<Shared>);

struct Shared {
    dialler: Dialler,
    members: Mutex<Members>,
    /// Counts what becomes of dials.
    changes: watch::Sender<u64>,
    /// Whom to report rejected certificates to.
    tell: Mutex<Option<Tell>>,
}

/// Tells somebody of a failure.
type Tell = Box<dyn Fn(&Error) + Send>;

/// How all of the addresses are dialled.
#[derive(Clone)]
struct Dialler {
    tls: ClientTls,
    domain: TrustDomain,
    options: ConnectOptions,
}

/// Which address answered a call; among the extensions of its response.
#[derive(Clone, Debug)]
pub(crate) struct AnsweredBy(pub(crate) Dial);

impl Balancer {
    pub(crate) fn new(market: &MarketAddresses, tls: ClientTls, domain: &TrustDomain) -> Self {
        let options = ConnectOptions {
            keep_alive_interval: FROZEN_INTERVAL,
            keep_alive_timeout: FROZEN_TIMEOUT,
            ..ConnectOptions::default()
        };
        let dialler = Dialler { tls, domain: domain.clone(), options };
        let members = Mutex::new(Members::new(market.iter(), Instant::now(), random::unit));
        Self(Arc::new(Shared { dialler, members, changes: watch::Sender::new(0), tell: Mutex::default() }))
    }

    /// Makes a call at the address that suits best. Must be called inside a tokio runtime.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (mut channel, lease) = self.0.lease().await?;
        if lease.was_elsewhere {
            request.headers_mut().insert(WAS_ELSEWHERE, HeaderValue::from_static("1"));
        }
        let answer = match channel.ready().await {
            Ok(channel) => channel.call(request).await,
            Err(error) => Err(error),
        };
        let mut response = answer.map_err(|error| lease.broke(error.into()))?;
        lease.answered(response.headers());
        response.extensions_mut().insert(AnsweredBy(lease.address()));
        Ok(response.map(|body| Body::new(Watched { body, lease })))
    }

    /// Whether a call that just failed at one address may be repeated at another without waiting.
    pub(crate) fn has_another(&self) -> bool {
        self.0.members().is_any_in(Instant::now())
    }

    /// Addresses that turned the credentials down may accept others.
    pub(crate) fn forgive(&self) {
        self.0.members().list.iter_mut().for_each(member::Member::forgive);
    }

    /// Reports rejected certificates, once for each address until it is reached again.
    pub(crate) fn on_distrust(&self, tell: impl Fn(&Error) + Send + 'static) {
        *self.0.tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tell));
    }
}

impl Shared {
    /// A place for a call, at an address that is connected.
    async fn lease(self: &Arc<Self>) -> Result<(Channel, Lease), Status> {
        let begun = Instant::now();
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let plan = self.members().plan(begun, Instant::now());
            match plan {
                Plan::Use { place, channel, connection, dial, was_elsewhere } => {
                    let (shared, begun) = (Arc::clone(self), Instant::now());
                    let lease = Lease { shared, place, connection, begun, was_elsewhere };
                    self.dial(dial);
                    return Ok((channel, lease));
                }
                Plan::Wait { dial, until } => {
                    self.dial(dial);
                    // Whichever comes first, a change or the time, is looked at alike; the sender is here.
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
        status.set_source(Arc::new(none));
        status
    }

    /// Dials an address in a task of its own, so that a caller that gives up does not take the dial with it.
    /// The task goes on until the connection ends, or nobody has the balancer any more.
    fn dial(self: &Arc<Self>, place: Option<usize>) {
        let Some(place) = place else { return };
        let target = self.members().list[place].address.clone();
        let (shared, dialler) = (Arc::downgrade(self), self.dialler.clone());
        tokio::spawn(async move {
            let dialled = dialler.dial(&target).await;
            let Some(connected) = dialled_to(&shared, place, dialled) else { return };
            let (connection, closed) = connected;
            // Nothing is ever sent: it ends with the connection.
            let _ = closed.await;
            if let Some(shared) = shared.upgrade() {
                shared.members().list[place].ended(connection);
            }
        });
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        // Every critical section leaves the members whole, so a panic elsewhere does not spoil them.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_distrust(&self, place: usize, error: &DialError) {
        let failure = Error::from_transport(error, &error.target);
        if !failure.is_about_the_certificate() || !self.members().list[place].is_news_of_distrust() {
            return;
        }
        tracing::warn!(%failure, "an address of the market is left out");
        if let Some(tell) = self.tell.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            tell(&failure);
        }
    }
}

/// Notes what became of a dial. Answers the connection's number, and its end to be waited for.
fn dialled_to(
    shared: &Weak<Shared>,
    place: usize,
    dialled: Result<(Channel, Closed), DialError>,
) -> Option<(u64, Closed)> {
    let shared = shared.upgrade()?;
    let connected = match dialled {
        Ok((channel, closed)) => Some((shared.members().list[place].connected(channel), closed)),
        Err(error) => {
            // Before anybody can go on because of it.
            shared.tell_distrust(place, &error);
            shared.members().list[place].dialled_in_vain(Arc::new(error), Instant::now());
            None
        }
    };
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

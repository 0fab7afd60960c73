//! `TrustService` of the authority: returns trust bundles to clients that ask, and streams them to markets.
//!
//! `GetTrust` needs no certificate: that of a caller who was away while the roots changed does not count. A bundle holds
//! nothing secret.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use prost::Message as _;
use souk_certs::identity::Role;
use souk_proto::{Reason, v1};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;
use tonic::Status;

use super::peer::Peer;
use super::state::State;
use super::status::{overloaded, refused};
use crate::log::Did;

/// A stream of bundles.
pub(super) type Bundles = Pin<Box<dyn Stream<Item = Result<v1::WatchTrustResponse, Status>> + Send>>;

/// Carries out a call of `GetTrust`.
pub(super) fn get(
    state: &State,
    peer: &Peer,
    request: &v1::GetTrustRequest,
) -> Result<v1::GetTrustResponse, Status> {
    check_known(state, peer, request.known_sequence)?;
    let published = state.published();
    let bundles = published.since(request.known_sequence).ok_or_else(|| not_chained(state, peer))?;
    Ok(v1::GetTrustResponse { bundles, latest_sequence: published.newest() })
}

/// Begins a call of `WatchTrust`, for a market.
pub(super) fn watch(
    state: &Arc<State>,
    peer: Peer,
    request: &v1::WatchTrustRequest,
) -> Result<Bundles, Status> {
    if state.certified(&peer, false)?.facts.identity().role() != Role::Market {
        let message = "only markets follow the authority; clients get the trust bundle from a market";
        return Err(state.refuse(Did::Refuse, Reason::RoleDenied, message, &peer));
    }
    check_known(state, &peer, request.known_sequence)?;
    let permit = Arc::clone(&state.watchers).try_acquire_owned().map_err(|_| overloaded())?;
    let follower = Follower {
        state: Arc::clone(state),
        peer,
        newest: state.newest.subscribe(),
        stopping: state.stopping.subscribe(),
        known: request.known_sequence,
        has_begun: false,
        pending: Vec::new(),
        _permit: permit,
    };
    Ok(Box::pin(futures::stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(bundle) => Some((Ok(v1::WatchTrustResponse { bundle: Some(bundle) }), Some(follower))),
            Err(status) => Some((Err(status), None)),
        }
    })))
}

/// A market that follows the bundles.
struct Follower {
    state: Arc<State>,
    peer: Peer,
    newest: watch::Receiver<i64>,
    stopping: watch::Receiver<bool>,
    known: i64,
    /// Whether it has got the first bundles.
    has_begun: bool,
    /// Those to be sent, the newest first. At most as many as a walk is long.
    pending: Vec<v1::SignedTrustBundle>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// Waits for the next bundle. Ends with an error when the market is revoked, its certificate ends, or the service stops.
    async fn next(&mut self) -> Result<v1::SignedTrustBundle, Status> {
        loop {
            if let Some(bundle) = self.pending.pop() {
                return Ok(bundle);
            }
            // Again each time: the stream may outlast its certificate.
            let certificate = self.state.certified(&self.peer, false)?;
            self.newest.borrow_and_update();
            let published = self.state.published();
            if !self.has_begun || published.newest() > self.known {
                self.has_begun = true;
                let bundles = published.for_market(self.known);
                self.pending = bundles.ok_or_else(|| not_chained(&self.state, &self.peer))?;
                self.pending.reverse();
                self.known = self.pending.first().and_then(sequence_of).unwrap_or(self.known);
                if !self.pending.is_empty() {
                    continue;
                }
            }
            let left = certificate.facts.not_after() - self.state.clock.now() + time::Duration::SECOND;
            tokio::select! {
                _ = self.newest.changed() => {}
                () = sleep(Duration::try_from(left).unwrap_or_default()) => {}
                _ = self.stopping.wait_for(|is_stopping| *is_stopping) => {
                    let message = "the authority is stopping; connect again in a moment";
                    return Err(refused(Reason::Unavailable, message));
                }
            }
        }
    }
}

/// Returns the sequence of a bundle. The authority has made it, so it can be decoded.
fn sequence_of(bundle: &v1::SignedTrustBundle) -> Option<i64> {
    v1::TrustBundle::decode(bundle.bundle.as_slice()).ok().map(|bundle| bundle.sequence)
}

fn check_known(state: &State, peer: &Peer, known: i64) -> Result<(), Status> {
    if known >= 0 {
        return Ok(());
    }
    let message = "known_sequence must not be negative; send 0 for none";
    Err(state.refuse(Did::Refuse, Reason::InvalidField, message, peer))
}

fn not_chained(state: &State, peer: &Peer) -> Status {
    let message =
        "the roots changed too often since this bundle, or were replaced because of a theft; join again";
    state.refuse(Did::Refuse, Reason::TrustNotChained, message, peer)
}

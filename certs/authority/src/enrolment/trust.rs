//! `TrustService` of the authority: hands out trust bundles, to those that ask and to those that listen.
//!
//! `GetTrust` needs no certificate: that of a caller who was away while the roots changed does not count. A bundle holds
//! nothing secret.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use prost::Message as _;
use souk_certs::identity::Role;
use souk_proto::{Reason, v1};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::Status;

use super::limits::ANSWER_BYTES;
use super::peer::Peer;
use super::state::{State, folder_error};
use super::status::{overloaded, refused};
use crate::log::Did;
use crate::pki::PkiError;

/// A stream of bundles.
pub(super) type Bundles = Pin<Box<dyn Stream<Item = Result<v1::WatchTrustResponse, Status>> + Send>>;

/// Carries out a call of `GetTrust`. Blocks on files.
pub(super) fn get(
    state: &State,
    peer: &Peer,
    request: &v1::GetTrustRequest,
) -> Result<v1::GetTrustResponse, Status> {
    let (bundles, latest_sequence) = since(state, peer, request.known_sequence)?;
    Ok(v1::GetTrustResponse { bundles, latest_sequence })
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
    let permit = Arc::clone(&state.watchers).try_acquire_owned().map_err(|_| overloaded())?;
    let newest = state.newest.subscribe();
    let follower = Follower {
        state: Arc::clone(state),
        peer,
        newest,
        known: request.known_sequence,
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
    known: i64,
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
            self.state.certified(&self.peer, false)?;
            let newest = *self.newest.borrow_and_update();
            if newest > self.known || self.known == 0 {
                let (peer, known) = (self.peer.clone(), self.known);
                let (mut bundles, _) = self.state.work(move |state| since(state, &peer, known)).await?;
                // The last of them: an answer may be cut off before the newest.
                let last = bundles.last().and_then(sequence_of);
                self.known = last.unwrap_or(newest).max(self.known);
                bundles.reverse();
                self.pending = bundles;
                if !self.pending.is_empty() {
                    continue;
                }
            }
            if self.newest.changed().await.is_err() {
                return Err(refused(
                    Reason::Unavailable,
                    "the authority is stopping; connect again in a moment",
                ));
            }
        }
    }
}

/// Returns the sequence of a bundle. The authority has made it, so it can be decoded.
fn sequence_of(bundle: &v1::SignedTrustBundle) -> Option<i64> {
    v1::TrustBundle::decode(bundle.bundle.as_slice()).ok().map(|bundle| bundle.sequence)
}

/// Returns the bundles after a known one, as many as fit into an answer, and the sequence of the newest.
fn since(state: &State, peer: &Peer, known: i64) -> Result<(Vec<v1::SignedTrustBundle>, i64), Status> {
    if known < 0 {
        let message = "known_sequence must not be negative; send 0 for none";
        return Err(state.refuse(Did::Refuse, Reason::InvalidField, message, peer));
    }
    let failed = |error: PkiError| folder_error(&error);
    let pki = state.pki().map_err(failed)?;
    let bundles = pki.bundles().since(known, pki.trust_floor()).map_err(|error| failed(error.into()))?;
    let newest =
        pki.bundles().newest().map_err(|error| failed(error.into()))?.map_or(0, |(newest, _)| newest);
    let Some(bundles) = bundles else {
        let message =
            "the roots changed too often since this bundle, or were replaced because of a theft; join again";
        return Err(state.refuse(Did::Refuse, Reason::TrustNotChained, message, peer));
    };
    let mut bytes = 0;
    let mut answer = Vec::with_capacity(bundles.len());
    for bundle in bundles.into_iter().map(v1::SignedTrustBundle::from) {
        bytes += bundle.encoded_len();
        if bytes > ANSWER_BYTES && !answer.is_empty() {
            break;
        }
        answer.push(bundle);
    }
    Ok((answer, newest))
}

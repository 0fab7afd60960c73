//! Follows the other markets on the same store: their commits wake the search and the streams here, and parties that
//! they suspend are suspended here too, within a second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use souk_domain::{PartyId, Sequence};
use souk_search::Search;
use souk_store::{Hint, Look, Replicas, Standing};
use tokio_util::sync::CancellationToken;

use crate::{access::Access, api::Parts, relay::RelayHandle, rides::RideNews};

/// How long a successful poll of the store counts as fresh. The store is polled more than twice a second, so
/// exceeding this means several consecutive failures, or a store that does not respond.
const FRESH_FOR: Duration = Duration::from_secs(3);

/// Applies the standings of parties, from commits of this market and from polls of the store. A poll that overlaps a
/// commit of this market is discarded, because it may have read older standings; the next poll follows soon.
#[derive(Clone, Default)]
pub(super) struct StandingNotes(Arc<Mutex<u64>>);

impl StandingNotes {
    /// Applies the standings changed by a commit of this market.
    pub(super) fn take(&self, access: &Access, standings: &[Standing]) {
        if !standings.is_empty() {
            // Held while the standings are applied: `take_if` must see either both the count and the standings
            // or neither.
            let mut commits = self.lock();
            *commits += 1;
            standings.iter().for_each(|standing| access.note_standing(standing));
        }
    }

    fn commits(&self) -> u64 {
        *self.lock()
    }

    /// Applies the standings from a poll that started after `commits` commits, unless there has been another one
    /// since. Returns whether they were applied.
    fn take_if(&self, commits: u64, access: &Access, standings: &[Standing]) -> bool {
        let present = self.lock();
        // If this market committed a standing after the look began, the look may be older and would undo it.
        // The next one will do.
        let is_current = *present == commits;
        if is_current {
            standings.iter().for_each(|standing| access.note_standing(standing));
        }
        is_current
    }

    /// Locks the count. A poisoned lock is safe to use: nothing under it can be left half done.
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The components that are notified of what other markets do.
pub(super) struct ReplicaListener {
    pub(super) relay: RelayHandle,
    pub(super) search: Search,
    pub(super) access: Arc<Access>,
    pub(super) rides: RideNews,
    pub(super) notes: StandingNotes,
}

/// When the store was last reached, for the readiness check. Clones share it.
#[derive(Clone)]
pub(super) struct StoreFreshness(Arc<Mutex<Instant>>);

impl StoreFreshness {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns for how long the store has not been reached.
    pub(super) fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Returns whether the store was reached within [`FRESH_FOR`].
    pub(super) fn is_fresh(&self) -> bool {
        self.age() <= FRESH_FOR
    }
}

/// Starts a task that follows the other markets until this one shuts down, if the store can be shared. Hints are only an
/// optimisation: the periodic poll, which arrives as a hint for everything, makes up for a lost one.
pub(super) fn start(
    replicas: Option<Arc<dyn Replicas>>,
    listener: ReplicaListener,
    closing: CancellationToken,
) -> Option<StoreFreshness> {
    let freshness = StoreFreshness::new();
    tokio::spawn(follow(replicas?, listener, freshness.clone(), closing));
    Some(freshness)
}

async fn follow(
    replicas: Arc<dyn Replicas>,
    listener: ReplicaListener,
    freshness: StoreFreshness,
    closing: CancellationToken,
) {
    let mut known = HashMap::new();
    loop {
        let hint = tokio::select! {
            () = closing.cancelled() => return,
            hint = replicas.hint() => hint,
        };
        listener.pass_on(&hint);
        if hint.everything || hint.feed || hint.standings {
            let followed = if hint.everything { listener.relay.followed() } else { Vec::new() };
            // Both are read before the look, because they are compared with what it returns.
            let commits = listener.notes.commits();
            let moved = listener.search.load().moved;
            match replicas.look(&followed).await {
                Ok(look) => {
                    freshness.note();
                    // A feed never ends earlier than before, unless a standby that lacks commits was promoted.
                    if look.feed_end < moved {
                        listener.search.was_set_back();
                    }
                    listener.catch_up(&look, commits, hint.everything, &mut known);
                }
                Err(error) => tracing::debug!(%error, "cannot poll the store"),
            }
        }
    }
}

impl ReplicaListener {
    pub(super) fn of(parts: &Parts, access: Arc<Access>, notes: StandingNotes) -> Self {
        let (relay, search, rides) = (parts.relay.clone(), parts.search.clone(), parts.rides.clone());
        Self { relay, search, access, rides, notes }
    }

    fn pass_on(&self, hint: &Hint) {
        let filled: Vec<PartyId> = hint.filled.iter().copied().collect();
        self.relay.wake_streams(&filled);
        for (mailbox, epoch) in &hint.taken {
            self.relay.overtaken(*mailbox, *epoch);
        }
        for ride in &hint.rides {
            self.rides.notify(*ride);
        }
    }

    fn catch_up(&self, look: &Look, commits: u64, all: bool, known: &mut HashMap<PartyId, Sequence>) {
        self.search.feed_moved(look.feed_end);
        if self.notes.take_if(commits, &self.access, &look.standings) {
            for standing in look.standings.iter().filter(|standing| standing.is_suspended) {
                self.relay.end_stream(standing.party);
            }
        }
        if !all {
            return;
        }
        let mut moved = Vec::new();
        let mut present = HashMap::with_capacity(look.mailboxes.len());
        for (mailbox, epoch, last) in &look.mailboxes {
            self.relay.overtaken(*mailbox, *epoch);
            // A stream is woken only if its mailbox has moved; waking all of them would cost a query each,
            // every poll.
            if known.get(mailbox) != Some(last) {
                moved.push(*mailbox);
            }
            present.insert(*mailbox, *last);
        }
        self.relay.wake_streams(&moved);
        // Replaced, not merged, so that mailboxes whose streams have ended are dropped.
        *known = present;
    }
}

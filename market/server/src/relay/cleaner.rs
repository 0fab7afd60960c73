//! Deletion of expired data, in the background.
//!
//! A round works through all tables until nothing that is past its retention is left, in small transactions.
//! After each step it pauses for as long as the step took, so that it keeps up with any rate at which rows are
//! written and yet leaves half of the store's time to purchases.
//!
//! Ages count steady time, so no reading of the wall clock makes a row look old. While the clocks disagree nothing is
//! deleted by its age all the same, because what is deleted is gone.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use souk_domain::Timestamp;
use souk_store::{DueBounds, StoreError};
use tokio::time::{self, Instant};

use super::{CONSUMER_RETENTION, DEAD_LETTER_RETENTION, LEASE, Shared, backoff};
use crate::config::RetentionConfig;

/// Maximum number of rows per step and table.
const STEP: usize = 256;
/// Interval between rounds.
const CLEANING: Duration = Duration::from_secs(60);
/// Minimum pause between two steps.
const BREATH: Duration = Duration::from_millis(1);

/// How far the clean-up is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    deleted: AtomicU64,
    /// When the round began that has not reached its end yet. A round that fails is continued by the next one.
    behind_since: Mutex<Option<Instant>>,
}

impl Progress {
    /// Returns the number of rows deleted since the start.
    pub(super) fn deleted(&self) -> u64 {
        self.deleted.load(Ordering::Relaxed)
    }

    /// Returns for how long something past its retention has been waiting to be deleted; zero if nothing is left.
    pub(super) fn backlog(&self) -> Duration {
        self.since().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.behind_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is deleted: everything from before these times.
struct Cutoffs {
    now: Timestamp,
    updates: Timestamp,
    requests: Timestamp,
    consumers: Timestamp,
    dead_letters: Timestamp,
    tracks: Timestamp,
}

impl Cutoffs {
    /// Computes the times from the clock that ages are judged by.
    fn at(now: Timestamp, kept: &RetentionConfig) -> Self {
        Self {
            now,
            updates: now.minus(kept.events.updates),
            requests: now.minus(kept.requests),
            consumers: now.minus(CONSUMER_RETENTION),
            dead_letters: now.minus(DEAD_LETTER_RETENTION),
            tracks: now.minus(kept.tracks),
        }
    }
}

pub(super) async fn clean(shared: Arc<Shared>) {
    loop {
        clamp(&shared).await;
        round(&shared).await;
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = time::sleep(CLEANING) => {}
        }
    }
}

/// Lowers due times that no market can have set by the present clock.
async fn clamp(shared: &Shared) {
    let now = shared.clock.now();
    let bounds = DueBounds { next_attempt: now.plus(backoff::LONGEST), lease_until: now.plus(LEASE) };
    match shared.clocks.clamp_due_times(bounds).await {
        Ok(0) => {}
        Ok(mailboxes) => {
            tracing::warn!(mailboxes, "lowered due times that were too far in the future");
            shared.due.notify_one();
        }
        Err(error) => tracing::warn!(%error, "cannot check the due times of mailboxes; trying again"),
    }
}

/// Deletes until nothing is left, the store fails, or the market stops.
async fn round(shared: &Shared) {
    let progress = &shared.cleaning;
    loop {
        let begun = Instant::now();
        let (deleted, failure) = step(shared).await;
        progress.deleted.fetch_add(u64::try_from(deleted).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(error) = failure {
            // One line per round even if the store is down.
            tracing::warn!(%error, "cannot delete expired data; trying again");
            progress.since().get_or_insert(begun);
            return;
        }
        if deleted == 0 {
            *progress.since() = None;
            return;
        }
        progress.since().get_or_insert(begun);
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = time::sleep(begun.elapsed().max(BREATH)) => {}
        }
    }
}

/// Deletes a step's worth from each table. Returns how much that was, and the first failure: one table that fails
/// must not let the others grow.
async fn step(shared: &Shared) -> (usize, Option<StoreError>) {
    let mailboxes = &shared.mailboxes;
    // Whatever their age.
    let acknowledged = mailboxes.remove_acknowledged(STEP).await;
    let mut results = vec![acknowledged];
    if !shared.clock.is_paused() {
        let cutoffs = Cutoffs::at(shared.clock.now(), &shared.retention);
        let expired = mailboxes.expire(cutoffs.now, shared.retention.events, STEP).await;
        shared.note_dropped(*expired.as_ref().unwrap_or(&0));
        results.extend([
            expired,
            // After the deliveries that refer to them.
            mailboxes.forget_events(cutoffs.updates, STEP).await,
            mailboxes.forget_requests(cutoffs.requests, STEP).await,
            shared.consumers.drop_consumers(cutoffs.consumers, STEP).await,
            shared.dead_letters.forget_dead_letters(cutoffs.dead_letters, STEP).await,
            shared.tracks.forget(cutoffs.tracks, STEP).await,
        ]);
    }
    let (mut deleted, mut failure) = (0, None);
    for result in results {
        match result {
            Ok(count) => deleted += count,
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    (deleted, failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn backlog_lasts_from_the_first_step_of_a_round_to_its_end() {
        let progress = Progress::default();
        assert_eq!(progress.backlog(), Duration::ZERO);
        *progress.since() = Some(Instant::now());
        time::advance(Duration::from_secs(7)).await;
        assert_eq!(progress.backlog(), Duration::from_secs(7));
    }
}

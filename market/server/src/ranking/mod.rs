//! The daily sweep over rank classes, in the background.
//!
//! Each market asks for it regularly, and the store gives it to one of them at a time (`souk_store::Ranking`). The sweep
//! reads the items on sale step by step with what was sold of them in the last 90 days, and submits what has changed to
//! the ledger, a few dozen items at a time. It pauses after each step for as long as the step took. So it never delays a
//! purchase for longer than a batch of a few dozen other commands would.
//!
//! While the clocks disagree there is no sweep: the days of the window are those of the wall clock.

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use souk_domain::{
    Command, Fingerprint, ItemId, Origin, PartyId, Ranked, RequestId, RequestKey, SalesLevel, action, day_of,
};
use souk_store::{Ranking, StoreError, SweepMark, SweepProgress, SweepRequest};
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock::SteadyClock,
    ledger::{AnswerQueue, Ledger, LedgerError, Ledgers},
    random::Random,
};

/// Interval between checks whether a sweep is due.
const LOOK: Duration = Duration::from_secs(60);
/// How long the sweep belongs to a market that does not advance. Much longer than a step takes.
const LEASE: Duration = Duration::from_secs(60);
/// Minimum pause between two steps.
const BREATH: Duration = Duration::from_millis(5);

/// What the sweep needs.
pub(crate) struct Sweeper {
    ranking: Arc<dyn Ranking>,
    clock: SteadyClock,
    random: Random,
    report: SweepReport,
}

/// Why a sweep was interrupted.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The progress of the sweep, for metrics. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SweepReport(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    sweeps: AtomicU64,
    items: AtomicU64,
    /// Since when the sweep of the present day has been due or under way.
    due_since: Mutex<Option<Instant>>,
}

impl SweepReport {
    /// Returns the number of sweeps that this market has finished.
    pub(crate) fn sweeps(&self) -> u64 {
        self.0.sweeps.load(Ordering::Relaxed)
    }

    /// Returns the number of items whose class these sweeps have changed.
    pub(crate) fn items(&self) -> u64 {
        self.0.items.load(Ordering::Relaxed)
    }

    /// Returns for how long the sweep of the present day has been due or under way; zero if it is done.
    pub(crate) fn due_for(&self) -> Duration {
        self.due_since().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn due_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.due_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, mark: SweepMark, day: i64) {
        let is_done = mark.day == Some(day) && mark.finished_at.is_some();
        let mut since = self.due_since();
        *since = if is_done { None } else { since.or_else(|| Some(Instant::now())) };
    }
}

impl Sweeper {
    pub(crate) fn new(ranking: Arc<dyn Ranking>, clock: SteadyClock, random: Random) -> Self {
        Self { ranking, clock, random, report: SweepReport::default() }
    }

    /// Returns the progress of the sweep.
    pub(crate) fn report(&self) -> SweepReport {
        self.report.clone()
    }

    /// Sweeps when it is due, until the market closes.
    pub(crate) async fn run(self, ledgers: Ledgers, closing: CancellationToken) {
        // Dropped when the market closes, or the lanes would wait for more commands. What was submitted is carried out.
        let ledger = ledgers.open(&AnswerQueue::open());
        drop(ledgers);
        closing.run_until_cancelled(self.keep_looking(ledger)).await;
    }

    async fn keep_looking(&self, ledger: Ledger) {
        let mut is_failing = false;
        loop {
            match self.look(&ledger).await {
                Ok(()) => is_failing = false,
                // The items and days that are left are swept once the lease has run out, by whichever market is first.
                Err(error) => {
                    if !is_failing {
                        tracing::warn!(%error, "cannot update the rank classes of items; trying again");
                    }
                    is_failing = true;
                }
            }
            time::sleep(LOOK).await;
        }
    }

    /// Sweeps all items, if that is due and no other market does it.
    async fn look(&self, ledger: &Ledger) -> Result<(), SweepError> {
        if self.clock.is_paused() {
            return Ok(());
        }
        let day = day_of(self.clock.wall().now());
        let request = SweepRequest { day, now: self.clock.now(), lease: LEASE };
        let look = self.ranking.claim_sweep(request).await?;
        self.report.note(look.mark, day);
        if look.is_claimed { self.sweep(look.mark, day, ledger).await } else { Ok(()) }
    }

    async fn sweep(&self, mark: SweepMark, today: i64, ledger: &Ledger) -> Result<(), SweepError> {
        let (day, mut place, mut items) = (mark.day.unwrap_or(today), mark.place, 0);
        while !self.clock.is_paused() {
            let begun = Instant::now();
            let step = self.ranking.sweep(day, place).await?;
            for changed in step.changed.chunks(action::Rank::MAX_AT_ONCE) {
                items += self.rank(changed, ledger).await?;
            }
            let now = self.clock.now();
            let progress = match step.next {
                Some(next) => SweepProgress::Through(next, now.plus(LEASE)),
                None => SweepProgress::Finished(now),
            };
            if !self.ranking.advance_sweep(mark.epoch, progress).await? {
                tracing::info!("another market continues to update the rank classes of items");
                return Ok(());
            }
            let Some(next) = step.next else {
                self.report.0.sweeps.fetch_add(1, Ordering::Relaxed);
                self.report.note(SweepMark { finished_at: Some(now), ..mark }, today);
                tracing::info!(items, "updated the rank classes of items by the sales of the last 90 days");
                return Ok(());
            };
            place = next;
            time::sleep(begun.elapsed().max(BREATH)).await;
        }
        Ok(())
    }

    /// Sets the sales levels of items, and returns the number of those whose class has changed.
    async fn rank(&self, levels: &[(ItemId, SalesLevel)], ledger: &Ledger) -> Result<u64, LedgerError> {
        let id = RequestId(self.random.uuid_v7(self.clock.wall().now()));
        let command = Command {
            // No party, so that it takes up no party's share of the lane.
            caller: PartyId(Uuid::nil()),
            request: RequestKey { id, fingerprint: Fingerprint([0; 16]) },
            validate_only: false,
            action: action::Rank(levels.to_vec()),
            origin: Origin { role: "market", address: None },
        };
        let Ranked(count) = ledger.submit(command).await?.outcome;
        let count = u64::try_from(count).unwrap_or(0);
        self.report.0.items.fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }
}

//! The queue of a lane: first come, first served while it is short, and fair between parties when it is not.
//!
//! What fits into the next batch is kept in order of arrival, at the cost of a plain queue. Only what does not is sorted
//! by party, and the batches after the next are filled by deficit round robin (Shreedhar and Varghese, 1995): each party
//! in turn may add [`QUANTUM`] rows. So a party's thousand commands, or an import's thousands of rows, delay its own.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use souk_domain::{Action, PartyId, action};
use tokio::sync::Notify;

use super::{Job, LANE_BATCH, LANE_QUEUE};

/// Maximum number of rows in a batch of several commands: an import has up to 200, most commands one. It bounds how long
/// a command waits for the batch before it.
const BATCH_ROWS: usize = 1_024;
/// The rows that a party may add to a batch before it is another party's turn.
const QUANTUM: usize = 16;

/// Why a job was not queued.
pub(super) enum Rejected {
    /// The queue, or the party's share of it, is full.
    Full(Job),
    /// The lane has ended.
    Closed(Job),
}

impl Rejected {
    pub(super) fn into_job(self) -> Job {
        let (Self::Full(job) | Self::Closed(job)) = self;
        job
    }
}

/// The sending end. The queue closes when it is dropped.
pub(super) struct Sender(Arc<Shared>);

/// The receiving end, for a lane.
pub(super) struct Receiver(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    filled: Notify,
}

/// The queue. `waiting` is empty unless `next` is as large as a batch may be.
#[derive(Default)]
struct State {
    next: Batch,
    /// What comes after it, by party.
    waiting: HashMap<PartyId, Waiting>,
    /// The parties in `waiting`, in the order of their turns.
    turns: VecDeque<PartyId>,
    /// The number of jobs in `waiting`.
    waiting_jobs: usize,
    is_closed: bool,
    has_ended: bool,
}

/// The next batch.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    rows: usize,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// The rows that the party may add at its turn.
    deficit: usize,
}

pub(super) fn open() -> (Sender, Receiver) {
    let shared = Arc::<Shared>::default();
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl Sender {
    /// Queues a job. Never waits for room: a full queue is already a delay of several batches.
    #[expect(clippy::result_large_err, reason = "refusals are rare, and a box for each job would cost more")]
    pub(super) fn send(&self, job: Job) -> Result<(), Rejected> {
        let mut state = self.0.lock();
        if state.has_ended {
            return Err(Rejected::Closed(job));
        }
        let was_empty = state.next.jobs.is_empty();
        state.push(job).map_err(Rejected::Full)?;
        drop(state);
        // A lane waits only for the first job. If it is busy, the permit makes it look again.
        if was_empty {
            self.0.filled.notify_one();
        }
        Ok(())
    }

    /// Returns the number of queued jobs.
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Returns whether the lane has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.0.lock().has_ended
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.filled.notify_one();
    }
}

impl Receiver {
    /// Waits for jobs and moves a batch of them into `batch`, which must be empty. Returns whether there are any: not
    /// after the queue was closed and everything has been taken.
    pub(super) async fn take(&self, batch: &mut Vec<Job>) -> bool {
        loop {
            {
                let mut state = self.0.lock();
                if !state.next.jobs.is_empty() {
                    state.take(batch);
                    return true;
                }
                if state.is_closed {
                    return false;
                }
            }
            self.0.filled.notified().await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The callers of what is left must not wait forever. Dropped outside the lock.
        let ended = State { has_ended: true, ..State::default() };
        let left = std::mem::replace(&mut *self.0.lock(), ended);
        drop(left);
    }
}

impl Shared {
    /// Locks the queue. A poisoned lock is safe to use: no update under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    #[expect(clippy::result_large_err, reason = "as for `Sender::send`")]
    fn push(&mut self, job: Job) -> Result<(), Job> {
        let rows = rows_of(&job);
        if self.waiting_jobs == 0 && self.next.has_room_for(rows) {
            self.next.add(job, rows);
            return Ok(());
        }
        let free = LANE_QUEUE.saturating_sub(self.len());
        let party = party_of(&job);
        // A party may have as many jobs waiting as there are places left (Choudhury and Hahne, 1998). So some are
        // left for others, however many parties send as much as they can.
        if self.waiting.get(&party).map_or(0, |of| of.jobs.len()) >= free {
            return Err(job);
        }
        let of = self.waiting.entry(party).or_default();
        if of.jobs.is_empty() {
            self.turns.push_back(party);
        }
        of.jobs.push_back(job);
        self.waiting_jobs += 1;
        Ok(())
    }

    /// Moves the next batch into `batch`, and puts another one together.
    fn take(&mut self, batch: &mut Vec<Job>) {
        // Swapped, so that both ends keep their allocations.
        std::mem::swap(&mut self.next.jobs, batch);
        self.next.rows = 0;
        while let Some(party) = self.turns.front().copied() {
            let Some(of) = self.waiting.get_mut(&party) else {
                self.turns.pop_front();
                continue;
            };
            let rows = of.jobs.front().map_or(0, rows_of);
            if !self.next.has_room_for(rows) {
                // The party keeps its turn, and what it has saved up.
                return;
            }
            if of.deficit < rows {
                of.deficit += QUANTUM;
                self.turns.rotate_left(1);
                continue;
            }
            of.deficit -= rows;
            if let Some(job) = of.jobs.pop_front() {
                self.waiting_jobs -= 1;
                self.next.add(job, rows);
            }
            if of.jobs.is_empty() {
                self.waiting.remove(&party);
                self.turns.pop_front();
            }
        }
    }

    fn len(&self) -> usize {
        self.next.jobs.len() + self.waiting_jobs
    }
}

impl Batch {
    fn has_room_for(&self, rows: usize) -> bool {
        self.jobs.is_empty() || self.jobs.len() < LANE_BATCH && self.rows + rows <= BATCH_ROWS
    }

    fn add(&mut self, job: Job, rows: usize) {
        self.jobs.push(job);
        self.rows += rows;
    }
}

/// Returns about how many rows a job changes.
fn rows_of(job: &Job) -> usize {
    let Job::Command { command, .. } = job else { return 1 };
    let rows = match &command.action {
        Action::Import(action::Import(rows)) => rows.len(),
        Action::Place(action::Place(lines)) => lines.len(),
        Action::Sync(action::Sync { lines, .. }) => lines.len(),
        Action::Redeliver(action::Redeliver { letters, .. }) => letters.len(),
        Action::Rank(action::Rank(levels)) => levels.len(),
        _ => 1,
    };
    rows.max(1)
}

/// Returns the party whose share a job counts towards. Audit notes, which belong to no command, share one.
fn party_of(job: &Job) -> PartyId {
    match job {
        Job::Command { command, .. } => command.caller,
        Job::Notes(_) => PartyId(uuid::Uuid::nil()),
    }
}

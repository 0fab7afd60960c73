//! The write path: every change is a [`Command`], and commands are executed in batches (group commit).
//!
//! A lane takes the queued commands, without waiting for more, and executes them in one transaction: it loads the
//! rows that the commands name, applies the rules to one command after another, saves the changed rows, and commits.
//! Only then are the callers answered. A commit, which costs a disk flush, is thus shared by all commands that were
//! waiting, and a hot item costs one row write for a whole batch of purchases.
//!
//! When more is queued than fits into a batch, batches are filled in turns between the parties.
//!
//! A transaction never belongs to a handler, so a caller that disconnects can neither cancel nor prolong it.

mod answers;
mod lane;
mod queue;
#[cfg(test)]
mod tests;

use std::{sync::Arc, thread, time::Duration};

pub use answers::AnswerQueue;
use souk_domain::{Act, Action, AuditEntry, Command, OrderLine, Outcome, Refusal, WorkingSet, action};
use souk_store::{FeedPosition, Lane, Receipt};
use tokio::{
    sync::oneshot,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{clock::SteadyClock, random::Random};
use answers::Answers;

/// Maximum number of commands queued for a lane; of one party, as many as there are places left. Further ones are
/// rejected at once with [`LedgerError::Overloaded`].
pub const LANE_QUEUE: usize = 4_096;
/// Maximum number of commands in one transaction.
pub const LANE_BATCH: usize = 256;
/// Retry delay suggested to a rejected caller. By then a full queue has been processed.
pub const OVERLOAD_RETRY_DELAY: Duration = Duration::from_millis(250);
/// How often to look whether the lanes have ended.
const END_LOOK: Duration = Duration::from_millis(5);

/// The result of an executed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<O = Outcome> {
    /// What the rules decided.
    pub outcome: O,
    /// The feed position of the commit. `None` if the command itself changed no searchable item, whatever others in
    /// the same batch did.
    pub feed_position: Option<FeedPosition>,
    /// Whether the command had been executed before, by an earlier commit or earlier in the same batch.
    pub replayed: bool,
}

/// Why a command was not executed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The rules refused the command. Nothing was changed.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The lane's queue, or the party's share of it, is full. Nothing was changed.
    #[error("the queue of the ledger is full")]
    Overloaded,
    /// The store is unavailable, or the market is shutting down. Nothing was changed.
    #[error("the ledger does not answer")]
    Unavailable,
    /// The disk of the store is full. Nothing was changed.
    #[error("the disk of the store is full")]
    StorageFull,
    /// A stored row that the command needs can't be decoded, or the store rejected a row that the rules let through.
    /// Nothing was changed.
    #[error("the ledger met something unreadable")]
    Corrupt,
    /// The outcome stored for the request belongs to another kind of action, which only a bug can cause.
    #[error("a command came to an outcome of another kind: {0}")]
    Mismatched(String),
    /// It is unknown whether the command took effect. Retrying with the same request id is safe.
    #[error("the outcome is not known")]
    Indefinite,
}

/// Called after each commit with what it has changed, on the lane's thread and before the callers are answered; `None` if
/// it is unknown whether the commit took effect. It must not block.
pub type OnCommit = Box<dyn Fn(Option<(&Receipt, WorkingSet)>) + Send>;

/// An entry of a lane's queue.
#[expect(clippy::large_enum_variant, reason = "notes are rare, and a box for each command would cost more")]
enum Job {
    Command {
        command: Command,
        caller: oneshot::Sender<Answer>,
        answers: Answers,
    },
    /// Audit entries without a command.
    Notes(Vec<AuditEntry>),
}

type Answer = Result<Done, LedgerError>;

/// The lanes. Their threads end when this value and all of its [`Ledger`]s have been dropped and the queues are
/// empty.
pub struct Lanes {
    queues: Arc<[queue::Sender]>,
    threads: Vec<thread::JoinHandle<()>>,
    refuse: CancellationToken,
}

/// Opens [`Ledger`]s on the lanes.
#[derive(Clone)]
pub struct Ledgers {
    queues: Arc<[queue::Sender]>,
}

impl Ledgers {
    /// Queues audit entries that belong to no command.
    ///
    /// # Errors
    /// Returns the entries if the queue is full or the lane has ended.
    pub fn note(&self, entries: Vec<AuditEntry>) -> Result<(), Vec<AuditEntry>> {
        // Always the first lane: notes belong to no row, and one lane is enough for the few that there are.
        self.queues[0].send(Job::Notes(entries)).map_err(|rejected| match rejected.into_job() {
            Job::Notes(entries) => entries,
            Job::Command { .. } => Vec::new(),
        })
    }

    /// Opens a ledger for the server thread of this queue.
    pub fn open(&self, queue: &AnswerQueue) -> Ledger {
        Ledger { queues: Arc::clone(&self.queues), answers: queue.answers() }
    }
}

/// Submits commands from one server thread, which receives the answers through its [`AnswerQueue`].
#[derive(Clone)]
pub struct Ledger {
    queues: Arc<[queue::Sender]>,
    answers: Answers,
}

impl Lanes {
    /// Starts one thread per lane.
    pub fn start(
        lanes: Vec<Box<dyn Lane>>,
        clock: &SteadyClock,
        random: Random,
        on_commit: impl Fn() -> OnCommit,
    ) -> std::io::Result<Self> {
        let refuse = CancellationToken::new();
        let mut queues = Vec::with_capacity(lanes.len());
        let mut threads = Vec::with_capacity(lanes.len());
        for (number, lane) in lanes.into_iter().enumerate() {
            let (queue, jobs) = queue::open();
            let runner = lane::Runner::new(lane, (clock.clone(), random), on_commit(), refuse.clone());
            queues.push(queue);
            threads.push(
                thread::Builder::new().name(format!("souk-lane-{number}")).spawn(move || runner.run(jobs))?,
            );
        }
        Ok(Self { queues: queues.into(), threads, refuse })
    }

    /// Returns the handle with which server threads open their ledgers.
    pub fn ledgers(&self) -> Ledgers {
        Ledgers { queues: Arc::clone(&self.queues) }
    }

    /// Returns a function that counts the queued commands of all lanes, for metrics. It does not keep the lanes
    /// alive, and returns 0 after they have ended.
    pub fn queued(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let queues = Arc::downgrade(&self.queues);
        move || {
            let Some(queues) = queues.upgrade() else { return 0 };
            queues.iter().map(queue::Sender::len).sum()
        }
    }

    /// Returns the maximum number of queued commands, of all lanes together.
    pub fn capacity(&self) -> usize {
        self.queues.len() * LANE_QUEUE
    }

    /// Returns a function that reports whether a lane has failed, for health checks. It does not keep the lanes
    /// alive.
    pub fn failure(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let queues = Arc::downgrade(&self.queues);
        move || queues.upgrade().is_some_and(|queues| queues.iter().any(queue::Sender::has_ended))
    }

    /// Returns whether a lane has ended although its queue is still open, which only a bug can cause.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(thread::JoinHandle::is_finished)
    }

    /// Returns the token whose cancellation makes the lanes refuse everything that is queued, and abandon the batch
    /// in progress as soon as the store lets them. For the end of the market, when the store holds it up.
    pub fn refusal(&self) -> CancellationToken {
        self.refuse.clone()
    }

    /// Waits until all queued commands have been executed or refused. All ledgers must have been dropped before.
    ///
    /// A lane that a system call of the store still blocks at the deadline is left behind: its last batch has no
    /// known outcome, and none of it was acknowledged.
    pub async fn end(self, deadline: Instant) {
        // The lanes end when the last sender is gone, so this one has to go before the threads are waited for.
        drop(self.queues);
        let mut looks = time::interval(END_LOOK);
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            if Instant::now() >= deadline {
                tracing::error!("the store blocks a lane of the ledger: ending without it");
                break;
            }
            looks.tick().await;
        }
        for thread in self.threads.into_iter().filter(thread::JoinHandle::is_finished) {
            if thread.join().is_err() {
                tracing::error!("a lane of the ledger panicked");
            }
        }
    }
}

impl Ledger {
    /// Queues an audit entry that belongs to no command. Returns whether it was taken: not if the queue is full.
    pub fn note(&self, entry: AuditEntry) -> bool {
        self.queues[0].send(Job::Notes(vec![entry])).is_ok()
    }

    /// Submits a command and waits for its result, which is available only after the commit. Dropping the
    /// future does not cancel the command.
    pub async fn submit<A: Act>(&self, command: Command<A>) -> Result<Done<A::Outcome>, LedgerError> {
        let Done { outcome, feed_position, replayed } = self.queue(command.queued()).await?;
        let outcome = A::Outcome::try_from(outcome);
        let outcome = outcome.map_err(|other| LedgerError::Mismatched(format!("{other:?}")))?;
        Ok(Done { outcome, feed_position, replayed })
    }

    async fn queue(&self, command: Command) -> Answer {
        let (caller, answered) = oneshot::channel();
        let queue = &self.queues[lane_of(&command, self.queues.len())];
        let job = Job::Command { command, caller, answers: self.answers.clone() };
        // Refused rather than kept waiting if the queue is full: a caller that waits here would still hold its
        // admission permit.
        queue.send(job).map_err(|rejected| match rejected {
            queue::Rejected::Full(_) => LedgerError::Overloaded,
            queue::Rejected::Closed(_) => LedgerError::Unavailable,
        })?;
        // If a lane fails while it executes the command, the commit may or may not have happened.
        answered.await.unwrap_or(Err(LedgerError::Indefinite))
    }
}

/// Chooses the lane of a command: by item where there is one, so that commands for the same item share batches
/// instead of contending for its row lock from different lanes.
fn lane_of(command: &Command, lanes: usize) -> usize {
    let key = match &command.action {
        Action::Update(action::Update { item, .. })
        | Action::Delete(action::Delete { item, .. })
        | Action::Undelete(action::Undelete { item, .. })
        | Action::Buy(action::Buy(OrderLine { item, .. }))
        | Action::Wish(action::Wish { item })
        | Action::Unwish(action::Unwish { item })
        | Action::Rate(action::Rate { item, .. }) => item.0 as u128,
        // The lines may name items of several lanes. Any lane gives a correct result, because row locks
        // decide; the first item is merely the best guess.
        Action::Place(action::Place(lines)) => lines.first().map_or(0, |line| line.item.0 as u128),
        // Commands of one caller share a lane, because they contend for the same rows: its party, tills and
        // rides.
        Action::Register(_)
        | Action::Sell(_)
        | Action::Import(_)
        | Action::StartRide(_)
        | Action::EndRide(_)
        | Action::OpenTill(_)
        | Action::RemoveTill(_)
        | Action::Sync(_)
        | Action::Cancel(_)
        | Action::CancelSale(_)
        | Action::Ship(_)
        | Action::Deliver(_)
        | Action::Test(_)
        | Action::Redeliver(_)
        | Action::Rank(_) => command.caller.0.as_u128(),
        Action::Suspend(action::Suspend { party, .. }) | Action::Reinstate(action::Reinstate { party }) => {
            party.0.as_u128()
        }
    };
    (key % lanes as u128) as usize
}

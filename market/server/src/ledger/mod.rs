//! The write path: every change is a [`Command`], and commands are carried out in batches.
//!
//! A lane takes what is queued, without waiting for more, and carries it out in one transaction: load the
//! rows that the commands name, let the rules decide on one after another, save what they changed, commit.
//! Only then is anybody answered. So a commit, which costs a disk flush, is shared by everyone who was
//! waiting for it, and a much wanted item costs one row write for a whole batch of purchases.
//!
//! A transaction never belongs to a handler: a caller that goes away can't cancel or prolong it.

mod answers;
mod lane;
#[cfg(test)]
mod tests;

use std::{sync::Arc, thread, time::Duration};

pub use answers::AnswerQueue;
use souk_domain::{Act, Action, AuditEntry, Command, OrderLine, Outcome, Refusal, action};
use souk_store::{FeedPosition, Lane, Receipt};
use tokio::sync::{mpsc, oneshot};

use crate::{clock::Clock, random::Random};
use answers::Answers;

/// The most commands that wait for a lane; further ones are refused at once.
pub const LANE_QUEUE: usize = 4_096;
/// The most commands of one transaction.
pub const LANE_BATCH: usize = 256;
/// When a refused caller is told to come back: by then a full queue has been worked off.
pub const OVERLOAD_RETRY_DELAY: Duration = Duration::from_millis(250);

/// What came of a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<O = Outcome> {
    /// The outcome.
    pub outcome: O,
    /// The feed position of the commit, when a searchable item changed in it.
    pub feed_position: Option<FeedPosition>,
    /// Whether an earlier commit had carried it out already.
    pub replayed: bool,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The rules refused it; nothing was changed.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The queue is full; nothing was changed.
    #[error("the queue of the ledger is full")]
    Overloaded,
    /// The store does not answer, or the market is shutting down; nothing was changed.
    #[error("the ledger does not answer")]
    Unavailable,
    /// What is stored for the command can't be read; nothing was changed.
    #[error("the ledger met something unreadable")]
    Corrupt,
    /// What is stored for the request came of another kind of action, which only a defect can cause.
    #[error("a command came to an outcome of another kind: {0}")]
    Mismatched(String),
    /// Whether it took effect is not known; a repetition with the same request id is safe.
    #[error("the outcome is not known")]
    Indefinite,
}

/// Called after each commit, on the lane's thread; must not block.
pub type OnCommit = Box<dyn Fn(&Receipt) + Send>;

/// What waits for a lane.
#[expect(clippy::large_enum_variant, reason = "notes are rare, and a box for each command would cost more")]
enum Job {
    Command {
        command: Command,
        caller: oneshot::Sender<Answer>,
        answers: Answers,
    },
    /// For the audit log alone.
    Notes(Vec<AuditEntry>),
}

type Answer = Result<Done, LedgerError>;

/// The lanes. Ends when it and all of its [`Ledger`]s are dropped and what was queued is carried out.
pub struct Lanes {
    queues: Arc<[mpsc::Sender<Job>]>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Opens ledgers on the lanes.
#[derive(Clone)]
pub struct Ledgers {
    queues: Arc<[mpsc::Sender<Job>]>,
}

impl Ledgers {
    /// Has something entered into the audit log that is no change.
    ///
    /// # Errors
    /// There is no room just now: the entries come back.
    pub fn note(&self, entries: Vec<AuditEntry>) -> Result<(), Vec<AuditEntry>> {
        self.queues[0].try_send(Job::Notes(entries)).map_err(|error| match error.into_inner() {
            Job::Notes(entries) => entries,
            Job::Command { .. } => Vec::new(),
        })
    }

    /// A ledger for the server thread whose queue this is.
    pub fn open(&self, queue: &AnswerQueue) -> Ledger {
        Ledger { queues: Arc::clone(&self.queues), answers: queue.answers() }
    }
}

/// Submits commands for one server thread, which is answered through its own [`AnswerQueue`].
#[derive(Clone)]
pub struct Ledger {
    queues: Arc<[mpsc::Sender<Job>]>,
    answers: Answers,
}

impl Lanes {
    /// Starts a thread for each lane.
    pub fn start(
        lanes: Vec<Box<dyn Lane>>,
        clock: Clock,
        random: Random,
        on_commit: impl Fn() -> OnCommit,
    ) -> std::io::Result<Self> {
        let mut queues = Vec::with_capacity(lanes.len());
        let mut threads = Vec::with_capacity(lanes.len());
        for (number, lane) in lanes.into_iter().enumerate() {
            let (queue, jobs) = mpsc::channel(LANE_QUEUE);
            let runner = lane::Runner::new(lane, clock, random, on_commit());
            queues.push(queue);
            threads.push(
                thread::Builder::new().name(format!("souk-lane-{number}")).spawn(move || runner.run(jobs))?,
            );
        }
        Ok(Self { queues: queues.into(), threads })
    }

    /// For the server threads to open their ledgers with.
    pub fn ledgers(&self) -> Ledgers {
        Ledgers { queues: Arc::clone(&self.queues) }
    }

    /// How many commands wait, over all lanes. Whoever asks may outlive the lanes, and does not keep them
    /// from ending; then it is 0.
    pub fn queued(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let queues = Arc::downgrade(&self.queues);
        move || {
            let Some(queues) = queues.upgrade() else { return 0 };
            queues.iter().map(|queue| queue.max_capacity() - queue.capacity()).sum()
        }
    }

    /// Tells whether a lane has ended while the market still needs it. Whoever asks may outlive the lanes.
    pub fn failure(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let queues = Arc::downgrade(&self.queues);
        move || queues.upgrade().is_some_and(|queues| queues.iter().any(mpsc::Sender::is_closed))
    }

    /// Whether a lane has ended while the market still needs it, which only a defect can cause.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(thread::JoinHandle::is_finished)
    }

    /// Waits until everything queued is carried out. All ledgers must have been dropped before.
    pub fn join(self) {
        drop(self.queues);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a lane of the ledger panicked");
            }
        }
    }
}

impl Ledger {
    /// Has a command carried out, and answers after the commit with what the action promises.
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
        queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LedgerError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => LedgerError::Unavailable,
        })?;
        // A lane that dies with the job in hand may or may not have committed it.
        answered.await.unwrap_or(Err(LedgerError::Indefinite))
    }
}

/// The lane for a command: by item, so that those for one item are batched together.
fn lane_of(command: &Command, lanes: usize) -> usize {
    let key = match &command.action {
        Action::Update(action::Update { item, .. })
        | Action::Delete(action::Delete { item, .. })
        | Action::Buy(action::Buy(OrderLine { item, .. }))
        | Action::Wish(action::Wish { item })
        | Action::Unwish(action::Unwish { item })
        | Action::Rate(action::Rate { item, .. }) => item.0 as u128,
        Action::Place(action::Place(lines)) => lines.first().map_or(0, |line| line.item.0 as u128),
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
        | Action::Test(_) => command.caller.0.as_u128(),
        Action::Suspend(action::Suspend { party, .. }) | Action::Reinstate(action::Reinstate { party }) => {
            party.0.as_u128()
        }
    };
    (key % lanes as u128) as usize
}

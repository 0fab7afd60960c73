//! A lane: executes queued commands, batch after batch.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use souk_certs::random::uuid_v7;
use souk_domain::{
    AuditEntry, Command, Context, EventId, Keys, Outcome, Refusal, Timestamp, WorkingSet, decide,
};
use souk_store::{FeedPosition, Lane, Receipt, SaveError, StoreError};
use tokio_util::sync::CancellationToken;

use super::{Answer, Done, Job, LANE_BATCH, LedgerError, OnCommit, answers::Callers, queue};
use crate::{clock::SteadyClock, random::Random};

pub(super) struct Runner {
    lane: Box<dyn Lane>,
    clock: SteadyClock,
    on_commit: OnCommit,
    random: StdRng,
    /// Audit entries that belong to no command. They are kept until a commit has written them.
    notes: Vec<AuditEntry>,
    /// Cancelled when the market ends and the store has held up what is queued for too long.
    refuse: CancellationToken,
    /// Whether a commit has been sent and not answered.
    is_committing: bool,
    /// For how many more batches requests are looked up before they are decided.
    wary: usize,
}

/// Maximum number of audit notes kept while the store is unavailable. Further ones are dropped and logged as such.
const NOTES: usize = 1_024;

/// For how many batches after a repeated request all of them are looked up. Repetitions come in groups, when a
/// market was not reachable for a while.
const WARY_BATCHES: usize = 64;

/// Maximum number of attempts for a batch that conflicts with other markets.
const ATTEMPTS: usize = 8;

/// How many more times a batch waits for rows locked by other markets, after the first time. The store bounds each
/// wait (2 s on PostgreSQL).
const HELD_WAITS: usize = 3;

/// Why a whole batch failed. A refusal is not a failure: it is the outcome of a single command.
#[derive(Clone, Copy)]
enum BatchFailure {
    Unavailable,
    /// Other markets hold locks on rows that the batch needs.
    Held,
    Corrupt,
    /// A constraint of the database rejected a row.
    Rejected,
    /// The disk of the store is full.
    Full,
    Indefinite,
}

/// A command that was decided, but is not committed yet.
struct Decided {
    outcome: Result<Outcome, Refusal>,
    /// Whether the request had been carried out before, in an earlier batch or earlier in this one.
    replayed: bool,
    /// Whether the command has changed an item in a way that affects search.
    is_searchable: bool,
}

/// The end of one attempt at a batch.
enum Attempt {
    Done(Vec<Answer>),
    /// One of its requests was carried out before, and none was looked up: nothing was changed.
    Repeated,
    /// It conflicted with another market: nothing was changed, and a retry with freshly loaded rows may succeed.
    Conflict(BatchFailure),
}

impl Runner {
    pub(super) fn new(
        lane: Box<dyn Lane>,
        (clock, random): (SteadyClock, Random),
        on_commit: OnCommit,
        refuse: CancellationToken,
    ) -> Self {
        // A generator of its own per lane, so that lanes share no lock for their event ids.
        let random = StdRng::from_seed(random.seed());
        Self { lane, clock, on_commit, random, notes: Vec::new(), refuse, is_committing: false, wary: 0 }
    }

    /// Runs until all ledgers have been dropped and the queue is empty.
    pub(super) fn run(self, jobs: queue::Receiver) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.work(jobs)),
            Err(error) => tracing::error!(%error, "cannot start a lane of the ledger"),
        }
    }

    async fn work(mut self, jobs: queue::Receiver) {
        let mut batch = Vec::with_capacity(LANE_BATCH);
        // Takes what is queued without waiting for more: batches grow by themselves while a commit is in progress,
        // and a single command on an idle market is not delayed.
        while jobs.take(&mut batch).await {
            let mut commands = Vec::with_capacity(batch.len());
            let mut callers = Vec::with_capacity(batch.len());
            for job in batch.drain(..) {
                match job {
                    Job::Command { command, caller, answers } => {
                        commands.push(command);
                        callers.push((caller, answers));
                    }
                    Job::Notes(entries) => self.keep(entries),
                }
            }
            self.execute(&commands, Callers::of(callers)).await;
        }
        if !self.notes.is_empty() {
            tracing::error!(
                entries = self.notes.len(),
                "the store was unavailable until the end: rejected identities are missing from the audit log"
            );
        }
    }

    /// Executes a batch, unless the market can't wait for the store any more. Then nothing is begun, and a batch in
    /// progress is abandoned: whether it took effect is unknown if its commit was sent.
    async fn execute(&mut self, commands: &[Command], mut callers: Callers) {
        let refuse = self.refuse.clone();
        if !refuse.is_cancelled() {
            tokio::select! {
                // First, so that a store which does not block costs no look at the token.
                biased;
                () = self.answer(commands, &mut callers) => return,
                () = refuse.cancelled() => {}
            }
            tracing::warn!(
                commands = commands.len(),
                "gave up waiting for the store, because the market ends"
            );
            // Releases the locks of the batch for other writers.
            self.lane.abandon().await;
        }
        let failure = if self.is_committing { BatchFailure::Indefinite } else { BatchFailure::Unavailable };
        self.is_committing = false;
        callers.answer_rest(|| Err(failure.into()));
    }

    fn keep(&mut self, entries: Vec<AuditEntry>) {
        self.notes.extend(entries);
        if self.notes.len() > NOTES {
            tracing::error!(
                "the store is unavailable: some rejected identities are missing from the audit log"
            );
            // Keeps the oldest entries: they show how a flood of rejected identities began.
            self.notes.truncate(NOTES);
        }
    }

    async fn answer(&mut self, commands: &[Command], callers: &mut Callers) {
        let commands: Vec<&Command> = commands.iter().collect();
        let all: Vec<usize> = (0..commands.len()).collect();
        match self.carry_out(&commands).await {
            Ok(answers) => callers.answer(&all, answers),
            // One unreadable or rejected row must not fail unrelated commands, so run each command separately.
            Err(BatchFailure::Corrupt | BatchFailure::Rejected) if commands.len() > 1 => {
                for (place, command) in commands.iter().enumerate() {
                    let alone = self.carry_out(&[*command]).await;
                    let answers = alone.unwrap_or_else(|failure| vec![Err(failure.into())]);
                    callers.answer(&[place], answers);
                }
            }
            Err(BatchFailure::Held) => self.carry_out_around(&commands, callers).await,
            // Not retried one by one: after an unknown outcome that is for the clients to do, with their
            // request ids.
            Err(failure) => callers.answer(&all, failed_all(&commands, failure)),
        }
    }

    /// Executes a batch some of whose rows are locked by other markets, possibly for long.
    ///
    /// Commands that do not need the locked rows run first, as one batch. The others are grouped by contended row, so
    /// that no command waits for a row that it does not need. After [`HELD_WAITS`] waits the rest fails as
    /// unavailable.
    async fn carry_out_around(&mut self, commands: &[&Command], callers: &mut Callers) {
        let of = |places: &[usize]| -> Vec<&Command> { places.iter().map(|at| commands[*at]).collect() };
        let keys = |place: &usize| keys_of(&[commands[*place]]);
        let mut left: Vec<usize> = (0..commands.len()).collect();
        let mut waits = 0;
        while !left.is_empty() && waits < HELD_WAITS {
            let held = match self.lane.held(&keys_of(&of(&left))).await {
                Ok(held) => held,
                Err(error) => {
                    failed("find locked rows", &error);
                    break;
                }
            };
            let (mut others, mut tried): (Vec<usize>, Vec<usize>) =
                left.iter().partition(|place| keys(place).contend(&held));
            let is_free = !tried.is_empty();
            // Everything left is contended: try the first command, together with those that share a row with it.
            if !is_free {
                let first = keys(&others[0]);
                (tried, others) = others.iter().partition(|place| keys(place).contend(&first));
            }
            let done = match self.carry_out(&of(&tried)).await {
                Ok(done) => done,
                Err(BatchFailure::Held) => {
                    waits += 1;
                    // Rows were locked only after they had been found free. Look again instead of failing.
                    if is_free {
                        continue;
                    }
                    failed_all(&of(&tried), BatchFailure::Held)
                }
                Err(failure) => failed_all(&of(&tried), failure),
            };
            callers.answer(&tried, done);
            left = others;
        }
        // Answers every remaining caller. One that is dropped without an answer would report an unknown
        // outcome.
        callers.answer(&left, failed_all(&of(&left), BatchFailure::Held));
    }

    async fn carry_out(&mut self, commands: &[&Command]) -> Result<Vec<Answer>, BatchFailure> {
        let mut keys = keys_of(commands);
        // Few requests are repetitions, and a store that notices them when it saves need not look them up first.
        let mut unread = Keys::default();
        if self.lane.notices_repetitions() && self.wary == 0 {
            std::mem::swap(&mut unread.requests, &mut keys.requests);
        }
        self.wary = self.wary.saturating_sub(1);
        let mut failure = BatchFailure::Unavailable;
        for _ in 0..ATTEMPTS {
            match self.attempt(&keys, commands).await? {
                Attempt::Done(answers) => return Ok(answers),
                Attempt::Repeated => {
                    keys.requests.append(&mut unread.requests);
                    self.wary = WARY_BATCHES;
                    continue;
                }
                Attempt::Conflict(persisting) => failure = persisting,
            }
            tracing::debug!(commands = commands.len(), "a batch conflicts with another market");
        }
        // A command that is alone can only have met another market's rows, however often it was retried.
        Err(if commands.len() > 1 { failure } else { BatchFailure::Unavailable })
    }

    /// Returns whether a request was carried out before that is not looked up and would not be saved, such as that of a
    /// refused command. Its repetition has the first outcome.
    async fn is_repeated(
        &mut self,
        keys: &Keys,
        rows: &WorkingSet,
        commands: &[&Command],
    ) -> Result<bool, BatchFailure> {
        let is_unsaved = |request: &_| keys.requests.is_empty() && rows.requests.row(*request).is_none();
        let unsaved: Vec<_> = commands.iter().map(|command| command.key()).filter(is_unsaved).collect();
        if unsaved.is_empty() {
            return Ok(false);
        }
        self.lane.has_requests(&unsaved).await.map_err(|error| failed("look up requests", &error))
    }

    /// Executes the commands in one transaction.
    async fn attempt(&mut self, keys: &Keys, commands: &[&Command]) -> Result<Attempt, BatchFailure> {
        let mut rows = self.lane.load(keys).await.map_err(|error| failed("load", &error))?;
        // Cloned, not moved: if this attempt fails, the notes go into the next one. They are cleared after a
        // commit.
        rows.audit.clone_from(&self.notes);
        let decided = self.decide_all(&mut rows, commands);
        if self.is_repeated(keys, &rows, commands).await? {
            self.lane.abandon().await;
            return Ok(Attempt::Repeated);
        }
        let reported = commands.iter().zip(&decided).filter(reports_the_past).count();
        self.is_committing = true;
        let ended = if !rows.is_unchanged() {
            self.lane.save(&rows).await
        } else if reported > 0 {
            self.lane.confirm(reported).await.map(|()| Receipt::default())
        } else {
            // The transaction has been open since `load`, and would hold its row locks until the next batch.
            self.lane.abandon().await;
            Ok(Receipt::default())
        };
        self.is_committing = false;
        let receipt = match ended {
            Ok(receipt) => receipt,
            // Some rows, such as mailboxes, are locked only when they are saved.
            Err(SaveError::Conflict(StoreError::Held(error))) => {
                tracing::debug!(%error, "a batch timed out waiting for rows locked by another market");
                return Err(BatchFailure::Held);
            }
            Err(SaveError::Conflict(StoreError::Rejected(_))) if keys.requests.is_empty() => {
                return Ok(Attempt::Repeated);
            }
            // The row may be another market's, or one of the batch itself.
            Err(SaveError::Conflict(StoreError::Rejected(_))) => {
                return Ok(Attempt::Conflict(BatchFailure::Rejected));
            }
            Err(SaveError::Conflict(_)) => return Ok(Attempt::Conflict(BatchFailure::Unavailable)),
            Err(SaveError::Lost(error)) => return Err(failed("save", &error)),
            Err(SaveError::Indefinite(error)) => {
                // The notes are kept: writing them twice is better than losing them.
                match error {
                    StoreError::Stopped(_) => tracing::debug!(%error, "the outcome of a commit is unknown"),
                    _ => tracing::error!(%error, "the outcome of a commit is unknown"),
                }
                (self.on_commit)(None);
                return Err(BatchFailure::Indefinite);
            }
        };
        if !rows.is_unchanged() {
            self.notes.clear();
            (self.on_commit)(Some((&receipt, rows)));
        }
        let answers = decided.into_iter().map(|decided| answer(decided, receipt.feed_position));
        Ok(Attempt::Done(answers.collect()))
    }

    fn decide_all(&mut self, rows: &mut WorkingSet, commands: &[&Command]) -> Vec<Decided> {
        // One time for the whole batch: it is one transaction, and its commands take effect together.
        let (now, steady_now) = (self.clock.wall().now(), self.clock.now());
        let random = &mut self.random;
        let mut event_ids = || event_id(now, random);
        let mut context = Context { now, steady_now, event_ids: &mut event_ids };
        let one_by_one = commands.iter().map(|command| {
            // Looked up right before the command is decided, which stores its request in the same rows.
            let replayed = rows.requests.row(command.key()).is_some();
            let changes_before = rows.searchable_changes;
            let outcome = decide(rows, command, &mut context);
            Decided { outcome, replayed, is_searchable: rows.searchable_changes > changes_before }
        });
        one_by_one.collect()
    }
}

/// Returns whether the answer to a command reports what an earlier commit has done, if this batch changes nothing.
///
/// Such an answer must not be sent before that commit is on the standby, so it is confirmed by a separate commit. That
/// holds for every accepted command, not only for the replay of a request id: a till that is opened again skips the
/// lines up to the number in the answer, and an importer the rows that are in already. Refusals and validations promise
/// nothing and need no commit.
fn reports_the_past((command, decided): &(&&Command, &Decided)) -> bool {
    decided.outcome.is_ok() && (!command.validate_only || decided.replayed)
}

fn keys_of(commands: &[&Command]) -> Keys {
    let mut keys = Keys::default();
    for command in commands {
        command.add_keys(&mut keys);
    }
    keys
}

fn failed_all(commands: &[&Command], failure: BatchFailure) -> Vec<Answer> {
    commands.iter().map(|_| Err(failure.into())).collect()
}

/// Returns a version 7 UUID (RFC 9562). Ids of similar times are adjacent in an index, so that inserting them touches
/// few pages.
fn event_id(now: Timestamp, random: &mut StdRng) -> EventId {
    EventId(uuid_v7(now.into(), random.random()))
}

/// Returns the answer to a committed command. The batch's feed position goes only to the callers that have moved the
/// feed: for all others, a search need not wait for the index, which may still be busy with another party's import.
fn answer(decided: Decided, feed_position: Option<FeedPosition>) -> Answer {
    let Decided { outcome, replayed, is_searchable } = decided;
    let feed_position = feed_position.filter(|_| is_searchable);
    outcome.map(|outcome| Done { outcome, feed_position, replayed }).map_err(LedgerError::Refused)
}

fn failed(step: &str, error: &StoreError) -> BatchFailure {
    match error {
        // The store has logged the reason, rarely. A line for each batch would hide it.
        StoreError::Stopped(_) | StoreError::Full(_) => tracing::debug!(step, %error, "a batch failed"),
        _ => tracing::error!(step, %error, "a batch failed"),
    }
    match error {
        StoreError::Stopped(_) | StoreError::Unavailable(_) | StoreError::Overloaded => {
            BatchFailure::Unavailable
        }
        StoreError::Held(_) => BatchFailure::Held,
        StoreError::Corrupt(_) | StoreError::Unsuitable(_) => BatchFailure::Corrupt,
        StoreError::Rejected(_) => BatchFailure::Rejected,
        StoreError::Full(_) => BatchFailure::Full,
    }
}

impl From<BatchFailure> for LedgerError {
    fn from(failure: BatchFailure) -> Self {
        match failure {
            BatchFailure::Unavailable | BatchFailure::Held => Self::Unavailable,
            BatchFailure::Corrupt | BatchFailure::Rejected => Self::Corrupt,
            BatchFailure::Full => Self::StorageFull,
            BatchFailure::Indefinite => Self::Indefinite,
        }
    }
}

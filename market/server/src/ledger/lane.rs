//! One lane: carries out what is queued, batch after batch.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use souk_certs::random::uuid_v7;
use souk_domain::{
    AuditEntry, Command, Context, EventId, Keys, Outcome, Refusal, Timestamp, WorkingSet, decide,
};
use souk_store::{FeedPosition, Lane, Receipt, SaveError, StoreError};
use tokio::sync::{mpsc, oneshot};

use super::{Answer, Done, Job, LANE_BATCH, LedgerError, OnCommit, answers::Answers};
use crate::{clock::Clock, random::Random};

pub(super) struct Runner {
    lane: Box<dyn Lane>,
    clock: Clock,
    on_commit: OnCommit,
    random: StdRng,
    /// What the audit log is still to be told that is no change; kept until it is committed.
    notes: Vec<AuditEntry>,
}

/// The most notes that are kept while the store takes none. More are dropped, which the log tells.
const NOTES: usize = 1_024;

/// How often a batch is carried out anew that collided with another market's.
const ATTEMPTS: usize = 8;

/// How often a batch waits in vain for rows that others hold, after the first time. Each time the store waits for as long
/// as it does.
const HELD_WAITS: usize = 3;

/// Why a whole batch failed. Refusals are not failures: each command has its own.
#[derive(Clone, Copy)]
enum BatchFailure {
    Unavailable,
    /// Others hold rows that it needs.
    Held,
    Corrupt,
    Indefinite,
}

impl Runner {
    pub(super) fn new(lane: Box<dyn Lane>, clock: Clock, random: Random, on_commit: OnCommit) -> Self {
        let random = StdRng::from_seed(random.seed());
        Self { lane, clock, on_commit, random, notes: Vec::new() }
    }

    /// Works until all ledgers are gone and the queue is empty.
    pub(super) fn run(self, jobs: mpsc::Receiver<Job>) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.work(jobs)),
            Err(error) => tracing::error!(%error, "a lane of the ledger can't start"),
        }
    }

    async fn work(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(LANE_BATCH);
        while jobs.recv_many(&mut batch, LANE_BATCH).await > 0 {
            let mut commands = Vec::with_capacity(batch.len());
            let mut callers = Vec::with_capacity(batch.len());
            for job in batch.drain(..) {
                match job {
                    Job::Command { command, caller, answers } => {
                        commands.push(command);
                        callers.push(Some((caller, answers)));
                    }
                    Job::Notes(entries) => self.keep(entries),
                }
            }
            self.answer(&commands, Callers(callers)).await;
        }
    }

    fn keep(&mut self, entries: Vec<AuditEntry>) {
        self.notes.extend(entries);
        if self.notes.len() > NOTES {
            tracing::error!("the store takes no notes: refused identities are missing from the audit log");
            self.notes.truncate(NOTES);
        }
    }

    async fn answer(&mut self, commands: &[Command], mut callers: Callers) {
        let commands: Vec<&Command> = commands.iter().collect();
        let all: Vec<usize> = (0..commands.len()).collect();
        match self.carry_out(&commands).await {
            Ok(answers) => callers.answer(&all, answers),
            // One unreadable row must not fail the others' commands.
            Err(BatchFailure::Corrupt) if commands.len() > 1 => {
                for (place, command) in commands.iter().enumerate() {
                    let alone = self.carry_out(&[*command]).await;
                    let answers = alone.unwrap_or_else(|failure| vec![Err(failure.into())]);
                    callers.answer(&[place], answers);
                }
            }
            Err(BatchFailure::Held) => self.carry_out_around(&commands, callers).await,
            Err(failure) => callers.answer(&all, failed_all(&commands, failure)),
        }
    }

    /// Some rows of the batch are held by others, who may take their time. What does without those rows is carried out at
    /// once; then what needs them, each row's commands by themselves, so that none waits for another's row.
    async fn carry_out_around(&mut self, commands: &[&Command], mut callers: Callers) {
        let of = |places: &[usize]| -> Vec<&Command> { places.iter().map(|at| commands[*at]).collect() };
        let keys = |place: &usize| keys_of(&[commands[*place]]);
        let mut left: Vec<usize> = (0..commands.len()).collect();
        let mut waits = 0;
        while !left.is_empty() && waits < HELD_WAITS {
            let held = match self.lane.held(&keys_of(&of(&left))).await {
                Ok(held) => held,
                Err(error) => {
                    failed("look for what is held", &error);
                    break;
                }
            };
            let (mut others, mut tried): (Vec<usize>, Vec<usize>) =
                left.iter().partition(|place| keys(place).contend(&held));
            let is_free = !tried.is_empty();
            if !is_free {
                let first = keys(&others[0]);
                (tried, others) = others.iter().partition(|place| keys(place).contend(&first));
            }
            let done = match self.carry_out(&of(&tried)).await {
                Ok(done) => done,
                Err(BatchFailure::Held) => {
                    waits += 1;
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
        callers.answer(&left, failed_all(&of(&left), BatchFailure::Held));
    }

    async fn carry_out(&mut self, commands: &[&Command]) -> Result<Vec<Answer>, BatchFailure> {
        let keys = keys_of(commands);
        for _ in 1..ATTEMPTS {
            match self.attempt(&keys, commands).await? {
                Some(answers) => return Ok(answers),
                None => tracing::debug!(commands = commands.len(), "a batch is carried out anew"),
            }
        }
        self.attempt(&keys, commands).await?.ok_or(BatchFailure::Unavailable)
    }

    /// Once; `None` when another market got in between.
    async fn attempt(
        &mut self,
        keys: &Keys,
        commands: &[&Command],
    ) -> Result<Option<Vec<Answer>>, BatchFailure> {
        let mut rows = self.lane.load(keys).await.map_err(|error| failed("load", &error))?;
        rows.audit.clone_from(&self.notes);
        let replayed: Vec<_> =
            commands.iter().map(|command| rows.requests.row(command.key()).is_some()).collect();
        let replays = replayed.iter().filter(|replayed| **replayed).count();
        let decided = self.decide_all(&mut rows, commands).into_iter().zip(replayed);
        let ended = if !rows.is_unchanged() {
            self.lane.save(&rows).await
        } else if replays > 0 {
            self.lane.confirm(replays).await.map(|()| Receipt::default())
        } else {
            self.lane.abandon().await;
            Ok(Receipt::default())
        };
        let receipt = match ended {
            Ok(receipt) => receipt,
            // Of rows that are met only in saving, such as mailboxes.
            Err(SaveError::Conflict(StoreError::Held(error))) => {
                tracing::debug!(%error, "a batch waited in vain for what another market holds");
                return Err(BatchFailure::Held);
            }
            Err(SaveError::Conflict(error)) => {
                tracing::debug!(%error, "a batch collided with another market's");
                return Ok(None);
            }
            Err(SaveError::Lost(error)) => return Err(failed("save", &error)),
            Err(SaveError::Indefinite(error)) => {
                // Better twice in the log than not at all.
                tracing::error!(%error, "the outcome of a commit is not known");
                return Err(BatchFailure::Indefinite);
            }
        };
        if !rows.is_unchanged() {
            self.notes.clear();
            (self.on_commit)(&receipt);
        }
        Ok(Some(decided.map(|decided| answer(decided, receipt.feed_position)).collect()))
    }

    fn decide_all(&mut self, rows: &mut WorkingSet, commands: &[&Command]) -> Vec<Result<Outcome, Refusal>> {
        let now = self.clock.now();
        let random = &mut self.random;
        let mut event_ids = || event_id(now, random);
        let mut context = Context { now, event_ids: &mut event_ids };
        commands.iter().map(|command| decide(rows, command, &mut context)).collect()
    }
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

/// A version 7 UUID (RFC 9562): ids of one time lie together in an index.
fn event_id(now: Timestamp, random: &mut StdRng) -> EventId {
    EventId(uuid_v7(now.into(), random.random()))
}

fn answer(
    (decided, replayed): (Result<Outcome, Refusal>, bool),
    feed_position: Option<FeedPosition>,
) -> Answer {
    decided.map(|outcome| Done { outcome, feed_position, replayed }).map_err(LedgerError::Refused)
}

fn failed(step: &str, error: &StoreError) -> BatchFailure {
    tracing::error!(step, %error, "a batch was not carried out");
    match error {
        StoreError::Unavailable(_) | StoreError::Overloaded => BatchFailure::Unavailable,
        StoreError::Held(_) => BatchFailure::Held,
        StoreError::Corrupt(_) => BatchFailure::Corrupt,
    }
}

impl From<BatchFailure> for LedgerError {
    fn from(failure: BatchFailure) -> Self {
        match failure {
            BatchFailure::Unavailable | BatchFailure::Held => Self::Unavailable,
            BatchFailure::Corrupt => Self::Corrupt,
            BatchFailure::Indefinite => Self::Indefinite,
        }
    }
}

/// Who waits for an answer, and where.
type Caller = (oneshot::Sender<Answer>, Answers);

/// The callers of a batch's commands, by their places; gone once they were answered.
struct Callers(Vec<Option<Caller>>);

impl Callers {
    fn answer(&mut self, places: &[usize], answers: Vec<Answer>) {
        let waiting = places.iter().map(|place| self.0[*place].take());
        hand_back(waiting.zip(answers).filter_map(|(caller, answer)| Some((caller?, answer))).collect());
    }
}

/// Sorts the answers by queue: there are only as many queues as server threads.
fn hand_back(answers: Vec<(Caller, Answer)>) {
    let mut batches: Vec<(Answers, Vec<_>)> = Vec::new();
    for ((caller, queue), answer) in answers {
        match batches.iter_mut().find(|(of, _)| of.is_same(&queue)) {
            Some((_, batch)) => batch.push((caller, answer)),
            None => batches.push((queue, vec![(caller, answer)])),
        }
    }
    for (queue, batch) in batches {
        queue.hand_back(batch);
    }
}

//! Answer queues, which return results to the callers a batch at a time.
//!
//! Each server thread has a queue. A lane passes a whole batch of answers to a queue and wakes its thread
//! once. The thread then wakes its own callers, which needs no system call. (Waking every caller from the
//! lane's thread was the largest single cost of a purchase.)

use tokio::sync::{mpsc, oneshot};

use super::Answer;

/// Answers for callers on one server thread.
pub(super) type AnswerBatch = Vec<(oneshot::Sender<Answer>, Answer)>;

/// The sending end of a queue. It is unbounded, but never holds more answers than there are calls that wait
/// for one.
#[derive(Clone)]
pub(super) struct Answers(mpsc::UnboundedSender<AnswerBatch>);

/// Distributes answers to the callers on one server thread.
pub struct AnswerQueue {
    answers: Answers,
}

impl AnswerQueue {
    /// Opens a queue on the current thread's runtime. It closes when the last ledger that uses it is dropped.
    pub fn open() -> Self {
        let (sender, mut batches) = mpsc::unbounded_channel::<AnswerBatch>();
        tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                for (caller, answer) in batch {
                    // This fails if the caller has disconnected; the change is committed all the same.
                    let _ = caller.send(answer);
                }
            }
        });
        Self { answers: Answers(sender) }
    }

    pub(super) fn answers(&self) -> Answers {
        self.answers.clone()
    }
}

impl Answers {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }

    pub(super) fn hand_back(&self, batch: AnswerBatch) {
        // This fails only after the thread has ended, and then nobody waits there.
        let _ = self.0.send(batch);
    }
}

/// The channel of a waiting caller, and the answer queue of its server thread.
pub(super) type Caller = (oneshot::Sender<Answer>, Answers);

/// The callers of a batch, indexed like its commands. `None` after a caller has been answered.
pub(super) struct Callers(Vec<Option<Caller>>);

impl Callers {
    pub(super) fn of(callers: Vec<Caller>) -> Self {
        Self(callers.into_iter().map(Some).collect())
    }

    pub(super) fn answer(&mut self, places: &[usize], answers: Vec<Answer>) {
        let waiting = places.iter().map(|place| self.0[*place].take());
        hand_back(waiting.zip(answers).filter_map(|(caller, answer)| Some((caller?, answer))).collect());
    }

    /// Answers everybody who still waits.
    pub(super) fn answer_rest(&mut self, answer: impl Fn() -> Answer) {
        let waiting = self.0.iter_mut().filter_map(Option::take);
        hand_back(waiting.map(|caller| (caller, answer())).collect());
    }
}

/// Groups the answers by queue and hands each group back at once. A linear search suffices, because there are
/// only as many queues as server threads.
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

//! Hands answers back a batch at a time.
//!
//! Each server thread has a queue. A lane puts a whole batch of answers into a queue at once and wakes its
//! thread once; the thread itself then wakes its callers, which costs no system call. (Waking every caller
//! from the lane's thread was the largest single cost of a purchase.)

use tokio::sync::{mpsc, oneshot};

use super::Answer;

/// Answers for callers on one server thread.
pub(super) type AnswerBatch = Vec<(oneshot::Sender<Answer>, Answer)>;

/// Where a lane leaves answers. Not bounded by itself: it never holds more answers than there are calls
/// that wait for one.
#[derive(Clone)]
pub(super) struct Answers(mpsc::UnboundedSender<AnswerBatch>);

/// One server thread's queue.
pub struct AnswerQueue {
    answers: Answers,
}

impl AnswerQueue {
    /// Opens a queue on the current thread's runtime. It closes when the last ledger that uses it is gone.
    pub fn open() -> Self {
        let (sender, mut batches) = mpsc::unbounded_channel::<AnswerBatch>();
        tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                for (caller, answer) in batch {
                    // A caller that has gone away does not want its answer; the change stands.
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
        // A queue is closed only when its thread has ended, and with it all who waited there.
        let _ = self.0.send(batch);
    }
}

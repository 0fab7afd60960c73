//! Hands answers back to server threads a batch at a time.
//!
//! Each server thread has a desk. A lane passes a whole batch of answers to a desk and wakes its thread once. The
//! thread then wakes its own callers, which needs no system call. (Waking every caller from the lane's thread was the
//! largest single cost of a purchase.)

use tokio::sync::{mpsc, oneshot};

use super::Answer;

/// Answers for callers on one server thread.
pub(super) type Parcel = Vec<(oneshot::Sender<Answer>, Answer)>;

/// A lane's handle to a desk. The channel needs no bound of its own: it never holds more answers than there are calls
/// waiting, whose number is bounded.
#[derive(Clone)]
pub(super) struct Answers(mpsc::UnboundedSender<Parcel>);

/// Distributes answers to the callers on one server thread.
pub struct Desk {
    answers: Answers,
}

impl Desk {
    /// Opens a desk on the current thread's runtime. It closes when the last ledger that uses it is dropped.
    pub fn open() -> Self {
        let (sender, mut parcels) = mpsc::unbounded_channel::<Parcel>();
        tokio::spawn(async move {
            while let Some(parcel) = parcels.recv().await {
                for (caller, answer) in parcel {
                    // This fails if the call was cancelled. The change remains committed.
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

    pub(super) fn hand_back(&self, parcel: Parcel) {
        // This fails only after the thread has ended, and then nobody waits there.
        let _ = self.0.send(parcel);
    }
}

//! Slots: the bounds on concurrent deliveries.
//!
//! Each kind of callback has its own, so that callbacks that accept connections and never answer delay only each
//! other. One that is silent for [`SLOW_AFTER`] leaves its slot, and counts as failing after its first timeout. If more
//! are silent than there is room for, the one that has been silent for longest is given up, so that one that answers
//! never waits for all those that don't.

use std::{sync::Arc, time::Duration};

use souk_store::{ByReliability, Reliability};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Maximum number of concurrent deliveries to callbacks whose last attempt was received.
pub(super) const PROVEN: usize = 64;
/// Maximum number of concurrent deliveries to callbacks at which nothing was received yet.
pub(super) const UNPROVEN: usize = 32;
/// Maximum number of concurrent deliveries to callbacks whose last attempt failed.
pub(super) const FAILING: usize = 16;
/// Maximum number of deliveries that have left a proven callback's slot because they take long. At worst, each of them
/// gets this number × [`SLOW_AFTER`] / [`PROVEN`] before it is given up, which is 1 s.
pub(super) const SLOW: usize = 256;
/// The same for unproven callbacks, for which it is 2 s.
pub(super) const SILENT: usize = 256;
/// All of them together.
pub(super) const ALL: usize = PROVEN + UNPROVEN + FAILING + SLOW + SILENT;
/// After this time without an answer, a delivery leaves its slot to others.
pub(super) const SLOW_AFTER: Duration = Duration::from_millis(250);

/// The slots of a relay.
pub(super) struct Slots {
    proven: Arc<Semaphore>,
    unproven: Arc<Semaphore>,
    failing: Arc<Semaphore>,
    slow: Aside,
    silent: Aside,
}

/// Room for deliveries that have left their slots.
struct Aside {
    room: Arc<Semaphore>,
    /// Wakes the delivery that has been there for longest, to give it up.
    crowded: Notify,
}

impl Aside {
    fn new(room: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(room)), crowded: Notify::new() }
    }

    /// Returns once there is room.
    async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Some(permit);
        }
        self.crowded.notify_one();
        // `None` only if the semaphore is closed, which it never is.
        Arc::clone(&self.room).acquire_owned().await.ok()
    }
}

/// A slot that is in use. Dropping it frees the slot.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    kind: Reliability,
}

/// The number of deliveries in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InProgress {
    /// In slots of their kind.
    pub in_slots: ByReliability,
    /// To proven callbacks that take long to answer.
    pub slow: usize,
    /// To unproven callbacks that take long to answer.
    pub silent: usize,
}

impl Slots {
    pub(super) fn new() -> Self {
        let [proven, unproven, failing] =
            [PROVEN, UNPROVEN, FAILING].map(|slots| Arc::new(Semaphore::new(slots)));
        Self { proven, unproven, failing, slow: Aside::new(SLOW), silent: Aside::new(SILENT) }
    }

    /// Returns how many slots are free.
    pub(super) fn free(&self) -> ByReliability {
        ByReliability {
            proven: self.proven.available_permits(),
            unproven: self.unproven.available_permits(),
            failing: self.failing.available_permits(),
        }
    }

    /// Takes a slot; `None` if none is free.
    pub(super) fn take(&self, kind: Reliability) -> Option<Slot> {
        let slots = match kind {
            Reliability::Proven => &self.proven,
            Reliability::Unproven => &self.unproven,
            Reliability::Failing => &self.failing,
        };
        Arc::clone(slots).try_acquire_owned().ok().map(|permit| Slot { _permit: permit, kind })
    }

    fn aside(&self, kind: Reliability) -> Option<&Aside> {
        match kind {
            Reliability::Proven => Some(&self.slow),
            Reliability::Unproven => Some(&self.silent),
            Reliability::Failing => None,
        }
    }

    /// Moves a delivery that takes long out of its slot, and returns when that has freed the slot. Never returns for
    /// one to a failing callback.
    pub(super) async fn move_aside(&self, slot: &mut Slot) {
        if let Some(aside) = self.aside(slot.kind)
            && let Some(permit) = aside.enter().await
        {
            slot._permit = permit;
            return;
        }
        std::future::pending().await
    }

    /// Returns when a delivery that was moved aside has to end, because more are silent than there is room for.
    pub(super) async fn given_up(&self, kind: Reliability) {
        match self.aside(kind) {
            Some(aside) => loop {
                aside.crowded.notified().await;
                // Otherwise there was room again before anybody could be given up.
                if aside.room.available_permits() == 0 {
                    return;
                }
            },
            None => std::future::pending().await,
        }
    }

    pub(super) fn in_progress(&self) -> InProgress {
        let free = self.free();
        let in_slots = ByReliability {
            proven: PROVEN - free.proven,
            unproven: UNPROVEN - free.unproven,
            failing: FAILING - free.failing,
        };
        let slow = SLOW - self.slow.room.available_permits();
        InProgress { in_slots, slow, silent: SILENT - self.silent.room.available_permits() }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn each_kind_has_slots_of_its_own() {
        let slots = Slots::new();
        let silent: Vec<_> = std::iter::from_fn(|| slots.take(Reliability::Unproven)).collect();
        assert_eq!(silent.len(), UNPROVEN);
        assert!(slots.take(Reliability::Failing).is_some() && slots.take(Reliability::Proven).is_some());
        assert_eq!(slots.free(), ByReliability { proven: PROVEN, unproven: 0, failing: FAILING });
    }

    /// Returns whether a delivery has left its slot without waiting.
    fn leaves(slots: &Slots, slot: &mut Slot) -> bool {
        slots.move_aside(slot).now_or_never().is_some()
    }

    #[test]
    fn failing_callback_keeps_its_slot() {
        let slots = Slots::new();
        let mut failing = slots.take(Reliability::Failing).unwrap();
        assert!(!leaves(&slots, &mut failing));
        assert!(slots.given_up(Reliability::Failing).now_or_never().is_none());
    }

    #[tokio::test]
    async fn callback_that_is_silent_for_longest_makes_room_for_others() {
        for (kind, room) in [(Reliability::Proven, SLOW), (Reliability::Unproven, SILENT)] {
            let slots = Slots::new();
            let mut silent = Vec::new();
            while silent.len() < room {
                let mut slot = slots.take(kind).unwrap();
                assert!(leaves(&slots, &mut slot));
                silent.push(slot);
            }
            let mut first = std::pin::pin!(slots.given_up(kind));
            let mut second = std::pin::pin!(slots.given_up(kind));
            assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
            let mut next = slots.take(kind).unwrap();
            {
                let mut moving = std::pin::pin!(slots.move_aside(&mut next));
                assert!(futures::poll!(&mut moving).is_pending());
                assert!(futures::poll!(&mut first).is_ready() && futures::poll!(&mut second).is_pending());
                silent.swap_remove(0);
                moving.await;
            }
            let InProgress { in_slots, slow, silent } = slots.in_progress();
            assert_eq!((in_slots, slow + silent), (ByReliability::default(), room));
        }
    }
}

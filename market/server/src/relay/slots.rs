//! Slots: the bounds on concurrent deliveries.
//!
//! Each kind of callback has its own, so that callbacks that accept connections and never answer delay only each
//! other. One that has answered before and falls silent leaves its slot after [`SLOW_AFTER`], as long as there is
//! room for slow ones, and counts as failing after its first timeout.

use std::{sync::Arc, time::Duration};

use souk_store::{ByReliability, Reliability};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of concurrent deliveries to callbacks whose last attempt was received.
pub(super) const PROVEN: usize = 64;
/// Maximum number of concurrent deliveries to callbacks at which nothing was received yet.
pub(super) const UNPROVEN: usize = 16;
/// Maximum number of concurrent deliveries to callbacks whose last attempt failed.
pub(super) const FAILING: usize = 16;
/// Maximum number of deliveries that have left a proven callback's slot because they take long.
pub(super) const SLOW: usize = 64;
/// All of them together.
pub(super) const ALL: usize = PROVEN + UNPROVEN + FAILING + SLOW;
/// After this time without an answer, a delivery leaves its slot to others.
pub(super) const SLOW_AFTER: Duration = Duration::from_millis(250);

/// The slots of a relay.
pub(super) struct Slots {
    proven: Arc<Semaphore>,
    unproven: Arc<Semaphore>,
    failing: Arc<Semaphore>,
    slow: Arc<Semaphore>,
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
}

impl Slots {
    pub(super) fn new() -> Self {
        let [proven, unproven, failing, slow] =
            [PROVEN, UNPROVEN, FAILING, SLOW].map(|slots| Arc::new(Semaphore::new(slots)));
        Self { proven, unproven, failing, slow }
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

    /// Moves a delivery that takes long out of its slot. Returns whether that has freed the slot: only proven
    /// callbacks are moved, and only while there is room.
    pub(super) fn move_aside(&self, slot: &mut Slot) -> bool {
        if slot.kind != Reliability::Proven {
            return false;
        }
        match Arc::clone(&self.slow).try_acquire_owned() {
            Ok(permit) => {
                slot._permit = permit;
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn in_progress(&self) -> InProgress {
        let free = self.free();
        let in_slots = ByReliability {
            proven: PROVEN - free.proven,
            unproven: UNPROVEN - free.unproven,
            failing: FAILING - free.failing,
        };
        InProgress { in_slots, slow: SLOW - self.slow.available_permits() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_slots_of_its_own() {
        let slots = Slots::new();
        let silent: Vec<_> = std::iter::from_fn(|| slots.take(Reliability::Unproven)).collect();
        assert_eq!(silent.len(), UNPROVEN);
        assert!(slots.take(Reliability::Failing).is_some() && slots.take(Reliability::Proven).is_some());
        assert_eq!(slots.free(), ByReliability { proven: PROVEN, unproven: 0, failing: FAILING });
    }

    #[test]
    fn proven_callback_that_falls_silent_makes_room_once() {
        let slots = Slots::new();
        let mut taken: Vec<_> = std::iter::from_fn(|| slots.take(Reliability::Proven)).collect();
        assert!(taken.iter_mut().all(|slot| slots.move_aside(slot)));
        let expected = InProgress { in_slots: ByReliability::default(), slow: SLOW };
        assert_eq!(slots.in_progress(), expected);
        let mut more = slots.take(Reliability::Proven).unwrap();
        assert!(!slots.move_aside(&mut more), "the room for slow ones is bounded");
        let mut failing = slots.take(Reliability::Failing).unwrap();
        taken.clear();
        assert!(!slots.move_aside(&mut failing));
        assert!(slots.move_aside(&mut more));
    }
}

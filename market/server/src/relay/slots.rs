//! Slots: the bounds on concurrent deliveries.
//!
//! Each kind of callback has its own, so that callbacks that accept connections and never answer delay only each
//! other. One that is silent for [`SLOW_AFTER`] leaves its slot, and counts as failing after its first timeout. One that
//! has answered before leaves only while there is room for slow ones. Of the others, the one that has been silent for
//! longest is given up to make room, so that a newcomer that answers never waits for all those that don't.

use std::{sync::Arc, time::Duration};

use souk_store::{ByReliability, Reliability};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Maximum number of concurrent deliveries to callbacks whose last attempt was received.
pub(super) const PROVEN: usize = 64;
/// Maximum number of concurrent deliveries to callbacks at which nothing was received yet.
pub(super) const UNPROVEN: usize = 32;
/// Maximum number of concurrent deliveries to callbacks whose last attempt failed.
pub(super) const FAILING: usize = 16;
/// Maximum number of deliveries that have left a proven callback's slot because they take long.
pub(super) const SLOW: usize = 64;
/// Maximum number of deliveries that have left an unproven callback's slot because they take long. At worst, each
/// of them gets this number × [`SLOW_AFTER`] / [`UNPROVEN`], which is 2 s.
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
    slow: Arc<Semaphore>,
    silent: Arc<Semaphore>,
    /// Wakes the delivery that has been silent for longest, to give it up.
    crowded: Notify,
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
        let [proven, unproven, failing, slow, silent] =
            [PROVEN, UNPROVEN, FAILING, SLOW, SILENT].map(|slots| Arc::new(Semaphore::new(slots)));
        Self { proven, unproven, failing, slow, silent, crowded: Notify::new() }
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

    /// Moves a delivery that takes long out of its slot, and returns when that has freed the slot. Never returns if the
    /// delivery has to stay.
    pub(super) async fn move_aside(&self, slot: &mut Slot) {
        let aside = match slot.kind {
            Reliability::Proven => Arc::clone(&self.slow).try_acquire_owned().ok(),
            Reliability::Unproven => self.room_for_silent().await,
            Reliability::Failing => None,
        };
        match aside {
            Some(permit) => slot._permit = permit,
            None => std::future::pending().await,
        }
    }

    async fn room_for_silent(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(room) = Arc::clone(&self.silent).try_acquire_owned() {
            return Some(room);
        }
        self.crowded.notify_one();
        // `None` only if the semaphore is closed, which it never is.
        Arc::clone(&self.silent).acquire_owned().await.ok()
    }

    /// Returns when a delivery that was moved aside has to end, because more are silent than there is room for. Never
    /// returns for one to a proven callback.
    pub(super) async fn given_up(&self, kind: Reliability) {
        match kind {
            Reliability::Unproven => self.crowded.notified().await,
            Reliability::Proven | Reliability::Failing => std::future::pending().await,
        }
    }

    pub(super) fn in_progress(&self) -> InProgress {
        let free = self.free();
        let in_slots = ByReliability {
            proven: PROVEN - free.proven,
            unproven: UNPROVEN - free.unproven,
            failing: FAILING - free.failing,
        };
        let slow = SLOW - self.slow.available_permits();
        InProgress { in_slots, slow, silent: SILENT - self.silent.available_permits() }
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
    fn proven_callback_that_falls_silent_makes_room_once() {
        let slots = Slots::new();
        let mut taken: Vec<_> = std::iter::from_fn(|| slots.take(Reliability::Proven)).collect();
        assert!(taken.iter_mut().all(|slot| leaves(&slots, slot)));
        let expected = InProgress { in_slots: ByReliability::default(), slow: SLOW, silent: 0 };
        assert_eq!(slots.in_progress(), expected);
        let mut more = slots.take(Reliability::Proven).unwrap();
        assert!(!leaves(&slots, &mut more), "the room for slow ones is bounded");
        assert!(slots.given_up(Reliability::Proven).now_or_never().is_none(), "proven ones keep their time");
        let mut failing = slots.take(Reliability::Failing).unwrap();
        taken.clear();
        assert!(!leaves(&slots, &mut failing));
        assert!(leaves(&slots, &mut more));
    }

    #[tokio::test]
    async fn unproven_callback_that_is_silent_for_longest_makes_room_for_others() {
        let slots = Slots::new();
        let mut silent = Vec::new();
        while silent.len() < SILENT {
            let mut slot = slots.take(Reliability::Unproven).unwrap();
            assert!(leaves(&slots, &mut slot));
            silent.push(slot);
        }
        let mut first = std::pin::pin!(slots.given_up(Reliability::Unproven));
        let mut second = std::pin::pin!(slots.given_up(Reliability::Unproven));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());

        let mut newcomer = slots.take(Reliability::Unproven).unwrap();
        {
            let mut moving = std::pin::pin!(slots.move_aside(&mut newcomer));
            assert!(futures::poll!(&mut moving).is_pending());
            assert!(futures::poll!(&mut first).is_ready() && futures::poll!(&mut second).is_pending());
            silent.swap_remove(0);
            moving.await;
        }
        let expected = InProgress { in_slots: ByReliability::default(), slow: 0, silent: SILENT };
        assert_eq!(slots.in_progress(), expected);
    }
}

//! The history: each call on an item, with the times of its invocation and its return.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;

use super::checker::{Effect, Operation};
use crate::trade::Arrivals;

/// A call as a client saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) item: i64,
    pub(super) invoked: u64,
    /// `None` if the client has given up, and does not know whether the call took effect.
    pub(super) returned: Option<u64>,
    pub(super) effect: Effect,
    /// The order that it placed or cancelled, and whether it cancelled it. Its event tells the stock after it.
    pub(super) order: Option<(i64, bool)>,
}

/// The calls of all clients.
pub(super) struct Recorder {
    began: Instant,
    calls: Mutex<Vec<Call>>,
    pub(super) operations: AtomicU64,
    pub(super) refusals: AtomicU64,
    /// Attempts without an answer.
    pub(super) unknown: AtomicU64,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            calls: Mutex::default(),
            operations: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        }
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time since the beginning in nanoseconds.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn record(&self, call: Call) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        self.refusals.fetch_add(u64::from(matches!(call.effect, Effect::Refused { .. })), Ordering::Relaxed);
        self.calls().push(call);
    }

    /// Returns the history of each item. A call without an answer ends with the process that received it: after its
    /// death, at one of the times in `deaths`, it can't take effect.
    pub(super) fn histories(&self, deaths: &[u64], arrivals: &Arrivals) -> HashMap<i64, Vec<Operation>> {
        let mut histories: HashMap<i64, Vec<Operation>> = HashMap::new();
        for call in self.calls().iter() {
            let death = deaths.iter().copied().filter(|death| *death > call.invoked).min();
            let mut effect = call.effect;
            if let (Effect::Change { after, .. }, Some(order)) = (&mut effect, call.order) {
                *after = arrivals.stock_after(order);
            }
            histories.entry(call.item).or_default().push(Operation {
                invoked: call.invoked,
                returned: call.returned.or(death).unwrap_or(u64::MAX),
                is_certain: call.returned.is_some(),
                effect,
            });
        }
        histories
    }

    /// Returns how many acknowledged orders and cancellations no event has reported yet.
    pub(super) fn unexplained(&self, arrivals: &Arrivals) -> usize {
        let orders = |call: &&Call| call.order.is_some_and(|order| arrivals.stock_after(order).is_none());
        self.calls().iter().filter(orders).count()
    }

    /// Returns how many calls the clients gave up on.
    pub(super) fn left_open(&self) -> usize {
        self.calls().iter().filter(|call| call.returned.is_none()).count()
    }
}

//! What a connection has used so far.

use std::{
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The counts of a connection. They are added to without a lock, on the thread that serves the connection.
#[derive(Debug, Default)]
pub struct Usage {
    calls: AtomicU64,
    refused: AtomicU64,
    busy_nanos: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

/// Sums of [`Usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Calls that have begun.
    pub calls: u64,
    /// Calls that were refused because of their caller, their method, a rate or overload.
    pub refused: u64,
    /// For how long calls and connections kept threads busy.
    pub busy: Duration,
    /// Bytes received inside TLS: calls, and all other frames of HTTP/2.
    pub received_bytes: u64,
    /// Bytes sent inside TLS.
    pub sent_bytes: u64,
}

impl Usage {
    /// Counts a call that begins.
    pub fn add_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that was refused.
    pub fn add_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds time for which a thread was busy.
    pub fn add_busy(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Adds bytes that were received.
    pub fn add_received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds bytes that were sent.
    pub fn add_sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns what was counted since the last time.
    pub(super) fn take(&self) -> UsageTotals {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        UsageTotals {
            calls: take(&self.calls),
            refused: take(&self.refused),
            busy: Duration::from_nanos(take(&self.busy_nanos)),
            received_bytes: take(&self.received_bytes),
            sent_bytes: take(&self.sent_bytes),
        }
    }
}

impl UsageTotals {
    /// Returns the number of bytes in both directions.
    pub fn bytes(&self) -> u64 {
        self.received_bytes.saturating_add(self.sent_bytes)
    }
}

impl AddAssign for UsageTotals {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.refused += other.refused;
        self.busy += other.busy;
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_taken_once() {
        let usage = Usage::default();
        usage.add_call();
        usage.add_call();
        usage.add_refused();
        usage.add_busy(Duration::from_micros(7));
        usage.add_received(10);
        usage.add_sent(20);
        let expected = UsageTotals {
            calls: 2,
            refused: 1,
            busy: Duration::from_micros(7),
            received_bytes: 10,
            sent_bytes: 20,
        };
        assert_eq!((usage.take(), expected.bytes()), (expected, 30));
        assert_eq!(usage.take(), UsageTotals::default());
    }
}

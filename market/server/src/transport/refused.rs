//! The refused requests of one connection: after too many in a row it ends, and before that it is read more slowly.
//!
//! Refusing a request costs more than sending it, so a client that ignores every refusal could occupy a server thread.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// The number of requests refused in a row after which a connection is ended. More than may be in progress at once, so
/// that a client whose token has just become invalid can fetch another.
const IN_A_ROW: u32 = 1_024;
/// Refused requests that a connection may have at once before it is read more slowly. Twice what may be in progress.
const BURST: u32 = 512;
/// Refused requests per second that a connection may have without a pause.
const PER_SECOND: u32 = 200;
/// The longest pause. The connection must still be read often enough to answer pings.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The refused requests of one connection. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct RefusedRequests(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    in_a_row: AtomicU32,
    total: AtomicU64,
}

impl RefusedRequests {
    /// Counts a refused request, by its weight. Returns whether this request makes it too many in a row.
    pub(super) fn add(&self, weight: u32) -> bool {
        self.0.total.fetch_add(weight.into(), Ordering::Relaxed);
        let before = self.0.in_a_row.fetch_add(weight, Ordering::Relaxed);
        before < IN_A_ROW && before.saturating_add(weight) >= IN_A_ROW
    }

    /// Notes a request that was not refused.
    pub(super) fn interrupt(&self) {
        if self.0.in_a_row.load(Ordering::Relaxed) != 0 {
            self.0.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }
}

/// Counts the connections that are or were read more slowly. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(super) struct SlowedConnections(Arc<AtomicU64>);

impl SlowedConnections {
    /// Returns the number.
    pub(super) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Slows down the reading of a connection with many refused requests.
#[derive(Debug)]
pub(super) struct Brake {
    refused: RefusedRequests,
    /// How many of them have been taken into account.
    seen: u64,
    left: u32,
    refilled: Instant,
    pause: Option<Pin<Box<Sleep>>>,
    slowed: SlowedConnections,
    has_slowed: bool,
}

impl Brake {
    /// Creates the brake of a new connection.
    pub(super) fn new(refused: RefusedRequests, slowed: SlowedConnections) -> Self {
        let refilled = Instant::now();
        Self { refused, seen: 0, left: BURST, refilled, pause: None, slowed, has_slowed: false }
    }

    /// Waits until the connection may be read. Costs nothing as long as no request is refused.
    pub(super) fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let total = self.refused.total();
        if total == self.seen {
            return Poll::Ready(());
        }
        let more = u32::try_from(total - self.seen).unwrap_or(u32::MAX);
        self.seen = total;
        self.refill();
        let Some(excess) = more.checked_sub(self.left).filter(|excess| *excess > 0) else {
            self.left -= more;
            return Poll::Ready(());
        };
        self.left = 0;
        if !std::mem::replace(&mut self.has_slowed, true) {
            self.slowed.0.fetch_add(1, Ordering::Relaxed);
        }
        let length = (Duration::from_secs(1) / PER_SECOND).saturating_mul(excess).min(LONGEST_PAUSE);
        // The pause makes up for the excess, so its time earns nothing.
        self.refilled = Instant::now() + length;
        let mut pause = Box::pin(sleep(length));
        // Registers the task, which nothing else would wake.
        let is_over = pause.as_mut().poll(context);
        self.pause = is_over.is_pending().then_some(pause);
        is_over
    }

    fn refill(&mut self) {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.refilled);
        let earned = passed.as_millis() * u128::from(PER_SECOND) / 1_000;
        if earned > 0 {
            self.left = u32::try_from(earned).unwrap_or(BURST).saturating_add(self.left).min(BURST);
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn release(brake: &mut Brake) -> Duration {
        let began = Instant::now();
        poll_fn(|context| brake.poll_release(context)).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn refused_requests_are_slowed_to_a_rate_after_a_burst() {
        let (refused, slowed) = (RefusedRequests::default(), SlowedConnections::default());
        let mut brake = Brake::new(refused.clone(), slowed.clone());
        for _ in 0..BURST {
            refused.add(1);
            assert_eq!(release(&mut brake).await, Duration::ZERO);
        }
        assert_eq!(slowed.total(), 0);
        let began = Instant::now();
        for _ in 0..10 * PER_SECOND {
            refused.add(1);
            release(&mut brake).await;
        }
        let took = began.elapsed();
        assert!((Duration::from_secs(9)..Duration::from_secs(13)).contains(&took), "{took:?}");
        assert_eq!(slowed.total(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_pause_is_longer_than_a_second_and_time_restores_the_burst() {
        let refused = RefusedRequests::default();
        let mut brake = Brake::new(refused.clone(), SlowedConnections::default());
        refused.add(1_000_000);
        let pause = release(&mut brake).await;
        assert!((LONGEST_PAUSE..2 * LONGEST_PAUSE).contains(&pause), "{pause:?}");
        tokio::time::advance(Duration::from_secs(60)).await;
        refused.add(BURST);
        assert_eq!(release(&mut brake).await, Duration::ZERO);
    }

    #[test]
    fn a_request_that_is_not_refused_begins_the_count_again() {
        let refused = RefusedRequests::default();
        for _ in 0..2 {
            assert!((1..IN_A_ROW).all(|_| !refused.add(1)));
            refused.interrupt();
        }
        assert!(!refused.add(IN_A_ROW - 1));
        assert!(refused.add(32));
        assert!(!refused.add(32), "the end is asked for once");
    }
}

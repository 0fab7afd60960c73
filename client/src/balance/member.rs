//! One address of the market: its connection, its load, and whether it currently receives calls.

use std::{sync::Arc, time::Duration};

use souk_certs::{
    connector::{Dial, DialError},
    random::Random,
};
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::backoff::scaled;

/// The maximum time that an address is left out after a first failure; it doubles with each further one.
pub const FIRST_LEFT_OUT: Duration = Duration::from_millis(100);

/// The limit of the doubling, after which the address is tried again.
pub const MAX_LEFT_OUT: Duration = Duration::from_secs(5);

/// An address and its state.
pub(super) struct Member {
    pub(super) address: Dial,
    pub(super) link: Link,
    /// The number of open calls, including streams.
    pub(super) in_flight: usize,
    /// The number of connections so far. It identifies the current one, so that the end of an earlier one is
    /// ignored.
    pub(super) connections: u64,
    /// When it was last dialled without success, and why; `None` since a dial succeeded.
    pub(super) dial_failure: Option<(Instant, Arc<DialError>)>,
    /// When a call was last answered here, or broke off, in which case it may have been executed.
    pub(super) answered_at: Option<Instant>,
    failures_in_a_row: u32,
    failed_at: Option<Instant>,
    left_out_until: Option<Instant>,
    is_distrust_reported: bool,
    /// Returns numbers from 0 to 1, for the jitter of its pauses.
    random: Random,
}

/// The connection to an address; there is at most one.
pub(super) enum Link {
    None,
    Dialling { since: Instant },
    Up(Channel),
}

impl Member {
    pub(super) fn new(address: Dial, random: Random) -> Self {
        Self {
            address,
            link: Link::None,
            in_flight: 0,
            connections: 0,
            dial_failure: None,
            answered_at: None,
            failures_in_a_row: 0,
            failed_at: None,
            left_out_until: None,
            is_distrust_reported: false,
            random,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    pub(super) fn is_left_out(&self, now: Instant) -> bool {
        self.left_out_until.is_some_and(|until| now < until)
    }

    pub(super) fn failed_to_dial_since(&self, begun: Instant) -> bool {
        self.dial_failure.as_ref().is_some_and(|(at, _)| *at >= begun)
    }

    /// Records that a dial succeeded. Earlier failures count until a call succeeds too, so that a market that
    /// accepts connections but no calls is left out for longer and longer.
    pub(super) fn connected(&mut self, channel: Channel) -> u64 {
        self.link = Link::Up(channel);
        self.connections += 1;
        self.dial_failure = None;
        self.left_out_until = None;
        self.is_distrust_reported = false;
        self.connections
    }

    pub(super) fn dial_failed(&mut self, error: Arc<DialError>, now: Instant) {
        self.link = Link::None;
        self.dial_failure = Some((now, error));
        self.leave_out(now);
    }

    /// Records that the connection has ended, which by itself is not a failure.
    pub(super) fn ended(&mut self, connection: u64) {
        // A dial in progress or a newer connection is not affected by the end of an old one.
        if self.connections == connection && self.is_up() {
            self.link = Link::None;
        }
    }

    /// Records that a call that began at `begun` was answered.
    pub(super) fn worked(&mut self, begun: Instant, now: Instant) {
        self.answered_at = Some(now);
        if self.failed_at.is_none_or(|failed_at| begun > failed_at) {
            self.failures_in_a_row = 0;
            self.left_out_until = None;
        }
    }

    /// Records that a call that began at `begun` failed. Calls that fail together because their connection
    /// broke count as one failure.
    pub(super) fn failed(&mut self, begun: Instant, now: Instant) {
        if self.failed_at.is_none_or(|failed_at| begun > failed_at) {
            self.leave_out(now);
        }
    }

    /// Returns whether a rejected certificate has not been reported yet, and marks it as reported.
    pub(super) fn is_news_of_distrust(&mut self) -> bool {
        // An address with a wrong certificate is dialled again every few seconds; one report is enough.
        !std::mem::replace(&mut self.is_distrust_reported, true)
    }

    /// Clears the failure, because other credentials may succeed.
    pub(super) fn forgive(&mut self) {
        self.failures_in_a_row = 0;
        self.left_out_until = None;
    }

    fn leave_out(&mut self, now: Instant) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.failed_at = Some(now);
        let pause = scaled(FIRST_LEFT_OUT, MAX_LEFT_OUT, self.failures_in_a_row, self.random.unit());
        self.left_out_until = Some(now + pause);
    }
}

//! When to reopen a stream that broke.

use std::time::Duration;

use souk_proto::Reason;
use tokio::{sync::watch, time::timeout};

use crate::{
    Connection, Error,
    backoff::{requested, scaled},
    error::Refusal,
    retry::{self, MAX_ATTEMPTS},
};

/// The maximum wait before the first reconnection; it doubles with each consecutive failure.
pub const FIRST_RECONNECT: Duration = Duration::from_millis(250);

/// The limit of the doubling.
pub const MAX_RECONNECT: Duration = Duration::from_secs(30);

/// How long a stream whose certificate has expired waits for a renewed one: ample for files that are being
/// replaced at that moment.
const RENEWAL_GRACE: Duration = Duration::from_secs(2);

/// Decides when to reopen a stream. Delays grow with consecutive failures until a stream delivers
/// something.
#[derive(Debug)]
pub(crate) struct Reconnect {
    connection: Connection,
    failures_in_a_row: u32,
    /// The number of consecutive times that it was reopened at once because the market has another address.
    moves: usize,
    renewals: watch::Receiver<u64>,
    /// Whether the stream is that of a named consumer.
    is_named: bool,
}

/// What to do about a stream that has ended.
#[derive(Debug)]
pub(crate) enum Next {
    /// Reopen it at once.
    Now,
    /// Reopen it after this time.
    After(Error, Duration),
    /// Give up: the failure is permanent.
    Never(Error),
}

impl Reconnect {
    pub(crate) fn of(connection: &Connection, is_named: bool) -> Self {
        let (connection, renewals) = (connection.clone(), connection.renewals());
        Self { connection, failures_in_a_row: 0, moves: 0, renewals, is_named }
    }

    /// Records that a stream is about to be opened.
    pub(crate) fn begin(&mut self) {
        // A renewal before this stream is already in use. Only a later one is a reason to try again.
        self.renewals.mark_unchanged();
    }

    /// Decides what to do about a stream that ended. `came` is whether it delivered anything, `ever` whether
    /// any stream so far did.
    pub(crate) async fn after(&mut self, failure: Error, came: bool, ever: bool) -> Next {
        self.connection.note_loss();
        if came {
            self.failures_in_a_row = 0;
            self.moves = 0;
        }
        // Not counted as a failure, because another address needs no back-off. The moves are bounded, so that
        // a market whose addresses all fail does not cause a loop.
        if self.connection.may_move(&failure, self.moves) {
            self.moves += 1;
            tracing::debug!(%failure, "the stream goes on at another address");
            return Next::Now;
        }
        self.moves = 0;
        self.failures_in_a_row += 1;
        if reason(&failure) == Some(Reason::ConsumerFree) {
            // The market says so only to a stream that it has not kept for a while.
            return Next::Now;
        }
        let refused_token = failure.refusal().is_some_and(Refusal::is_about_the_token);
        // Once: a token that is refused right after it was issued is refused for another reason, such as
        // clocks that differ.
        if refused_token && self.failures_in_a_row == 1 {
            // The session has dropped the token and fetches another.
            return Next::Now;
        }
        if failure.is_about_the_certificate() && ever {
            // The certificate was valid when the stream began.
            if let Ok(Ok(())) = timeout(RENEWAL_GRACE, self.renewals.changed()).await {
                self.failures_in_a_row = 0;
                return Next::Now;
            }
        }
        if !failure.is_transient() && !self.may_pass(&failure, ever) {
            return Next::Never(failure);
        }
        let wait = reconnect_wait(&failure, self.failures_in_a_row, &self.connection);
        Next::After(failure, wait)
    }

    /// Returns whether a refusal that no repetition of a call would change may end while a program runs.
    fn may_pass(&self, failure: &Error, ever: bool) -> bool {
        match reason(failure) {
            // A party may be reinstated.
            Some(Reason::AccountSuspended) => true,
            // A name may be dropped. At the beginning, the user should rather choose another one.
            Some(Reason::TooManyConsumers) => ever,
            // A second stream of a name does not replace the first: it was an earlier attempt of our own that reached the
            // market late. Unnamed streams of two programs would replace each other without end.
            Some(Reason::StreamReplaced) => self.is_named && ever,
            _ => false,
        }
    }
}

/// Returns how long to wait before a connection is made again after so many failures in a row (from 1). A failure that
/// asks not to be retried gets the longest wait.
pub(crate) fn reconnect_wait(failure: &Error, failures_in_a_row: u32, connection: &Connection) -> Duration {
    let forbidden = failure.refusal().is_some_and(Refusal::forbids_retry);
    let failures = if forbidden { u32::MAX } else { failures_in_a_row };
    let jitter = connection.jitter();
    requested(failure.retry_after(), scaled(FIRST_RECONNECT, MAX_RECONNECT, failures, jitter), jitter)
}

fn reason(failure: &Error) -> Option<Reason> {
    failure.refusal().and_then(Refusal::reason)
}

/// Counts the attempts at something longer than a call, such as a stream that is displayed. Before it first got
/// anywhere, it gives up after a few; afterwards it never gives up on a failure that may pass.
#[derive(Debug, Default)]
pub struct Attempts {
    failed_in_a_row: u32,
    moves: usize,
    ever_came: bool,
}

impl Attempts {
    /// Records that the market has answered, so that from now on only a permanent failure is a reason to give up.
    pub fn reached(&mut self) {
        self.ever_came = true;
    }

    /// Returns how long to wait before the next attempt after a failed one, or `None` to give up. The wait is
    /// zero if the attempt continues at another address of the market. `came` is whether this attempt got any
    /// further than the one before.
    pub fn after(&mut self, failure: &Error, came: bool, connection: &Connection) -> Option<Duration> {
        connection.note_loss();
        if came {
            *self = Self { ever_came: true, ..Self::default() };
        }
        if connection.may_move(failure, self.moves) {
            self.moves += 1;
            return Some(Duration::ZERO);
        }
        self.moves = 0;
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        if self.ever_came {
            // A certificate that expired during a stream may have been renewed before.
            let is_renewed = failure.is_about_the_certificate() && self.failed_in_a_row == 1;
            let may_pass =
                failure.is_transient() || is_renewed || reason(failure) == Some(Reason::AccountSuspended);
            return may_pass.then(|| reconnect_wait(failure, self.failed_in_a_row, connection));
        }
        let again = self.failed_in_a_row < MAX_ATTEMPTS && failure.is_transient();
        again.then(|| retry::wait(failure.retry_after(), self.failed_in_a_row, connection.jitter()))
    }
}

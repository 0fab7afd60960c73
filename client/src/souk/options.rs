//! The settings of a connection that have a default.

use std::{path::PathBuf, time::Duration};

use souk_certs::{clock::Clock, random::Random};

use crate::{ClientConfig, Identity, MarketAddresses, Timings, config::DEFAULT_TIMEOUT};

/// Options of [`Souk::connect_with`](crate::Souk::connect_with).
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let options = souk_client::Options::default().timeout(Duration::from_secs(2));
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    timeout: Duration,
    timings: Option<Timings>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) remember_events_in: Option<PathBuf>,
    pub(super) consumer: String,
}

impl Default for Options {
    /// Returns a timeout of ten seconds, a record of events that lasts as long as the process, and no name for the
    /// consumer.
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            timings: None,
            clock: Clock::SYSTEM,
            random: Random::SYSTEM,
            remember_events_in: None,
            consumer: String::new(),
        }
    }
}

impl Options {
    /// Sets the deadline of a call including all of its retries, 100 ms to an hour.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Reports how long each call takes, attempt by attempt.
    #[must_use]
    pub fn timings(mut self, timings: Timings) -> Self {
        self.timings = Some(timings);
        self
    }

    /// Replaces the system's clock, by which certificates are judged and request ids are made, for tests and
    /// simulations. Deadlines and waits follow tokio's time.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the system's source of request ids and of the jitter of waits, for tests and simulations.
    #[must_use]
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Records in a folder which events were taken, so that they are not delivered again after a restart,
    /// even if they had not been acknowledged yet. The folder is created if it is missing; several parties
    /// and markets may share it.
    #[must_use]
    pub fn remember_events_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.remember_events_in = Some(folder.into());
        self
    }

    /// Follows the mailbox as a consumer with a name of its own, 1 to 64 characters from `a-z 0-9 . - _ @`. Each
    /// consumer of a party gets every event. Use the same name for each run of a program, and different names for
    /// programs that run at the same time; a party has at most seven.
    #[must_use]
    pub fn consumer(mut self, name: impl Into<String>) -> Self {
        self.consumer = name.into();
        self
    }

    pub(super) fn config(&self, market: MarketAddresses, identity: &Identity) -> ClientConfig {
        ClientConfig {
            trust_domain: identity.trust_domain.clone(),
            timeout: self.timeout,
            timings: self.timings.clone(),
            clock: self.clock,
            random: self.random,
            ..ClientConfig::new(market, identity.files.clone())
        }
    }
}

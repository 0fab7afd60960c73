//! Measures how long calls take, attempt by attempt, and how much of that is spent in the market.
//!
//! `Timing` stands next to the channel, below the session: what it times is the way to the market and back
//! and the market's own work, and for a connection's first call the handshake. The token is fetched by a call
//! of its own, which is reported like any other. An attempt ends with the last byte of its answer.

mod attempt;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

pub use attempt::Attempt;
use attempt::{Recorder, TimedCall};

/// The maximum number of attempts recorded per call; retries stop long before.
const MAX_ATTEMPTS: usize = 64;

/// The report of a completed call.
#[derive(Clone, Debug)]
pub struct CallTiming {
    /// Service and method, without the package.
    pub method: String,
    /// The time from the first attempt to the end of the last one, including the waits in between.
    pub took: Duration,
    /// The attempts in order; at least one.
    pub attempts: Vec<Attempt>,
}

impl fmt::Display for CallTiming {
    /// Formats the report on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.method)?;
        if self.attempts.len() > 1 {
            let millis = self.took.as_secs_f64() * 1_000.0;
            write!(f, "{} attempts in {millis:.1} ms: ", self.attempts.len())?;
        }
        for (number, attempt) in self.attempts.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{attempt}")?;
        }
        Ok(())
    }
}

/// Receives the reports of completed calls.
///
/// # Examples
/// ```no_run
/// use souk_client::{Identity, Options, Souk, Timings};
///
/// # async fn example() -> Result<(), souk_client::Error> {
/// let options = Options::default().timings(Timings::new(|call| eprintln!("{call}")));
/// let souk = Souk::connect_with("localhost:7443", Identity::from_file("bob.pem")?, options).await?;
/// souk.buyer().buy(7, 1).await?; // BuyerService/BuyItem: OK in 2.1 ms, market 0.4 ms [4711]
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Timings(Arc<dyn Fn(&CallTiming) + Send + Sync>);

impl Timings {
    /// Creates a receiver. `report` is called at the end of each call, on any thread.
    pub fn new(report: impl Fn(&CallTiming) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// Begins a call of several attempts. It is reported when the returned value is dropped.
    pub(crate) fn begin(&self) -> Attempts {
        Attempts { began: Instant::now(), log: AttemptLog::default(), timings: self.clone() }
    }
}

impl fmt::Debug for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timings").finish()
    }
}

/// A call in progress, of one or more attempts.
pub(crate) struct Attempts {
    began: Instant,
    log: AttemptLog,
    timings: Timings,
}

impl Attempts {
    /// Returns the log to put into the extensions of each attempt's request.
    pub(crate) fn log(&self) -> AttemptLog {
        self.log.clone()
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        let attempts = std::mem::take(&mut *self.log.lock());
        // There is no attempt if fetching the token failed, which is reported as a call of its own.
        let Some(first) = attempts.first() else { return };
        let method = first.method.clone();
        (self.timings.0)(&CallTiming { method, took: self.began.elapsed(), attempts });
    }
}

/// Records the attempts of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttemptLog(Arc<Mutex<Vec<Attempt>>>);

impl AttemptLog {
    fn add(&self, attempt: Attempt) {
        let mut attempts = self.lock();
        if attempts.len() < MAX_ATTEMPTS {
            attempts.push(attempt);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Attempt>> {
        // The list is consistent even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts [`Timing`] around a channel.
#[derive(Clone, Debug)]
pub(crate) struct TimingLayer {
    timings: Option<Timings>,
}

impl TimingLayer {
    /// Creates a layer. `None` disables the timing.
    pub(crate) fn new(timings: Option<Timings>) -> Self {
        Self { timings }
    }
}

impl<S> Layer<S> for TimingLayer {
    type Service = Timing<S>;

    fn layer(&self, inner: S) -> Timing<S> {
        Timing { inner, timings: self.timings.clone() }
    }
}

/// A channel whose calls are timed.
#[derive(Clone, Debug)]
pub(crate) struct Timing<S> {
    inner: S,
    timings: Option<Timings>,
}

impl<S> Timing<S> {
    /// Stops reporting the calls that start from now on. Clones made before keep reporting theirs.
    pub(crate) fn silence(&mut self) {
        self.timings = None;
    }
}

impl<S> Service<Request<Body>> for Timing<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = TimedCall<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let recorder = self.timings.as_ref().map(|timings| {
            let log = request.extensions_mut().remove::<AttemptLog>();
            Recorder::begin(request.uri().path(), log, timings.clone())
        });
        TimedCall::new(self.inner.call(request), recorder)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn attempt(code: Option<Code>, market: Option<u64>, id: Option<&str>) -> Attempt {
        Attempt {
            method: "BuyerService/BuyItem".into(),
            code,
            took: Duration::from_micros(14_250),
            market: market.map(Duration::from_micros),
            request_id: id.map(str::to_owned),
        }
    }

    fn line(attempts: Vec<Attempt>) -> String {
        let took = Duration::from_millis(351);
        CallTiming { method: "BuyerService/BuyItem".into(), took, attempts }.to_string()
    }

    #[test]
    fn a_call_is_reported_on_one_line() {
        assert_eq!(
            line(vec![attempt(Some(Code::Ok), Some(1_300), Some("4711"))]),
            "BuyerService/BuyItem: OK in 14.2 ms, market 1.3 ms [4711]"
        );
        let several = vec![
            attempt(None, None, None),
            attempt(Some(Code::Unavailable), None, None),
            attempt(Some(Code::Ok), Some(900), Some("4712")),
        ];
        assert_eq!(
            line(several),
            "BuyerService/BuyItem: 3 attempts in 351.0 ms: no answer in 14.2 ms; UNAVAILABLE in 14.2 ms; \
             OK in 14.2 ms, market 0.9 ms [4712]"
        );
    }
}

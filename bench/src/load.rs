//! The load generator: a fixed number of connections, each with a fixed number of concurrent calls, for a fixed time.
//!
//! It is a closed loop: each slot sends its next call when the previous one has been answered. The rate is therefore
//! what the server sustains, and the latency is that at full load.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use souk_proto::metadata::{MARKET_TIME, SERVER_TIMING};
use tokio::task::JoinSet;
use tonic::Response;

use crate::figures::median;

/// Number of connections, each of a different party.
pub(crate) const CONNECTIONS: usize = 8;
/// Number of concurrent calls on each connection.
pub(crate) const IN_FLIGHT: usize = 16;
/// Upper bound of the latency histogram in microseconds. Longer latencies are recorded as this.
const LONGEST_MICROS: u64 = 60_000_000;

/// The result of running a workload for some time.
#[derive(Debug)]
pub(crate) struct Measurement {
    /// Number of successful calls.
    pub(crate) calls: u64,
    /// Number of calls rejected because of overload, after which the slot continues with its next call.
    pub(crate) refused: u64,
    pub(crate) seconds: f64,
    pub(crate) latency_micros: Histogram<u64>,
}

impl Measurement {
    pub(crate) fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.seconds
    }

    /// Returns a quantile of the latency in milliseconds.
    pub(crate) fn millis(&self, quantile: f64) -> f64 {
        self.latency_micros.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// Whether a call was carried out, or refused because of overload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    CarriedOut,
    Refused,
}

/// Runs `call` in every slot of every client for `duration`. `call` receives the client and a number that is
/// different each time.
pub(crate) async fn run<C, F, Fut>(clients: &[C], duration: Duration, call: F) -> anyhow::Result<Measurement>
where
    C: Clone + Send + 'static,
    F: Fn(C, u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<CallOutcome>> + Send,
{
    let began = Instant::now();
    let end = began + duration;
    let mut slots = JoinSet::new();
    for (index, client) in clients.iter().enumerate() {
        for slot in 0..IN_FLIGHT {
            let (client, call) = (client.clone(), call.clone());
            let first = ((index * IN_FLIGHT + slot) as u64) << 32;
            slots.spawn(async move {
                let mut latencies = histogram()?;
                let (mut number, mut refused) = (first, 0);
                while Instant::now() < end {
                    let sent = Instant::now();
                    match call(client.clone(), number).await? {
                        CallOutcome::CarriedOut => {
                            latencies.saturating_record(u64::try_from(sent.elapsed().as_micros())?);
                        }
                        CallOutcome::Refused => refused += 1,
                    }
                    number += 1;
                }
                anyhow::Ok((latencies, refused))
            });
        }
    }
    let (mut latency_micros, mut refused) = (histogram()?, 0);
    while let Some(slot) = slots.join_next().await {
        let (latencies, refused_here) = slot??;
        latency_micros.add(latencies)?;
        refused += refused_here;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Measurement { calls: latency_micros.len(), refused, seconds, latency_micros })
}

/// Returns the time that the market reports for a call.
pub(crate) fn server_time<T>(answer: &Response<T>) -> anyhow::Result<Duration> {
    let reported = answer.metadata().get(SERVER_TIMING).context("the market reports no server-timing")?;
    let millis: f64 =
        reported.to_str()?.strip_prefix(MARKET_TIME).context("not the time of a market")?.parse()?;
    Ok(Duration::try_from_secs_f64(millis / 1_000.0)?)
}

/// Repeats a call that returns the time it took, and returns the median in milliseconds.
pub(crate) async fn median_millis(
    repeats: usize,
    call: impl AsyncFn() -> anyhow::Result<Duration>,
) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..repeats {
        times.push(call().await?.as_secs_f64() * 1_000.0);
    }
    Ok(median(times.into_iter()))
}

/// Returns an empty histogram of times in microseconds.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST_MICROS, 3)?)
}

//! Histograms of the duration of calls, by method and status, named after OpenTelemetry's semantic conventions for
//! RPC (`rpc.server.duration`, in Prometheus spelling and in seconds).

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};
use tonic::Code;

/// Upper bounds of the buckets in seconds, from the duration of a read to that of a deadline.
const BUCKETS: [f64; BOUNDS] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
const BOUNDS: usize = 14;
/// The number of outcomes: gRPC's status codes 0 to 16, and one for abandoned calls.
const OUTCOMES: usize = 18;
/// The labels of methods outside the contract (health, reflection, unknown paths). They share one series, so that
/// callers can't create an unbounded number of series.
const OTHER: [&str; 2] = ["other", "other"];

/// The durations of all calls.
#[derive(Debug)]
pub struct CallTimes {
    /// The place of each method in `methods`, by its path.
    by_path: HashMap<String, usize>,
    /// The service and name of each method of the contract. The last one stands for all others.
    methods: Vec<[String; 2]>,
    threads: Mutex<Vec<Arc<[Outcomes]>>>,
}

/// The durations of a method's calls by outcome. A series begins with its first call, which keeps the metrics short.
type Outcomes = [OnceLock<Box<Series>>; OUTCOMES];

/// The number of calls by duration, and the sum of their durations.
#[derive(Debug, Default)]
struct Series {
    /// The last one counts calls that took longer than all bounds.
    buckets: [AtomicU64; BOUNDS + 1],
    nanos: AtomicU64,
}

/// The durations of the calls of one server thread. Each thread has counts of its own, so that it neither waits for the
/// others nor takes their cache lines. Clones are the same counts.
#[derive(Clone, Debug)]
pub(super) struct ThreadTimes {
    times: Arc<CallTimes>,
    /// By method.
    own: Arc<[Outcomes]>,
}

impl Default for CallTimes {
    fn default() -> Self {
        let contract = souk_proto::methods();
        let by_path = contract.iter().enumerate().map(|(place, method)| (method.path(), place)).collect();
        let methods =
            contract.into_iter().map(|method| [method.service.to_string(), method.name.to_string()]);
        let methods = methods.chain([OTHER.map(str::to_owned)]).collect();
        Self { by_path, methods, threads: Mutex::default() }
    }
}

impl CallTimes {
    /// Returns the counts of a new server thread.
    pub(super) fn of_thread(self: &Arc<Self>) -> ThreadTimes {
        let own: Arc<[Outcomes]> =
            self.methods.iter().map(|_| [const { OnceLock::new() }; OUTCOMES]).collect();
        self.threads().push(Arc::clone(&own));
        ThreadTimes { times: Arc::clone(self), own }
    }

    /// Returns the service and name of a method of the contract, by its path.
    pub(super) fn method(&self, path: &str) -> Option<(&str, &str)> {
        let [service, name] = &self.methods[*self.by_path.get(path)?];
        Some((service, name))
    }

    /// Locks the counts. A poisoned lock is safe to use: nothing under it can be left half done.
    fn threads(&self) -> MutexGuard<'_, Vec<Arc<[Outcomes]>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ThreadTimes {
    /// Records a call that has ended. Without a code, it was abandoned by its caller.
    pub(super) fn add(&self, path: &str, code: Option<Code>, took: Duration) {
        // Unknown paths share one series; otherwise a client could create any number of them.
        let method = self.times.by_path.get(path).copied().unwrap_or(self.times.methods.len() - 1);
        // 17 status codes, and one place for abandoned calls.
        let outcome = code.map_or(OUTCOMES - 1, |code| code as usize);
        let Some(series) = self.own.get(method).and_then(|outcomes| outcomes.get(outcome)) else { return };
        series.get_or_init(Box::default).add(took);
    }

    /// Returns the durations of all threads.
    pub(super) fn all(&self) -> &CallTimes {
        &self.times
    }
}

impl Series {
    fn add(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        // Enough for 584 years.
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Collector for CallTimes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (name, help) = ("rpc_server_duration", "How long calls take until their last byte.");
        let unit = Unit::Seconds;
        let mut family = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        let threads = self.threads().clone();
        for (method, [service, name]) in self.methods.iter().enumerate() {
            for outcome in 0..OUTCOMES {
                let series: Vec<_> =
                    threads.iter().filter_map(|thread| thread[method][outcome].get()).collect();
                if series.is_empty() {
                    continue;
                }
                let code = if outcome == OUTCOMES - 1 { "abandoned".to_owned() } else { outcome.to_string() };
                let labels = [
                    ("rpc_service", service.clone()),
                    ("rpc_method", name.clone()),
                    ("rpc_grpc_status_code", code),
                ];
                let sum = |count: &dyn Fn(&Series) -> &AtomicU64| {
                    series.iter().map(|series| count(series).load(Ordering::Relaxed)).sum::<u64>()
                };
                let bounds = BUCKETS.into_iter().chain([f64::INFINITY]).enumerate();
                let buckets: Vec<_> =
                    bounds.map(|(place, bound)| (bound, sum(&|series| &series.buckets[place]))).collect();
                let calls = buckets.iter().map(|(_, calls)| calls).sum();
                let seconds = Duration::from_nanos(sum(&|series| &series.nanos)).as_secs_f64();
                family
                    .encode_family(&labels)?
                    .encode_histogram::<NoLabelSet>(seconds, calls, &buckets, None)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn calls_are_counted_by_method_and_outcome_and_strange_ones_together() {
        let all = Arc::new(CallTimes::default());
        let (times, others) = (all.of_thread(), all.of_thread());
        let took = Duration::from_millis(3);
        times.add("/shopping.v1.BuyerService/BuyItem", Some(Code::Ok), took);
        others.add("/shopping.v1.BuyerService/BuyItem", Some(Code::Ok), 10_000 * took);
        times.add("/shopping.v1.BuyerService/BuyItem", Some(Code::FailedPrecondition), took);
        times.add("/shopping.v1.BuyerService/BuyItem", None, took);
        for number in 0..100 {
            times.add(&format!("/no.such.Service/{number}"), Some(Code::Unimplemented), took);
        }
        let mut registry = Registry::default();
        registry.register_collector(Box::new(all));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let count = |service: &str, code: &str| {
            let mut lines = text.lines().filter(|line| line.starts_with("rpc_server_duration_seconds_count"));
            let line =
                lines.find(|line| line.contains(service) && line.contains(&format!("code=\"{code}\"")));
            line.map(|line| line.rsplit(' ').next().unwrap().to_owned())
        };
        assert_eq!(count("BuyerService", "0"), Some("2".to_owned()), "of both threads: {text}");
        let labels =
            r#"rpc_service="shopping.v1.BuyerService",rpc_method="BuyItem",rpc_grpc_status_code="0""#;
        for line in [
            format!("rpc_server_duration_seconds_sum{{{labels}}} 30.003"),
            format!("rpc_server_duration_seconds_bucket{{le=\"0.0025\",{labels}}} 0"),
            format!("rpc_server_duration_seconds_bucket{{le=\"0.005\",{labels}}} 1"),
            format!("rpc_server_duration_seconds_bucket{{le=\"30.0\",{labels}}} 2"),
            format!("rpc_server_duration_seconds_bucket{{le=\"+Inf\",{labels}}} 2"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert_eq!(count("BuyerService", "9"), Some("1".to_owned()), "{text}");
        assert_eq!(count("BuyerService", "abandoned"), Some("1".to_owned()), "{text}");
        assert_eq!(count("other", "12"), Some("100".to_owned()), "{text}");
    }
}

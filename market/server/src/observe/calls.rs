//! Histograms of the duration of calls, by method and status, named after OpenTelemetry's semantic conventions for
//! RPC (`rpc.server.duration`, in Prometheus spelling and in seconds).

use std::{collections::HashMap, sync::OnceLock, time::Duration};

use prometheus_client::{
    metrics::{family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use tonic::Code;

/// Upper bounds of the buckets in seconds, from the duration of a read to that of a deadline.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// The number of outcomes: gRPC's status codes 0 to 16, and one for abandoned calls.
const OUTCOMES: usize = 18;
/// The labels of methods outside the contract (health, reflection, unknown paths). They share one series, so that
/// callers can't create an unbounded number of series.
const OTHER: [&str; 2] = ["other", "other"];

type Labels = [(&'static str, String); 3];
type Times = Family<Labels, Histogram, fn() -> Histogram>;

/// The durations of all calls.
#[derive(Debug)]
pub struct CallTimes {
    by_path: HashMap<String, Method>,
    other: Method,
    times: Times,
}

/// A method of the contract. A series is created with its first call, which keeps the metrics short.
#[derive(Debug)]
struct Method {
    service: String,
    name: String,
    outcomes: [OnceLock<Histogram>; OUTCOMES],
}

impl Method {
    fn new(service: impl Into<String>, name: impl Into<String>) -> Self {
        let (service, name) = (service.into(), name.into());
        Self { service, name, outcomes: [const { OnceLock::new() }; OUTCOMES] }
    }
}

impl Default for CallTimes {
    fn default() -> Self {
        let methods = souk_proto::methods().into_iter();
        Self {
            by_path: methods.map(|found| (found.path(), Method::new(found.service, found.name))).collect(),
            other: Method::new(OTHER[0], OTHER[1]),
            times: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }
}

impl CallTimes {
    /// Records a call that has ended. Without a code, it was abandoned by its caller.
    pub fn add(&self, path: &str, code: Option<Code>, took: Duration) {
        // Unknown paths share one series; otherwise a client could create any number of them.
        let method = self.by_path.get(path).unwrap_or(&self.other);
        // 17 status codes, and one place for abandoned calls.
        let outcome = code.map_or(OUTCOMES - 1, |code| code as usize);
        let Some(histogram) = method.outcomes.get(outcome) else { return };
        // Cached, because a lookup in the family takes a lock and builds the labels, for every call.
        histogram.get_or_init(|| self.series(method, code)).observe(took.as_secs_f64());
    }

    /// Returns the service and name of a method of the contract, by its path.
    pub(super) fn method(&self, path: &str) -> Option<(&str, &str)> {
        self.by_path.get(path).map(|method| (method.service.as_str(), method.name.as_str()))
    }

    /// Adds the histograms to a registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "How long calls take until their last byte";
        registry.register_with_unit("rpc_server_duration", help, Unit::Seconds, self.times.clone());
    }

    fn series(&self, method: &Method, code: Option<Code>) -> Histogram {
        let code = code.map_or("abandoned".to_owned(), |code| (code as i32).to_string());
        let labels = [
            ("rpc_service", method.service.clone()),
            ("rpc_method", method.name.clone()),
            ("rpc_grpc_status_code", code),
        ];
        self.times.get_or_create(&labels).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_method_and_outcome_and_strange_ones_together() {
        let times = CallTimes::default();
        let took = Duration::from_millis(3);
        times.add("/shopping.v1.BuyerService/BuyItem", Some(Code::Ok), took);
        times.add("/shopping.v1.BuyerService/BuyItem", Some(Code::FailedPrecondition), took);
        times.add("/shopping.v1.BuyerService/BuyItem", None, took);
        for number in 0..100 {
            times.add(&format!("/no.such.Service/{number}"), Some(Code::Unimplemented), took);
        }
        let mut registry = Registry::default();
        times.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let count = |service: &str, code: &str| {
            let mut lines = text.lines().filter(|line| line.starts_with("rpc_server_duration_seconds_count"));
            let line =
                lines.find(|line| line.contains(service) && line.contains(&format!("code=\"{code}\"")));
            line.map(|line| line.rsplit(' ').next().unwrap().to_owned())
        };
        assert_eq!(count("BuyerService", "0"), Some("1".to_owned()), "{text}");
        assert_eq!(count("BuyerService", "9"), Some("1".to_owned()), "{text}");
        assert_eq!(count("BuyerService", "abandoned"), Some("1".to_owned()), "{text}");
        assert_eq!(count("other", "12"), Some("100".to_owned()), "{text}");
    }
}

//! Metrics in the OpenMetrics text format, for Prometheus. All except the durations of calls are read when scraped.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::CallTimes;

/// The metrics of a market.
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Registry,
}

struct Figure<R> {
    name: &'static str,
    help: &'static str,
    read: R,
}

impl<R> fmt::Debug for Figure<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figure").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Gauge<R>(Figure<R>);
struct Counter<R>(Figure<R>);
struct SecondsCounter<R>(Figure<R>);

impl<R> fmt::Debug for Gauge<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<R> fmt::Debug for Counter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<R> fmt::Debug for SecondsCounter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<R: Fn() -> i64 + Send + Sync + 'static> Collector for Gauge<R> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Figure { name, help, read } = &self.0;
        let gauge = ConstGauge::new(read());
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
    }
}

impl<R: Fn() -> u64 + Send + Sync + 'static> Collector for Counter<R> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Figure { name, help, read } = &self.0;
        let counter = ConstCounter::new(read());
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
    }
}

impl<R: Fn() -> f64 + Send + Sync + 'static> Collector for SecondsCounter<R> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Figure { name, help, read } = &self.0;
        let counter = ConstCounter::new(read());
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
    }
}

impl Metrics {
    /// Adds a gauge, whose value is read by `value` at each scrape.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> i64 + Send + Sync + 'static,
    ) {
        self.registry.register_collector(Box::new(Gauge(Figure { name, help, read })));
    }

    /// Adds a counter, whose value is read by `value` at each scrape and must never decrease.
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.registry.register_collector(Box::new(Counter(Figure { name, help, read })));
    }

    /// Adds a counter of seconds.
    pub fn seconds_counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.registry.register_collector(Box::new(SecondsCounter(Figure { name, help, read })));
    }

    /// Adds the histograms of the duration of calls.
    pub fn call_times(&mut self, times: &Arc<CallTimes>) {
        self.registry.register_collector(Box::new(Arc::clone(times)));
    }

    /// Returns all metrics as OpenMetrics text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_when_asked_for() {
        let mut metrics = Metrics::default();
        let count = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let read = std::sync::Arc::clone(&count);
        metrics.counter("souk_things", "Things", move || {
            read.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
        });
        metrics.gauge("souk_depth", "A depth", || -3);
        let text = "# HELP souk_things Things\n# TYPE souk_things counter\nsouk_things_total 0\n\
                    # HELP souk_depth A depth\n# TYPE souk_depth gauge\nsouk_depth -3\n# EOF\n";
        assert_eq!(metrics.text().unwrap(), text);
        assert!(metrics.text().unwrap().contains("souk_things_total 1"));
    }
}

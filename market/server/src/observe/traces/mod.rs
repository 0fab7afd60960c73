//! Exports spans of calls to an OpenTelemetry collector (OTLP over gRPC), if one is configured.
//!
//! A call never waits for its span: finished spans go into a bounded queue, and those that do not fit are dropped and
//! counted. A single task sends them, so that a slow or unavailable collector affects nothing else.

mod call;
mod queue;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(super) use call::CallSpan;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter as _},
};
use queue::{QUEUE, Queue};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use crate::config::TraceConfig;

/// Timeout for sending a batch, including the exporter's own retries.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time for sending the last spans at shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The service name in traces, unless OTEL_SERVICE_NAME is set.
const SERVICE_NAME: &str = "souk-market";
/// The instrumentation scope of the spans.
const SCOPE: &str = "souk";
/// Spans with this target are exported, and nothing else.
pub(super) const TARGET: &str = "souk::call";

/// The exporter could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("can't send spans to {endpoint}: {source}; check --otlp-endpoint")]
pub struct TraceError {
    endpoint: String,
    source: ExporterBuildError,
}

/// The export of spans to a collector.
#[derive(Debug)]
pub struct Traces {
    tracer: SdkTracer,
    counts: Arc<SpanCounts>,
    closing: CancellationToken,
    sending: JoinHandle<()>,
}

/// Counts of sent, dropped and queued spans.
#[derive(Debug, Default)]
pub struct SpanCounts {
    queue: OnceLock<mpsc::WeakSender<SpanData>>,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl SpanCounts {
    /// Returns the number of spans that the collector has accepted.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Returns the number of spans that were dropped because the queue was full or sending them failed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of spans that wait to be sent.
    pub fn queued(&self) -> usize {
        let queue = self.queue.get().and_then(mpsc::WeakSender::upgrade);
        queue.map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    fn add_sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn add_dropped(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Traces {
    /// Starts the export of spans, or returns `None` if no collector is configured. The connection is opened for the
    /// first span. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Returns an error if the exporter can't be set up from the settings and the standard `OTEL_EXPORTER_OTLP_*`
    /// variables.
    pub fn open(config: &TraceConfig) -> Result<Option<Self>, TraceError> {
        if config.otlp_endpoint.is_empty() {
            return Ok(None);
        }
        let endpoint = config.otlp_endpoint.clone();
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|source| TraceError { endpoint, source })?;
        Ok(Some(Self::with_exporter(exporter, config.sample_ratio)))
    }

    fn with_exporter(mut exporter: SpanExporter, sample_ratio: f64) -> Self {
        let resource = resource();
        exporter.set_resource(&resource);
        let (counts, closing) = (Arc::new(SpanCounts::default()), CancellationToken::new());
        let (spans, queued) = mpsc::channel(QUEUE);
        // Can't be set yet: the counts are new.
        let _ = counts.queue.set(spans.downgrade());
        let sending = queue::send(queued, exporter, Arc::clone(&counts), closing.clone());
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            // The decision of the caller counts, so that a trace is complete or absent, never partial.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio))))
            .with_span_processor(Queue::new(spans, Arc::clone(&counts)))
            .build();
        let tracer = provider.tracer(SCOPE);
        Self { tracer, counts, closing, sending: tokio::spawn(sending) }
    }

    /// Returns the layer that turns tracing spans with [`TARGET`] into exported ones.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.tracer.clone())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
    }

    /// Returns the counts of sent and dropped spans.
    pub fn counts(&self) -> Arc<SpanCounts> {
        Arc::clone(&self.counts)
    }

    /// Sends the remaining spans, for at most a second. Spans that end later are dropped.
    pub async fn close(mut self) {
        self.closing.cancel();
        if timeout(CLOSE_TIMEOUT, &mut self.sending).await.is_err() {
            self.sending.abort();
            tracing::warn!("the collector does not respond: the last spans were not sent");
        }
        tracing::info!(sent = self.counts.sent(), dropped = self.counts.dropped(), "spans were sent");
    }
}

/// Returns the resource of the spans, from OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, or with our own name.
fn resource() -> Resource {
    let named = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let resource = Resource::builder();
    let resource =
        if named("OTEL_SERVICE_NAME") { resource } else { resource.with_service_name(SERVICE_NAME) };
    resource.build()
}

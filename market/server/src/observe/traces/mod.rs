//! Spans of calls, sent to an OpenTelemetry collector (OTLP over gRPC), when one is named.
//!
//! A call never waits for its span: ended spans go into a bounded queue, and what does not fit is dropped and
//! counted. One task sends them, so that a collector that is slow or away costs nobody else anything.

mod call;
mod queue;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(super) use call::CallSpan;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, SpanExporter as _},
};
use queue::{QUEUE, Queue};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use crate::config::TraceConfig;

/// How long sending one batch may take, with the exporter's own repeats.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a market that closes waits for its last spans to be sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// What the market is called in traces, unless OTEL_SERVICE_NAME says otherwise.
const SERVICE_NAME: &str = "souk-market";
/// What made the spans.
const SCOPE: &str = "souk";
/// Spans with this target are exported, and nothing else.
pub(super) const TARGET: &str = "souk::call";

/// The collector can't be sent anything.
#[derive(Debug, thiserror::Error)]
#[error("can't send spans to {endpoint}: {source}; check --otlp-endpoint")]
pub struct TraceError {
    endpoint: String,
    source: ExporterBuildError,
}

/// Spans on their way to a collector.
#[derive(Debug)]
pub struct Traces {
    tracer: SdkTracer,
    counts: Arc<SpanCounts>,
    closing: CancellationToken,
    sending: JoinHandle<()>,
}

/// What has become of the spans.
#[derive(Debug, Default)]
pub struct SpanCounts {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl SpanCounts {
    /// Spans that the collector has taken.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Spans that it has not: the queue was full, or sending them failed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn add_sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn add_dropped(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Traces {
    /// Begins to send spans, if a collector is named. Nobody is connected to before there is a span. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// The exporter can't be set up, from the settings or the standard `OTEL_EXPORTER_OTLP_*` variables.
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
        let sending = queue::send(queued, exporter, Arc::clone(&counts), closing.clone());
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio))))
            .with_span_processor(Queue::new(spans, Arc::clone(&counts)))
            .build();
        let tracer = provider.tracer(SCOPE);
        Self { tracer, counts, closing, sending: tokio::spawn(sending) }
    }

    /// Makes spans of those calls that are known to tracing.
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

    /// What has become of the spans so far.
    pub fn counts(&self) -> Arc<SpanCounts> {
        Arc::clone(&self.counts)
    }

    /// Sends what is left, as long as that takes no more than a second. Spans that end later are dropped.
    pub async fn close(mut self) {
        self.closing.cancel();
        if timeout(CLOSE_TIMEOUT, &mut self.sending).await.is_err() {
            self.sending.abort();
            tracing::warn!("the collector does not answer: the last spans were not sent");
        }
        tracing::info!(sent = self.counts.sent(), dropped = self.counts.dropped(), "spans were sent");
    }
}

/// Who makes the spans: what OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say, or our own name.
fn resource() -> Resource {
    let named = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let resource = Resource::builder();
    let resource =
        if named("OTEL_SERVICE_NAME") { resource } else { resource.with_service_name(SERVICE_NAME) };
    resource.build()
}

//! The bounded queue of finished spans, and the task that sends them to the collector.

use std::{sync::Arc, time::Duration};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{EXPORT_TIMEOUT, SpanCounts};

/// Capacity of the queue in spans of about 1 KiB each.
pub(super) const QUEUE: usize = 4_096;
/// Maximum number of spans in a batch.
const BATCH: usize = 512;
/// Maximum time that the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// A span processor that queues finished spans. It replaces the SDK's batch processor, which needs a thread, blocks
/// at shutdown, and does not report how many spans it has dropped.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    counts: Arc<SpanCounts>,
}

impl Queue {
    pub(super) fn new(spans: mpsc::Sender<SpanData>, counts: Arc<SpanCounts>) -> Self {
        Self { spans, counts }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        // Never waits: this runs on a server thread when a call ends.
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.counts.add_dropped(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends spans until `closing` is cancelled, and then the remaining ones.
pub(super) async fn send(
    mut spans: mpsc::Receiver<SpanData>,
    exporter: impl SpanExporter,
    counts: Arc<SpanCounts>,
    closing: CancellationToken,
) {
    let mut is_well = true;
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        gather(&mut spans, &mut batch, &closing).await;
        if batch.is_empty() {
            return;
        }
        let count = batch.len();
        let exported = timeout(EXPORT_TIMEOUT, exporter.export(batch)).await;
        let problem = match exported {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it does not answer".to_owned()),
        };
        match &problem {
            None => counts.add_sent(count),
            Some(_) => counts.add_dropped(count),
        }
        // Log only the start and the end of an outage, not every batch.
        match (&problem, is_well) {
            (Some(problem), true) => {
                tracing::warn!(problem, "the collector accepts no spans; dropping them until it does");
            }
            (None, false) => tracing::info!("the collector accepts spans again"),
            _ => {}
        }
        is_well = problem.is_none();
    }
}

/// Waits for a span, and then up to [`GATHER`] for others. Returns no spans if the market shuts down and none is
/// left.
async fn gather(
    spans: &mut mpsc::Receiver<SpanData>,
    batch: &mut Vec<SpanData>,
    closing: &CancellationToken,
) {
    tokio::select! {
        biased;
        _ = spans.recv_many(batch, BATCH) => {}
        () = closing.cancelled() => spans.close(),
    }
    let enough = sleep(GATHER);
    tokio::pin!(enough);
    while batch.len() < BATCH && !spans.is_closed() {
        let room = BATCH - batch.len();
        tokio::select! {
            biased;
            // First, because of `biased`: spans that are ready are taken even while the market closes.
            _ = spans.recv_many(batch, room) => {}
            () = &mut enough => return,
            () = closing.cancelled() => spans.close(),
        }
    }
    if spans.is_closed() && batch.len() < BATCH {
        let room = BATCH - batch.len();
        spans.recv_many(batch, room).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Mutex};

    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

    use super::*;

    #[derive(Debug)]
    enum Collector {
        Takes(Mutex<Vec<usize>>),
        NeverAnswers,
    }

    impl SpanExporter for &'static Collector {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            match self {
                Collector::Takes(batches) => batches.lock().unwrap().push(batch.len()),
                Collector::NeverAnswers => pending().await,
            }
            Ok(())
        }
    }

    struct Line {
        tracer: SdkTracer,
        counts: Arc<SpanCounts>,
        closing: CancellationToken,
        spans: Option<mpsc::Receiver<SpanData>>,
    }

    fn line() -> Line {
        let (sender, spans) = mpsc::channel(QUEUE);
        let counts = Arc::new(SpanCounts::default());
        let queue = Queue::new(sender, Arc::clone(&counts));
        let tracer = SdkTracerProvider::builder().with_span_processor(queue).build().tracer("test");
        Line { tracer, counts, closing: CancellationToken::new(), spans: Some(spans) }
    }

    impl Line {
        fn end(&self, count: usize) {
            (0..count).for_each(|_| drop(self.tracer.start("span")));
        }

        fn send(&mut self, collector: &'static Collector) -> impl Future<Output = ()> + use<> {
            send(self.spans.take().unwrap(), collector, Arc::clone(&self.counts), self.closing.clone())
        }
    }

    fn leak(collector: Collector) -> &'static Collector {
        Box::leak(Box::new(collector))
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_counted() {
        let line = line();
        line.end(QUEUE + 7);
        assert_eq!(line.counts.dropped(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn spans_are_sent_together_and_the_rest_at_the_end() {
        let mut line = line();
        let collector = leak(Collector::Takes(Mutex::default()));
        line.end(BATCH + 3);
        line.closing.cancel();
        line.send(collector).await;
        let Collector::Takes(batches) = collector else { unreachable!() };
        assert_eq!(*batches.lock().unwrap(), [BATCH, 3]);
        assert_eq!((line.counts.sent(), line.counts.dropped()), (BATCH as u64 + 3, 0));
        line.end(1);
        assert_eq!(line.counts.dropped(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_never_answers_is_given_up() {
        let mut line = line();
        line.end(5);
        line.closing.cancel();
        line.send(leak(Collector::NeverAnswers)).await;
        assert_eq!((line.counts.sent(), line.counts.dropped()), (0, 5));
    }
}

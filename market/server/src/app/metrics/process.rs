//! Metrics of the process, and of what it writes to elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};

use souk_domain::Timestamp;

use super::count;
use crate::observe::{Memory, Metrics, Outputs, process};

/// Adds the process's start, and on systems that have `/proc` what it uses. The names are those of Prometheus's own
/// libraries.
pub(super) fn add(started: Timestamp, metrics: &mut Metrics) {
    let started = started.0 / 1_000_000;
    metrics.gauge("process_start_time_seconds", "When the market was started", move || started);
    add_memory(metrics);
    let (Ok(most), Ok(_)) = (process::most_files(), process::cpu_seconds()) else { return };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    metrics.gauge("process_open_fds", "Open file descriptors", move || {
        // At the limit, the folder with the descriptors can't be opened.
        process::open_files().map_or(most, |open| i64::try_from(open).unwrap_or(i64::MAX))
    });
    metrics.gauge("process_max_fds", "The most file descriptors that may be open", move || most);
    let last = AtomicU64::new(0);
    metrics.seconds_counter("process_cpu_seconds", "CPU time", move || {
        // A counter must not decrease, so the last value stands in for one that can't be read.
        if let Ok(seconds) = process::cpu_seconds() {
            last.store(seconds.to_bits(), Ordering::Relaxed);
        }
        f64::from_bits(last.load(Ordering::Relaxed))
    });
}

/// Adds the counts of log lines and spans.
pub(super) fn add_outputs(outputs: &Outputs, metrics: &mut Metrics) {
    let of = outputs.clone();
    let help = "Log lines that were dropped because the terminal or disk was too slow";
    metrics.counter("souk_log_lines_dropped", help, move || of.dropped_lines());
    let spans = outputs.spans.clone();
    metrics.gauge("souk_spans_queued", "Spans that wait to be sent; at most 4096", move || {
        count(spans.queued())
    });
    let spans = outputs.spans.clone();
    metrics.counter("souk_spans_sent", "Spans that the collector has taken", move || spans.sent());
    let spans = outputs.spans.clone();
    let help = "Spans that were dropped: the queue was full, or sending them failed";
    metrics.counter("souk_spans_dropped", help, move || spans.dropped());
}

/// Adds memory metrics, on systems that have `/proc`.
fn add_memory(metrics: &mut Metrics) {
    if Memory::own().is_err() {
        return;
    }
    let bytes = |part: fn(Memory) -> u64| {
        move || Memory::own().map_or(0, |memory| i64::try_from(part(memory)).unwrap_or(i64::MAX))
    };
    metrics.gauge(
        "souk_memory_anonymous_bytes",
        "Resident memory of the market's own: heap and stacks (RssAnon)",
        bytes(|memory| memory.anonymous),
    );
    metrics.gauge(
        "souk_memory_file_bytes",
        "Resident parts of files: database, search index, program (RssFile); the kernel takes them back at need",
        bytes(|memory| memory.of_files),
    );
}

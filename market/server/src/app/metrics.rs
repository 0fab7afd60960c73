//! The market's metrics.

use std::{sync::Arc, time::Duration};

use souk_store::HealthState;

use super::App;
use crate::{
    observe::{Memory, Metrics, SpanCounts},
    relay::RelayHandle,
};

impl App {
    /// Returns all metrics. They read the state of the components when they are scraped, so they are always current.
    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        self.add_expiries(&mut metrics);
        let acceptor = self.acceptor.clone();
        metrics.gauge("souk_connections", "Open connections", move || count(acceptor.connections()));
        let acceptor = self.acceptor.clone();
        metrics.gauge("souk_handshakes", "TLS handshakes under way", move || count(acceptor.handshakes()));
        let queued = self.lanes.queued();
        metrics.gauge("souk_ledger_queued_commands", "Commands that wait for the ledger", move || {
            count(queued())
        });
        let relay = self.relay.handle();
        metrics.gauge("souk_subscribers", "Open Subscribe streams", move || count(relay.subscribers()));
        add_deliveries(&self.relay.handle(), &mut metrics);
        let suspended = self.parts.suspended.clone();
        metrics.gauge("souk_suspended_parties", "Parties that are shut out", move || {
            count(suspended.all().len())
        });
        let refusals = self.refusals.clone();
        metrics.counter("souk_refused_identities", "Handshakes and calls refused for who asked", move || {
            refusals.total()
        });
        self.add_store(&mut metrics);
        self.add_clock(&mut metrics);
        self.add_search(&mut metrics);
        add_memory(&mut metrics);
        metrics.call_times(&self.times);
        if let Some(spans) = &self.spans {
            add_spans(spans, &mut metrics);
        }
        metrics
    }

    fn add_store(&self, metrics: &mut Metrics) {
        let health = self.store_health.clone();
        metrics.gauge(
            "souk_store_state",
            "What the store can do: 0 everything, 1 only read (disk full), 2 only read (file lost), 3 nothing (failed)",
            move || match health.state() {
                HealthState::Healthy => 0,
                HealthState::Full => 1,
                HealthState::Detached { .. } => 2,
                HealthState::Failed { .. } => 3,
            },
        );
        let Some(log) = &self.parts.log else { return };
        let bytes = log.clone();
        metrics.gauge("souk_wal_bytes", "Size of the store's write-ahead log", move || {
            i64::try_from(bytes.bytes()).unwrap_or(i64::MAX)
        });
        let pages = log.clone();
        metrics.gauge(
            "souk_wal_pending_pages",
            "Pages of the write-ahead log that are not yet in the database file",
            move || i64::try_from(pages.pending_pages()).unwrap_or(i64::MAX),
        );
        let checkpoints = log.clone();
        metrics.counter("souk_wal_checkpoints", "Checkpoints of the write-ahead log", move || {
            checkpoints.checkpoints()
        });
    }

    fn add_search(&self, metrics: &mut Metrics) {
        let search = self.parts.search.clone();
        let help = "1 while the search index can't be written and searches show its last state, otherwise 0";
        metrics.gauge("souk_search_failing", help, move || i64::from(search.failure().is_some()));
        let search = self.parts.search.clone();
        let help = "For how long searches may have lacked changes; 0: they are current";
        metrics.gauge("souk_search_stale_seconds", help, move || {
            seconds(search.stale_for().unwrap_or_default())
        });
        if let Some(replicas) = self.replicas.clone() {
            let help =
                "Age of the oldest transaction that hides later commits from searches and the audit log";
            metrics.gauge("souk_horizon_age_seconds", help, move || seconds(replicas.horizon().age));
        }
    }

    fn add_clock(&self, metrics: &mut Metrics) {
        let steady = self.parts.steady.clone();
        let help = "1 while nothing is cleaned up because the clocks disagree, otherwise 0";
        metrics.gauge("souk_clock_paused", help, move || i64::from(steady.is_paused()));
        let steady = self.parts.steady.clone();
        let help = "By how much the wall clock last jumped; negative: back; 0: it never did";
        metrics.gauge("souk_clock_jump_seconds", help, move || steady.mark().jump_seconds);
    }

    fn add_expiries(&self, metrics: &mut Metrics) {
        let present = Arc::clone(&self.rotator.users.present);
        metrics.gauge(
            "souk_soonest_expiry_timestamp_seconds",
            "When the first of certificate, authority and revocation list ends",
            move || present.load().expiries().soonest().unix_timestamp(),
        );
        let present = Arc::clone(&self.rotator.users.present);
        metrics.gauge(
            "souk_certificate_expiry_timestamp_seconds",
            "When the market's certificate ends",
            move || present.load().expiries().certificate.unix_timestamp(),
        );
        let present = Arc::clone(&self.rotator.users.present);
        metrics.gauge(
            "souk_authority_expiry_timestamp_seconds",
            "When the authority's certificate ends",
            move || present.load().expiries().authority.unix_timestamp(),
        );
        let present = Arc::clone(&self.rotator.users.present);
        metrics.gauge(
            "souk_revocation_list_expiry_timestamp_seconds",
            "When the revocation list should be replaced; 0: it does not say",
            move || present.load().expiries().revocation_list.map_or(0, |end| end.unix_timestamp()),
        );
    }
}

/// Adds metrics of callbacks and of the clean-up.
fn add_deliveries(relay: &RelayHandle, metrics: &mut Metrics) {
    let read = |value: fn(&RelayHandle) -> usize| {
        let relay = relay.clone();
        move || count(value(&relay))
    };
    metrics.gauge(
        "souk_deliveries_proven",
        "Deliveries in progress to callbacks whose last attempt was received; at most 64",
        read(|relay| relay.in_progress().in_slots.proven),
    );
    metrics.gauge(
        "souk_deliveries_unproven",
        "Deliveries in progress to callbacks at which nothing was received yet; at most 32",
        read(|relay| relay.in_progress().in_slots.unproven),
    );
    metrics.gauge(
        "souk_deliveries_failing",
        "Deliveries in progress to callbacks whose last attempt failed; at most 16",
        read(|relay| relay.in_progress().in_slots.failing),
    );
    metrics.gauge(
        "souk_deliveries_slow",
        "Deliveries to proven callbacks that have taken longer than 250 ms; at most 64 count apart",
        read(|relay| relay.in_progress().slow),
    );
    metrics.gauge(
        "souk_deliveries_silent",
        "Deliveries to unproven callbacks that have taken longer than 250 ms; at most 256",
        read(|relay| relay.in_progress().silent),
    );
    metrics.gauge(
        "souk_due_mailboxes_proven",
        "Mailboxes that wait for a slot, with callbacks whose last attempt was received",
        read(|relay| relay.due().proven),
    );
    metrics.gauge(
        "souk_due_mailboxes_unproven",
        "Mailboxes that wait for a slot, with callbacks at which nothing was received yet",
        read(|relay| relay.due().unproven),
    );
    metrics.gauge(
        "souk_due_mailboxes_failing",
        "Mailboxes that wait for a slot, with callbacks whose last attempt failed",
        read(|relay| relay.due().failing),
    );
    let relay_of = relay.clone();
    metrics.counter("souk_cleaned_rows", "Expired and acknowledged rows that were deleted", move || {
        relay_of.cleaned_rows()
    });
    let relay_of = relay.clone();
    metrics.gauge(
        "souk_cleaning_backlog_seconds",
        "For how long rows past their retention have been waiting to be deleted; 0: none is left",
        move || i64::try_from(relay_of.cleaning_backlog().as_secs()).unwrap_or(i64::MAX),
    );
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

fn add_spans(spans: &Arc<SpanCounts>, metrics: &mut Metrics) {
    let counts = Arc::clone(spans);
    metrics.counter("souk_spans_sent", "Spans that the collector has taken", move || counts.sent());
    let counts = Arc::clone(spans);
    let help = "Spans that were dropped: the queue was full, or sending them failed";
    metrics.counter("souk_spans_dropped", help, move || counts.dropped());
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

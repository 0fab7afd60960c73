//! The market's metrics and health.

use std::{sync::Arc, time::Duration};

use souk_search::Search;
use souk_store::HorizonState;

use super::{App, replicas::StoreFreshness};
use crate::{
    clock::SteadyClock,
    observe::{Memory, Metrics, SpanCounts, checks::Check, port::Health},
    transport::Pulses,
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
        let suspended = self.parts.suspended.clone();
        metrics.gauge("souk_suspended_parties", "Parties that are shut out", move || {
            count(suspended.all().len())
        });
        let refusals = self.refusals.clone();
        metrics.counter("souk_refused_identities", "Handshakes and calls refused for who asked", move || {
            refusals.total()
        });
        self.add_clock(&mut metrics);
        self.add_search(&mut metrics);
        add_memory(&mut metrics);
        metrics.call_times(&self.times);
        if let Some(spans) = &self.spans {
            add_spans(spans, &mut metrics);
        }
        metrics
    }

    /// Returns the liveness and readiness checks.
    pub(super) fn health(&self) -> impl FnOnce(Pulses) -> Health + use<> {
        let has_failed = self.lanes.failure();
        let checks = self.checks();
        move |threads| Health {
            is_alive: Box::new(move || !has_failed() && threads.are_well()),
            checks: Box::new(checks),
        }
    }

    /// Returns the readiness checks. The market is ready if its ledger works, its index has caught up since the start,
    /// it is not shutting down, and a shared database can be reached.
    fn checks(&self) -> impl Fn() -> Vec<Check> + Send + Sync + use<> {
        let (ledger, closing) = (self.lanes.failure(), self.parts.closing.clone());
        let (search, steady) = (self.parts.search.clone(), self.parts.steady.clone());
        let (freshness, replicas) = (self.freshness.clone(), self.replicas.clone());
        move || {
            let is_fresh = freshness.as_ref().is_none_or(StoreFreshness::is_fresh);
            let mut checks = vec![
                Check::that("serving", !closing.is_cancelled(), "shutting down"),
                Check::that("ledger", !ledger(), "a lane has failed; start the market again"),
                Check::that("store", is_fresh, "the database has not been reached for 3 s"),
                Check::that("search", search.load().level, "the index is catching up"),
                Check::notice("index", index_notice(&search)),
                Check::notice("clock", clock_notice(&steady)),
            ];
            if let Some(replicas) = &replicas {
                checks.push(Check::notice("horizon", horizon_notice(&replicas.horizon())));
            }
            checks
        }
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

fn index_notice(search: &Search) -> Option<String> {
    let stale = search.stale_for().map(|lag| format!("answers are {} s old", lag.as_secs()));
    let failing = search.failure().map(|reason| format!("it can't be written: {reason}"));
    let notices: Vec<String> = failing.into_iter().chain(stale).collect();
    (!notices.is_empty()).then(|| notices.join("; "))
}

fn clock_notice(steady: &SteadyClock) -> Option<String> {
    let (mark, is_paused) = (steady.mark(), steady.is_paused());
    is_paused.then(|| {
        let (jump, left) = (mark.jump_seconds, mark.pause_left().as_secs());
        format!(
            "clean-up is paused for {left} s more: the wall clock jumped by {jump} s; see market clock accept"
        )
    })
}

fn horizon_notice(horizon: &HorizonState) -> Option<String> {
    let holders = horizon.held_by.as_ref()?;
    Some(format!("{} s old, held by {holders}", horizon.age.as_secs()))
}

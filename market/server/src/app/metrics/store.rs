//! Metrics of the store, the clocks and the search index.

use souk_search::{HitCounts, Search};
use souk_store::{HealthState, StoreQueues, WriteAheadLog};

use super::{super::App, count, read, seconds};
use crate::observe::Metrics;

impl App {
    pub(super) fn add_store(&self, metrics: &mut Metrics) {
        let health = self.store_health.clone();
        metrics.gauge(
            "souk_store_state",
            "What the store can do: 0 everything, 1 only read (disk full), 2 only read (file lost), 3 nothing (failed), \
             4 only read (held up by another process)",
            move || match health.state() {
                HealthState::Healthy => 0,
                HealthState::Full => 1,
                HealthState::Detached { .. } => 2,
                HealthState::Failed { .. } => 3,
                HealthState::HeldUp { .. } => 4,
            },
        );
        let look = self.backlogs.clone();
        metrics.gauge(
            "souk_audit_pending_entries",
            "Entries of the audit log that are still to be compressed (SQLite) or chained (PostgreSQL)",
            move || look.number(|found| found.audit_entries),
        );
        self.add_sweep(metrics);
        if let Some(queues) = &self.store_queues {
            add_queues(queues, metrics);
        }
        if let Some(log) = &self.parts.log {
            add_log(log, metrics);
        }
    }

    fn add_sweep(&self, metrics: &mut Metrics) {
        let report = self.sweeper.report();
        let help = "Daily sweeps over the rank classes of items that this market has finished";
        metrics.counter("souk_rank_sweeps", help, move || report.sweeps());
        let report = self.sweeper.report();
        metrics.counter("souk_ranked_items", "Items whose rank class these sweeps have changed", move || {
            report.items()
        });
        let report = self.sweeper.report();
        let help = "For how long the sweep of the present day has been due or under way; 0: it is done";
        metrics.gauge("souk_rank_sweep_due_seconds", help, move || seconds(report.due_for()));
    }

    /// Adds the metrics of a database that several markets may share.
    pub(super) fn add_database(&self, metrics: &mut Metrics) {
        if let Some(freshness) = self.freshness.clone() {
            let help = "For how long the shared database has not been reached";
            metrics.gauge("souk_database_unreached_seconds", help, move || seconds(freshness.age()));
        }
        if let Some(replicas) = self.replicas.clone() {
            let help =
                "Age of the oldest transaction that hides later commits from searches and the audit log";
            metrics.gauge("souk_horizon_age_seconds", help, move || seconds(replicas.horizon().age));
        }
    }

    pub(super) fn add_search(&self, metrics: &mut Metrics) {
        let read = |value: fn(&Search) -> i64| read(&self.parts.search, value);
        let help = "1 while the search index can't be written and searches show its last state, otherwise 0";
        metrics.gauge("souk_search_failing", help, read(|search| i64::from(search.failure().is_some())));
        let help = "For how long searches may have lacked changes; 0: they are current";
        let stale_for = read(|search| seconds(search.stale_for().unwrap_or_default()));
        metrics.gauge("souk_search_stale_seconds", help, stale_for);
        let help = "For how long the search index has lacked changes, however short";
        metrics.gauge(
            "souk_search_lag_seconds",
            help,
            read(|search| seconds(search.lag().unwrap_or_default())),
        );
        let help = "1 once the search index has caught up with the store, 0 while it is being built";
        metrics.gauge("souk_search_ready", help, read(|search| i64::from(search.load().level)));
        let help = "Searches under way, those that wait included; at most 1024";
        metrics.gauge("souk_searches", help, read(|search| count(search.load().searches)));
        let help = "Searches that occupy a thread";
        metrics.gauge("souk_searches_running", help, read(|search| count(search.load().running)));
        let help = "The threads that search";
        metrics.gauge("souk_searches_running_limit", help, read(|search| count(search.load().threads)));
        self.add_hits(metrics);
    }

    /// Adds the metrics of the cache of hits, and of what is read instead.
    fn add_hits(&self, metrics: &mut Metrics) {
        let read = |value: fn(HitCounts) -> u64| {
            let search = self.parts.search.clone();
            move || value(search.hit_counts())
        };
        let help = "Size of the cached items with which hits are completed; at most 67108864";
        let bytes = read(|hits| hits.cache_bytes);
        metrics.gauge("souk_hit_cache_bytes", help, move || i64::try_from(bytes()).unwrap_or(i64::MAX));
        let help = "Hits that were completed from the cache";
        metrics.counter("souk_hits_cached", help, read(|hits| hits.cached));
        let help = "Hits that were read from the store";
        metrics.counter("souk_hits_read", help, read(|hits| hits.read));
    }

    pub(super) fn add_clock(&self, metrics: &mut Metrics) {
        let steady = self.parts.steady.clone();
        let help = "1 while nothing is cleaned up because the clocks disagree, otherwise 0";
        metrics.gauge("souk_clock_paused", help, move || i64::from(steady.is_paused()));
        let steady = self.parts.steady.clone();
        let help = "By how much the wall clock last jumped; negative: back; 0: it never did";
        metrics.gauge("souk_clock_jump_seconds", help, move || steady.mark().jump_seconds);
    }
}

/// Adds the queues for the store's connections.
fn add_queues(queues: &StoreQueues, metrics: &mut Metrics) {
    let waiting = queues.reads.clone();
    let help = "Queries by key that wait for a connection of the store; at most 1024";
    metrics.gauge("souk_store_queued_reads", help, move || count(waiting()));
    let waiting = queues.reports.clone();
    let help = "Lists and sums that wait for a connection of the store; at most 1024";
    metrics.gauge("souk_store_queued_reports", help, move || count(waiting()));
    let waiting = queues.mailboxes.clone();
    let help = "Operations on mailboxes and rides that wait for a connection of the store; at most 1024";
    metrics.gauge("souk_store_queued_mailbox_operations", help, move || count(waiting()));
    if let Some(sessions) = queues.sessions.clone() {
        let help = "Database sessions in use for queries, mailboxes and rides; at most 12";
        metrics.gauge("souk_store_sessions", help, move || count(sessions()));
    }
}

/// Adds the metrics of the write-ahead log.
fn add_log(log: &WriteAheadLog, metrics: &mut Metrics) {
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

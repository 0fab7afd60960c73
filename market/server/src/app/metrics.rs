//! The market's metrics. `docs/operating.md` has a table of all of them, and a test compares the two.

mod delivery;
mod process;
mod store;

use std::{sync::Arc, time::Duration};

use super::App;
use crate::{config::LimitConfig, observe::Metrics, transport::ServerLoad};

impl App {
    /// Returns all metrics. They read the state of the components when they are scraped, so they are current, except what
    /// is read from the store: that is a few seconds old.
    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        self.add_expiries(&mut metrics);
        self.add_trust(&mut metrics);
        self.add_connections(&mut metrics);
        self.add_ledger(&mut metrics);
        self.add_streams(&mut metrics);
        delivery::add(&self.relay.handle(), &self.backlogs, &mut metrics);
        let callbacks = self.parts.callbacks.clone();
        let help = "Host names of callbacks that are being resolved; at most 8";
        metrics.gauge("souk_name_lookups", help, move || count(callbacks.lookups()));
        let suspended = self.parts.suspended.clone();
        metrics.gauge("souk_suspended_parties", "Parties that are shut out", move || {
            count(suspended.all().len())
        });
        let refusals = self.refusals.clone();
        metrics.counter("souk_refused_identities", "Handshakes and calls refused for who asked", move || {
            refusals.total()
        });
        self.add_store(&mut metrics);
        self.add_database(&mut metrics);
        self.add_clock(&mut metrics);
        self.add_search(&mut metrics);
        process::add(self.parts.activity.started(), &mut metrics);
        process::add_outputs(&self.outputs, &mut metrics);
        metrics.call_times(&self.times);
        metrics
    }

    fn add_trust(&self, metrics: &mut Metrics) {
        let (news, clock) = (self.parts.trust.clone(), self.parts.clock);
        let refused = news.clone();
        let help =
            "For how long there has been no news from the authority; 0: it is, or the market follows none";
        metrics.gauge("souk_trust_age_seconds", help, move || news.age_seconds(clock.now()));
        let help = "Trust bundles of the authority that were refused";
        metrics.counter("souk_trust_refused", help, move || refused.refused_bundles());
    }

    fn add_connections(&self, metrics: &mut Metrics) {
        let acceptor = self.acceptor.clone();
        metrics.gauge("souk_connections", "Open connections", move || count(acceptor.connections()));
        let most = count(self.config.limits.connections);
        metrics.gauge("souk_connections_limit", "The most connections that may be open", move || most);
        if let Some(admin) = &self.admin {
            let shares = admin.port.shares().clone();
            metrics.gauge("souk_admin_connections", "Open connections to the admin port", move || {
                count(shares.under_way())
            });
        }
        let acceptor = self.acceptor.clone();
        metrics.gauge("souk_handshakes", "TLS handshakes under way", move || count(acceptor.handshakes()));
        let most = count(self.config.limits.handshakes);
        metrics.gauge("souk_handshakes_limit", "The most TLS handshakes that may be under way", move || most);
    }

    fn add_ledger(&self, metrics: &mut Metrics) {
        let queued = self.lanes.queued();
        metrics.gauge("souk_ledger_queued_commands", "Commands that wait for the ledger", move || {
            count(queued())
        });
        let most = count(self.lanes.capacity());
        metrics.gauge(
            "souk_ledger_queue_limit",
            "The most commands that may wait for the ledger",
            move || most,
        );
        let has_failed = self.lanes.failure();
        metrics.gauge(
            "souk_ledger_failed",
            "1 once a lane of the ledger has failed, otherwise 0",
            move || i64::from(has_failed()),
        );
    }

    fn add_streams(&self, metrics: &mut Metrics) {
        let relay = self.relay.handle();
        metrics.gauge("souk_subscribers", "Open streams of mailboxes, tills included", move || {
            count(relay.subscribers())
        });
        let tills = self.parts.streams.tills.clone();
        metrics.gauge("souk_till_streams", "Open SyncInventory streams", move || count(tills.count()));
        let searches = self.parts.streams.searches.clone();
        metrics.gauge("souk_watched_searches", "Open WatchSearch streams", move || count(searches.count()));
        let watches = self.parts.watches.clone();
        metrics.gauge("souk_watched_queries", "Distinct queries of open WatchSearch streams", move || {
            count(watches.queries())
        });
        let watches = self.parts.watches.clone();
        let help = "Comparisons of these queries with changed items";
        metrics.counter("souk_watched_comparisons", help, move || watches.comparisons());
        let imports = self.parts.imports.clone();
        let help = "Batches of imports that wait for their party's rate or for the search index";
        metrics.gauge("souk_import_batches_waiting", help, move || count(imports.waiting()));
        let rides = self.parts.rides.clone();
        metrics.gauge("souk_ride_watchers", "Open WatchRide streams", move || count(rides.watchers()));
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

/// Adds the metrics of the server threads.
pub(super) fn add_server(load: &ServerLoad, limits: &LimitConfig, metrics: &mut Metrics) {
    let help = "Connections that wait because their address has as many TLS handshakes under way as it may";
    metrics.gauge("souk_handshakes_waiting", help, read(load, |load| count(load.handshakes_waiting())));
    let help = "Places for handshakes that addresses keep occupied because they have used up their rate";
    metrics.gauge("souk_handshakes_resting", help, read(load, |load| count(load.handshakes_resting())));
    let help = "Connections that wait for a server thread";
    metrics.gauge("souk_connections_queued", help, read(load, |load| count(load.connections_queued())));
    let help = "Connections closed before their handshake: too many were waiting, or they waited too long";
    metrics.counter("souk_connections_dropped", help, read(load, ServerLoad::connections_dropped));
    let help = "Calls under way whose response has not begun";
    metrics.gauge("souk_calls", help, read(load, |load| count(load.calls())));
    let help = "Connections that the market ended because of what their clients did";
    metrics.counter("souk_connections_ended", help, read(load, ServerLoad::connections_ended));
    let help = "Connections that were read more slowly because of their refused requests";
    metrics.counter("souk_connections_slowed", help, read(load, ServerLoad::connections_slowed));
    let help = "Open calls with a request stream";
    metrics.gauge("souk_request_streams", help, read(load, |load| count(load.request_streams())));
    let most = count(limits.calls_under_way);
    metrics.gauge("souk_calls_limit", "The most calls that may be under way", move || most);
    add_answers(load, metrics);
}

fn add_answers(load: &ServerLoad, metrics: &mut Metrics) {
    let help = "Open streams of calls, lasting ones included";
    metrics.gauge("souk_streams", help, read(load, |load| count(load.streams().0)));
    let help = "The most streams that may be open";
    metrics.gauge("souk_streams_limit", help, read(load, |load| count(load.streams().1)));
    let help = "Bytes of answers that clients have not taken yet";
    metrics.gauge("souk_unread_answer_bytes", help, read(load, |load| count(load.unread_bytes().0)));
    let help = "The most bytes of answers that clients may leave";
    metrics.gauge("souk_unread_answer_bytes_limit", help, read(load, |load| count(load.unread_bytes().1)));
    let help = "Streams that were reset because their client did not read";
    metrics.counter("souk_stalled_answers", help, read(load, ServerLoad::stalled_answers));
    let help = "Calls refused because their party left too much unread or too many streams open";
    metrics.counter("souk_unread_refusals", help, read(load, ServerLoad::refused_answers));
}

/// Returns a function that reads a value of a source of metrics.
fn read<S: Clone, T>(source: &S, value: fn(&S) -> T) -> impl Fn() -> T + use<S, T> {
    let source = source.clone();
    move || value(&source)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

//! What the market tells in figures.

use std::sync::Arc;

use super::App;
use crate::{
    observe::{Metrics, port::Health},
    server::Pulses,
};

impl App {
    /// All of them. What they read is shared with what they tell of, so that they are always true.
    pub(super) fn figures(&self) -> Metrics {
        let mut metrics = Metrics::default();
        self.tell_expiries(&mut metrics);
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
        metrics.call_times(&self.times);
        metrics
    }

    /// Whether the market lives, and whether it answers.
    pub(super) fn health(&self) -> impl FnOnce(Pulses) -> Health + use<> {
        let (has_failed, ledger) = (self.lanes.failure(), self.lanes.failure());
        let (search, closing) = (self.parts.search.clone(), self.parts.closing.clone());
        move |threads| Health {
            is_alive: Box::new(move || !has_failed() && threads.are_well()),
            is_ready: Box::new(move || !ledger() && search.load().level && !closing.is_cancelled()),
        }
    }

    fn tell_expiries(&self, metrics: &mut Metrics) {
        let present = Arc::clone(&self.rotator.present);
        metrics.gauge(
            "souk_soonest_expiry_timestamp_seconds",
            "When the first of certificate, authority and revocation list ends",
            move || present.load().expiries().soonest().unix_timestamp(),
        );
        let present = Arc::clone(&self.rotator.present);
        metrics.gauge(
            "souk_certificate_expiry_timestamp_seconds",
            "When the market's certificate ends",
            move || present.load().expiries().certificate.unix_timestamp(),
        );
        let present = Arc::clone(&self.rotator.present);
        metrics.gauge(
            "souk_authority_expiry_timestamp_seconds",
            "When the authority's certificate ends",
            move || present.load().expiries().authority.unix_timestamp(),
        );
        let present = Arc::clone(&self.rotator.present);
        metrics.gauge(
            "souk_revocation_list_expiry_timestamp_seconds",
            "When the revocation list should be replaced; 0: it does not say",
            move || present.load().expiries().revocation_list.map_or(0, |end| end.unix_timestamp()),
        );
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

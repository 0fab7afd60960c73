//! The market's liveness and readiness.

use souk_search::Search;
use souk_store::{HealthState, HorizonState};

use super::{App, replicas::StoreFreshness};
use crate::{
    clock::SteadyClock,
    observe::{checks::Check, port::Health},
    transport::Pulses,
};

impl App {
    /// Returns the liveness and readiness checks.
    pub(super) fn health(&self) -> impl FnOnce(Pulses) -> Health + use<> {
        let has_failed = self.lanes.failure();
        let checks = self.checks();
        move |threads| Health {
            is_alive: Box::new(move || !has_failed() && threads.are_well()),
            checks: Box::new(checks),
        }
    }

    /// Returns the readiness checks. The market is ready if its ledger works, its store acknowledges changes, a shared
    /// database can be reached, its index has caught up since the start, and it is not shutting down.
    fn checks(&self) -> impl Fn() -> Vec<Check> + Send + Sync + use<> {
        let (ledger, closing) = (self.lanes.failure(), self.parts.closing.clone());
        let (search, steady) = (self.parts.search.clone(), self.parts.steady.clone());
        let (freshness, store) = (self.freshness.clone(), self.store_health.clone());
        let replicas = self.replicas.clone();
        // Always all checks in the same order, so that two failures never hide each other.
        move || {
            let is_fresh = freshness.as_ref().is_none_or(StoreFreshness::is_fresh);
            let mut checks = vec![
                Check::that("ledger", !ledger(), "a lane has failed; restart the market"),
                Check::unless("store", store_problem(store.state())),
                Check::that("database", is_fresh, "it has not answered for 3 s"),
                Check::that("search", search.load().level, "the index is being brought up to date"),
                Check::that("shutdown", !closing.is_cancelled(), "the market is shutting down"),
                Check::notice("index", index_notice(&search)),
                Check::notice("clock", clock_notice(&steady)),
            ];
            if let Some(replicas) = &replicas {
                checks.push(Check::notice("horizon", horizon_notice(&replicas.horizon())));
            }
            checks
        }
    }
}

/// Returns why the store acknowledges nothing; `None` if it does.
fn store_problem(state: HealthState) -> Option<String> {
    match state {
        HealthState::Healthy => None,
        HealthState::Full => Some("the disk is full: changes are refused".to_owned()),
        HealthState::HeldUp { reason }
        | HealthState::Detached { reason }
        | HealthState::Failed { reason } => Some(reason),
    }
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

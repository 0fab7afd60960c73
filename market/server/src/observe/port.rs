//! The admin port: metrics and health checks over plain HTTP. It reveals nothing about parties, but should not be
//! open to the public network.

use std::{io, sync::Arc};

use arc_swap::ArcSwapOption;
use axum::{
    Router,
    extract::State,
    http::{
        HeaderValue, StatusCode,
        header::{CONNECTION, CONTENT_TYPE},
    },
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use souk_certs::acceptor::Sources;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    Metrics,
    admin_connections::{AdminListener, shares},
    checks::{self, Check},
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The health checks of the market.
pub struct Health {
    /// Liveness: if it returns false, the market should be restarted.
    pub is_alive: Box<dyn Fn() -> bool + Send + Sync>,
    /// Readiness: while one of the checks fails, calls should be routed to other markets.
    pub checks: Box<dyn Fn() -> Vec<Check> + Send + Sync>,
}

/// What the admin port shows. Clones share it.
#[derive(Clone)]
pub struct AdminPort(Arc<Shown>);

struct Shown {
    /// `None` until the market is open.
    market: ArcSwapOption<Admin>,
    /// The checks until then.
    opening: Box<dyn Fn() -> Vec<Check> + Send + Sync>,
    /// The shares of the addresses that connect.
    shares: Sources,
}

struct Admin {
    metrics: Metrics,
    health: Arc<Health>,
}

impl AdminPort {
    /// Creates the port of a market that is being opened: it is alive, and not ready for the reasons in the checks.
    pub fn opening(checks: impl Fn() -> Vec<Check> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shown { market: ArcSwapOption::empty(), opening: Box::new(checks), shares: shares() }))
    }

    /// Returns the open connections and those that wait, for metrics.
    pub fn shares(&self) -> &Sources {
        &self.0.shares
    }

    /// Shows the metrics and checks of the market, which is open now.
    pub fn opened(&self, metrics: Metrics, health: Arc<Health>) {
        self.0.market.store(Some(Arc::new(Admin { metrics, health })));
    }
}

/// Serves `/metrics`, `/livez` and `/readyz` until the market shuts down. A connection serves one request and ends after
/// ten seconds at the latest.
pub async fn serve(listener: TcpListener, port: AdminPort, closing: CancellationToken) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(text))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .layer(map_response(async |mut response: Response| {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }))
        .with_state(port.clone());
    let listener = AdminListener::new(listener, port.shares().clone());
    axum::serve(listener, router).with_graceful_shutdown(closing.cancelled_owned()).await
}

async fn alive(State(port): State<AdminPort>) -> (StatusCode, &'static str) {
    // A market that is being opened is alive: to start it again would not help.
    probe_response(port.0.market.load().as_deref().is_none_or(|admin| (admin.health.is_alive)()))
}

async fn ready(State(port): State<AdminPort>) -> (StatusCode, String) {
    let checks = match port.0.market.load().as_deref() {
        Some(admin) => (admin.health.checks)(),
        None => (port.0.opening)(),
    };
    readiness(&checks)
}

fn readiness(checks: &[Check]) -> (StatusCode, String) {
    let status = if checks::are_well(checks) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, checks::text(checks))
}

fn probe_response(is_well: bool) -> (StatusCode, &'static str) {
    if is_well { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not now\n") }
}

async fn text(State(port): State<AdminPort>) -> Response {
    let market = port.0.market.load();
    let Some(admin) = market.as_deref() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the market is not open yet\n").into_response();
    };
    match admin.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_lists_each_check_on_a_line() {
        let well = || Check::that("ledger", true, "it has failed");
        assert_eq!(readiness(&[well()]), (StatusCode::OK, "ledger: ok\n".to_owned()));
        let all = [well(), Check::that("store", false, "the disk is full")];
        let expected = "ledger: ok\nstore: the disk is full\n".to_owned();
        assert_eq!(readiness(&all), (StatusCode::SERVICE_UNAVAILABLE, expected));
    }
}

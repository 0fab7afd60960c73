//! The admin port: metrics and health checks over plain HTTP. It reveals nothing about parties, but should not be
//! open to the public network.

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The health checks of the market.
pub struct Health {
    /// Liveness: if it returns false, the market should be restarted.
    pub is_alive: Box<dyn Fn() -> bool + Send + Sync>,
    /// Readiness: while any check has a problem, calls should be routed to other markets.
    pub readiness: Box<dyn Fn() -> Vec<Check> + Send + Sync>,
}

/// One check of the readiness.
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// Why it is not ready, for operators; `None` if it is.
    pub problem: Option<String>,
}

impl Check {
    /// Returns a check that has a problem unless `is_well`.
    pub fn of(name: &'static str, is_well: bool, problem: &str) -> Self {
        Self { name, problem: (!is_well).then(|| problem.to_owned()) }
    }
}

struct Admin {
    metrics: Metrics,
    health: Arc<Health>,
}

/// Serves `/metrics`, `/livez` and `/readyz` until the market shuts down.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    health: Arc<Health>,
    closing: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(text))
        .route(
            "/livez",
            get(async |State(admin): State<Arc<Admin>>| probe_response((admin.health.is_alive)())),
        )
        .route("/readyz", get(async |State(admin): State<Arc<Admin>>| checks(&(admin.health.readiness)())))
        .with_state(Arc::new(Admin { metrics, health }));
    axum::serve(listener, router).with_graceful_shutdown(closing.cancelled_owned()).await
}

fn probe_response(is_well: bool) -> (StatusCode, &'static str) {
    if is_well { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not now\n") }
}

/// Formats each check as a line `name: ok` or `name: reason`.
fn checks(checks: &[Check]) -> (StatusCode, String) {
    let is_ready = checks.iter().all(|check| check.problem.is_none());
    let line = |check: &Check| format!("{}: {}\n", check.name, check.problem.as_deref().unwrap_or("ok"));
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, checks.iter().map(line).collect())
}

async fn text(State(admin): State<Arc<Admin>>) -> Response {
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
        let well = Check::of("ledger", true, "it has failed");
        assert_eq!(checks(&[well]), (StatusCode::OK, "ledger: ok\n".to_owned()));
        let all = [Check::of("ledger", true, "it has failed"), Check::of("store", false, "the disk is full")];
        let expected = "ledger: ok\nstore: the disk is full\n".to_owned();
        assert_eq!(checks(&all), (StatusCode::SERVICE_UNAVAILABLE, expected));
    }
}

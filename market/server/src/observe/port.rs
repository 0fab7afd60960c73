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
    /// Readiness: while it returns false, calls should be routed to other markets.
    pub is_ready: Box<dyn Fn() -> bool + Send + Sync>,
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
        .route(
            "/readyz",
            get(async |State(admin): State<Arc<Admin>>| probe_response((admin.health.is_ready)())),
        )
        .with_state(Arc::new(Admin { metrics, health }));
    axum::serve(listener, router).with_graceful_shutdown(closing.cancelled_owned()).await
}

fn probe_response(is_well: bool) -> (StatusCode, &'static str) {
    if is_well { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not now\n") }
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

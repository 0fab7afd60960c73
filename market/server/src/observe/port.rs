//! The admin port: figures over plain HTTP, for the machine that watches the market. It tells nothing about
//! parties, but keep it off the open network all the same.

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

/// How the market is, for whoever starts and watches it.
pub struct Health {
    /// Whether it should go on; if not, it is to be started again.
    pub is_alive: Box<dyn Fn() -> bool + Send + Sync>,
    /// Whether calls are answered as they should be: if not, others are to be sent them for now.
    pub is_ready: Box<dyn Fn() -> bool + Send + Sync>,
}

struct Admin {
    metrics: Metrics,
    health: Arc<Health>,
}

/// Serves `/metrics`, `/livez` and `/readyz` until the market closes.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    health: Arc<Health>,
    closing: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(text))
        .route("/livez", get(async |State(admin): State<Arc<Admin>>| told((admin.health.is_alive)())))
        .route("/readyz", get(async |State(admin): State<Arc<Admin>>| told((admin.health.is_ready)())))
        .with_state(Arc::new(Admin { metrics, health }));
    axum::serve(listener, router).with_graceful_shutdown(closing.cancelled_owned()).await
}

fn told(is_well: bool) -> (StatusCode, &'static str) {
    if is_well { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not now\n") }
}

async fn text(State(admin): State<Arc<Admin>>) -> Response {
    match admin.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

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

/// Serves until the market closes.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    closing: CancellationToken,
) -> io::Result<()> {
    let router = Router::new().route("/metrics", get(text)).with_state(metrics);
    axum::serve(listener, router).with_graceful_shutdown(closing.cancelled_owned()).await
}

async fn text(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

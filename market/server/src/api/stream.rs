//! Functions shared by the calls that receive a stream.

use std::time::Duration;

use souk_proto::Reason;
use tokio::time::timeout;
use tonic::Status;

use crate::wire;

/// Runs a call in a separate task, so that it completes even if its caller disconnects.
pub(super) async fn in_its_own_task<T: Send + 'static>(
    call: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    let ended = tokio::spawn(call).await;
    ended.unwrap_or_else(|error| Err(wire::internal(&error.to_string())))
}

/// Waits for a message with a timeout, so that a silent sender does not keep the call open.
pub(super) async fn within<T>(
    limit: Duration,
    what: &str,
    message: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let waited = timeout(limit, message).await;
    let message = || format!("no {what} came for {} seconds", limit.as_secs());
    waited.unwrap_or_else(|_| Err(Status::deadline_exceeded(message())))
}

/// Returns the status for a message at an unexpected point of a stream.
pub(super) fn out_of_place(problem: &str) -> Status {
    wire::status(Reason::InvalidField, problem, [])
}

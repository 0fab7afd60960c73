//! What the calls have in common that take a stream.

use std::time::Duration;

use souk_proto::Reason;
use tokio::time::timeout;
use tonic::Status;

use crate::wire;

/// Carries a call through whether or not its caller waits for the end.
pub(super) async fn in_its_own_task<T: Send + 'static>(
    call: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    let ended = tokio::spawn(call).await;
    ended.unwrap_or_else(|error| Err(wire::internal(&error.to_string())))
}

/// Waits for a message. A sender that stops for ever does not keep the call open.
pub(super) async fn within<T>(
    limit: Duration,
    what: &str,
    message: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let waited = timeout(limit, message).await;
    let told = || format!("no {what} came for {} seconds", limit.as_secs());
    waited.unwrap_or_else(|_| Err(Status::deadline_exceeded(told())))
}

/// A message of a stream that has no business where it came.
pub(super) fn out_of_place(problem: &str) -> Status {
    wire::status(Reason::InvalidField, problem, [])
}

//! The statuses of refused calls. Each has a reason of the contract's table.

use std::collections::HashMap;
use std::time::Duration;

use souk_proto::{Reason, metadata, reason::DOMAIN};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

/// How long a caller should wait that is refused because too much is under way.
const BUSY: Duration = Duration::from_secs(1);

/// Creates a status for a reason.
pub(super) fn refused(reason: Reason, message: impl Into<String>) -> Status {
    Status::with_error_details(reason.code(), message, details(reason, HashMap::new()))
}

/// Creates the status of a call with the program of another role.
pub(super) fn other_role(expected: &str) -> Status {
    let message = format!("this invitation is for a {expected}; it is not used up");
    let metadata = HashMap::from([("role".to_owned(), expected.to_owned())]);
    let reason = Reason::InvitationRole;
    Status::with_error_details(reason.code(), message, details(reason, metadata))
}

/// Creates a status for a condition that passes, with the time after which to try again.
pub(super) fn try_again(reason: Reason, message: &str, after: Duration) -> Status {
    let mut details = details(reason, HashMap::new());
    details.set_retry_info(Some(after));
    let mut status = Status::with_error_details(reason.code(), message, details);
    metadata::push_back(&mut status, after);
    status
}

/// Creates the status of a call for which there is no room now.
pub(super) fn overloaded() -> Status {
    try_again(Reason::Overloaded, "the authority has more to do than it can; try again in a moment", BUSY)
}

/// Creates the status of a call during which another process had the folder for too long.
pub(super) fn held() -> Status {
    try_again(Reason::Unavailable, "the authority's folder is in use; try again in a moment", BUSY)
}

/// Creates a status for a failure whose cause is for the log alone.
pub(super) fn internal(cause: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(error = cause, "a call failed");
    refused(Reason::Internal, "the authority failed to carry out the call; its log has the details")
}

fn details(reason: Reason, metadata: HashMap<String, String>) -> ErrorDetails {
    ErrorDetails::with_error_info(reason.as_str(), DOMAIN, metadata)
}

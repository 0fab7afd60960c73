//! Names of metadata keys (gRPC headers) in requests and responses.

use std::time::Duration;

use tonic::Status;

/// The caller's UUID, in canonical lower case. It must equal the UUID in the caller's certificate.
pub const PARTY_ID: &str = "x-party-id";

/// The access token, as `Bearer <JWT>` (RFC 6750). The word may have any case (RFC 9110, section 11.1).
pub const AUTHORIZATION: &str = "authorization";

/// Prefix of the value of [`AUTHORIZATION`]; the token follows.
pub const BEARER_PREFIX: &str = "Bearer ";

/// Set, to any value, by a caller that may have made changes at another address of the same market a moment
/// ago. A search with it waits until the index contains them. Without it, a search is guaranteed to show only
/// what the caller changed at the same address; everything else appears within a second.
pub const WAS_ELSEWHERE: &str = "x-was-elsewhere";

/// Identifies a call in the market's log. The caller may choose it; otherwise the market assigns it and
/// returns it in the response.
pub const REQUEST_ID: &str = "x-request-id";

/// Response metadata with the time that the market took (W3C Server Timing): [`MARKET_TIME`] followed by
/// milliseconds.
pub const SERVER_TIMING: &str = "server-timing";

/// Response metadata that says after how many milliseconds a gRPC library should repeat a call by itself (gRFC A6).
pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Prefix of the value of [`SERVER_TIMING`]; the duration in milliseconds follows.
pub const MARKET_TIME: &str = "market;dur=";

/// Adds [`RETRY_PUSHBACK`] to a status. Every status with `RetryInfo` should have it.
pub fn push_back(status: &mut Status, after: Duration) {
    // Rounded up: earlier than asked for is too early.
    let millis = after.as_micros().div_ceil(1_000);
    status.metadata_mut().insert(RETRY_PUSHBACK, u64::try_from(millis).unwrap_or(u64::MAX).into());
}

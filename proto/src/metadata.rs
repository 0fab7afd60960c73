//! Names of the metadata (gRPC headers) of calls and answers.

/// The caller's UUID, canonical lower case; must equal the one in the caller's certificate.
pub const PARTY_ID: &str = "x-party-id";

/// The access token, as `Bearer <JWT>` (RFC 6750).
pub const AUTHORIZATION: &str = "authorization";

/// Starts the value of [`AUTHORIZATION`].
pub const BEARER_PREFIX: &str = "Bearer ";

/// The caller may just have been answered at another address of the same market, so that its searches must show what it
/// changed there. Any value. Without it a search shows what was changed at the same address, and all else within a second.
pub const WAS_ELSEWHERE: &str = "x-was-elsewhere";

/// By which a market's log knows a call: chosen by the caller, or given by the market in its answer.
pub const REQUEST_ID: &str = "x-request-id";

/// In an answer: how long the market took (W3C Server Timing), as [`MARKET_TIME`] and milliseconds.
pub const SERVER_TIMING: &str = "server-timing";

/// Starts the value of [`SERVER_TIMING`].
pub const MARKET_TIME: &str = "market;dur=";

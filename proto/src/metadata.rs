//! Names of the request metadata (gRPC headers) that carry identity.

/// The caller's UUID, canonical lower case; must equal the one in the caller's certificate.
pub const PARTY_ID: &str = "x-party-id";

/// The access token, as `Bearer <JWT>` (RFC 6750).
pub const AUTHORIZATION: &str = "authorization";

/// Starts the value of [`AUTHORIZATION`].
pub const BEARER_PREFIX: &str = "Bearer ";

//! The limits of the enrolment service. Most of its callers have no certificate, so anybody can try to use it up.

use std::time::Duration;

use souk_certs::acceptor::AcceptorLimits;

/// Maximum number of TLS handshakes under way. A quarter of them is kept for addresses that have shown a certificate before.
pub const HANDSHAKES: usize = 128;
/// Maximum number of TLS handshakes under way from one address (IPv6: one /64).
pub const HANDSHAKES_OF_ADDRESS: usize = 4;
/// Sustained rate of handshakes from one address.
pub const HANDSHAKES_PER_SECOND_OF_ADDRESS: u32 = 20;
/// Maximum duration of a handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of connections that wait for their handshake.
pub const WAITING: usize = 512;
/// Maximum number of open connections.
pub const CONNECTIONS: usize = 1_024;
/// Maximum number of open connections that show the same certificate.
pub const CONNECTIONS_OF_CERTIFICATE: usize = 8;
/// How long a connection may stay open whose certificate is not a market's. A market keeps its stream of trust bundles open.
pub const VISIT_TIME: Duration = Duration::from_secs(5 * 60);
/// How long a connection lasts after its certificate was revoked, so that a call under way gets the reason.
pub const REVOKED_TIME: Duration = Duration::from_secs(1);
/// How long a connection without a certificate may stay open: two calls of the longest duration.
pub const STRANGERS_TIME: Duration = Duration::from_secs(30);
/// Maximum number of open connections without a certificate. Half of all is thus left to those that have one.
pub const STRANGERS: usize = CONNECTIONS / 2;
/// Maximum number of open connections of one address without a certificate (IPv6: of one /64).
pub const STRANGERS_OF_ADDRESS: usize = 16;

/// Maximum size of a request in bytes. A signing request has about 250.
pub const MESSAGE_BYTES: usize = 16 * 1024;
/// Maximum number of calls under way on one connection.
pub const CALLS_OF_CONNECTION: u32 = 8;
/// Maximum duration of a call that is no stream, including the wait for the folder's lock.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum number of calls that use the folder at the same time. They take turns for changes.
pub const WORKERS: usize = 8;
/// How many of the workers callers without a certificate get at most, so that they can't hold up renewals.
pub const WORKERS_OF_STRANGERS: usize = 6;
/// Maximum number of calls that use the folder or wait for a worker. Further ones are refused. A quarter is kept for
/// addresses that have shown a certificate before.
pub const WAITING_CALLS: usize = 256;
/// Maximum number of these calls from one address (IPv6: one /64).
pub const CALLS_OF_ADDRESS: usize = 32;
/// Maximum number of streams of trust bundles.
pub const WATCHERS: usize = 256;
/// Maximum size of an answer with trust bundles, in bytes, unless its first bundle is larger.
pub const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of superseded certificates whose first attempt at a renewal is written to the log at once.
pub const CONFLICTS: usize = 1_024;
/// Maximum number of refusals that are counted apart until they are written to the log.
pub const REFUSALS: usize = 1_024;
/// How often refusals and locks are written to the log.
pub const REFUSALS_WRITTEN: Duration = Duration::from_secs(1);
/// How often the service looks whether its certificate or its revocation list should be signed again.
pub const UPKEEP: Duration = Duration::from_secs(60 * 60);
/// After which time a revocation list is signed again. It is current for 30 days: so long may the authority be away.
pub const LIST_REFRESHED: time::Duration = time::Duration::DAY;
/// How long a stopping service waits for calls under way.
pub const STOPPING: Duration = Duration::from_secs(5);

/// Returns the limits of handshakes.
pub(super) fn handshakes() -> AcceptorLimits {
    AcceptorLimits {
        handshakes: HANDSHAKES,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        handshakes_of_address: HANDSHAKES_OF_ADDRESS,
        handshakes_per_second_of_address: HANDSHAKES_PER_SECOND_OF_ADDRESS,
        waiting: WAITING,
        connections: CONNECTIONS,
        connections_of_party: CONNECTIONS,
    }
}

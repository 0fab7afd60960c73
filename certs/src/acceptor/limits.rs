//! The resource limits of an acceptor, and their defaults.

use std::time::Duration;

/// Default for [`AcceptorLimits::handshakes`]. Further connections wait for a permit.
pub const HANDSHAKES: usize = 256;

/// Default for [`AcceptorLimits::handshake_timeout`], after which the connection is closed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Default for [`AcceptorLimits::connections`]. Further ones fail with [`AcceptError::Full`](super::AcceptError::Full).
pub const CONNECTIONS: usize = 16_384;

/// Default for [`AcceptorLimits::connections_of_party`]. Further ones fail with
/// [`AcceptError::TooManyOfOne`](super::AcceptError::TooManyOfOne).
pub const CONNECTIONS_OF_PARTY: usize = 64;

/// Default for [`AcceptorLimits::handshakes_of_address`]. Further connections of the address wait for their turn.
pub const HANDSHAKES_OF_ADDRESS: usize = 64;

/// Default for [`AcceptorLimits::handshakes_per_second_of_address`].
pub const HANDSHAKES_PER_SECOND_OF_ADDRESS: u32 = 200;

/// Default for [`AcceptorLimits::waiting`]. Further connections are closed.
pub const WAITING: usize = 4_096;

/// Resource limits of an [`Acceptor`](super::Acceptor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptorLimits {
    /// Maximum number of concurrent handshakes, shared by all clones of the acceptor. 0 is treated as 1.
    pub handshakes: usize,
    /// Maximum time from accepting the TCP connection to the end of the handshake, including the wait for a
    /// [`HandshakeSlot`](super::HandshakeSlot).
    pub handshake_timeout: Duration,
    /// Maximum number of concurrent handshakes from one address (IPv6: one /64).
    pub handshakes_of_address: usize,
    /// Sustained rate of handshakes from one address, of which failed ones count as [`FAILED_COST`](super::FAILED_COST); see
    /// [`Sources`](super::Sources).
    pub handshakes_per_second_of_address: u32,
    /// Maximum number of connections that wait for their handshake, each of which holds a file descriptor. A quarter of
    /// them may be from one address.
    pub waiting: usize,
    /// Maximum number of open connections of all parties together.
    pub connections: usize,
    /// Maximum number of open connections of a single party, so that none can use up `connections`.
    pub connections_of_party: usize,
}

impl Default for AcceptorLimits {
    fn default() -> Self {
        AcceptorLimits {
            handshakes: HANDSHAKES,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            handshakes_of_address: HANDSHAKES_OF_ADDRESS,
            handshakes_per_second_of_address: HANDSHAKES_PER_SECOND_OF_ADDRESS,
            waiting: WAITING,
            connections: CONNECTIONS,
            connections_of_party: CONNECTIONS_OF_PARTY,
        }
    }
}

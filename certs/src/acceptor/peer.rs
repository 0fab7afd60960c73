//! What the handlers of requests know about the peer of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::identity::PeerCertificate;

/// The peer of a connection. tonic adds it to the extensions of every request on that connection.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The address that the connection came from.
    pub address: SocketAddr,
    /// The peer's verified leaf certificate, parsed once at the handshake and shared by all requests.
    pub certificate: Arc<PeerCertificate>,
}

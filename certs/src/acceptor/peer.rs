//! Who is at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::identity::PeerCertificate;

/// Who is at the other end. tonic puts it into the extensions of every request of the connection.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The address that the connection came from.
    pub address: SocketAddr,
    /// The certificate that it showed, parsed once.
    pub certificate: Arc<PeerCertificate>,
}

//! What a handler knows of its caller.

use std::{net::SocketAddr, sync::Arc};

use souk_certs::identity::PeerCertificate;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::{
    domain::{PartyId, Role, Timestamp},
    wire,
};

/// A caller whom the guard has let pass.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The party that the certificate names.
    pub party: PartyId,
    /// Its role, by the certificate.
    pub role: Role,
    /// The certificate of the connection.
    pub certificate: Arc<PeerCertificate>,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// The token of the call; `None` where the service asks for none.
    pub token: Option<TokenInfo>,
}

/// What is known of a token, without the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Claim `jti`.
    pub id: Uuid,
    /// Claim `iat`.
    pub issued_at: Timestamp,
    /// Claim `exp`.
    pub expires_at: Timestamp,
}

impl Caller {
    /// The caller of a request. A request that no guard has seen is refused.
    pub fn of<T>(request: &Request<T>) -> Result<&Self, Status> {
        request.extensions().get().ok_or_else(|| wire::internal("a service runs without its guard"))
    }
}

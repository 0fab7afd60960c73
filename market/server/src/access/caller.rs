//! What a handler knows of its caller.

use std::{net::SocketAddr, sync::Arc};

use souk_certs::identity::{self, PeerCertificate};
use souk_domain::{Origin, PartyId, Role, Timestamp};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::wire;

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
    /// Whether it may just have changed something at another market on the same store.
    pub was_elsewhere: bool,
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

/// An operator whom the guard has let pass.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// The UUID in the operator's certificate.
    pub id: PartyId,
    /// Where the connection comes from.
    pub peer: SocketAddr,
}

impl Operator {
    /// The operator that sent a request. A request that no guard has seen is refused.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let found = request.extensions().get().copied();
        found.ok_or_else(|| wire::internal("a service runs without its guard"))
    }

    /// For the audit log.
    pub fn origin(&self) -> Origin {
        Origin { role: identity::Role::Operator.as_str(), address: Some(self.peer.ip()) }
    }
}

impl Caller {
    /// For the audit log.
    pub fn origin(&self) -> Origin {
        Origin { role: self.role.as_str(), address: Some(self.peer.ip()) }
    }

    /// The caller of a request. A request that no guard has seen is refused.
    pub fn of<T>(request: &Request<T>) -> Result<&Self, Status> {
        request.extensions().get().ok_or_else(|| wire::internal("a service runs without its guard"))
    }
}

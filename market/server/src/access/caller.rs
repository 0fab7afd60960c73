//! The authenticated caller, as handlers see it.

use std::{net::SocketAddr, sync::Arc};

use souk_certs::identity::{self, PeerCertificate};
use souk_domain::{Origin, PartyId, Role, Timestamp};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::wire;

/// A seller or buyer admitted by the guard.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The party named in the certificate.
    pub party: PartyId,
    /// The role named in the certificate.
    pub role: Role,
    /// The client certificate of the connection.
    pub certificate: Arc<PeerCertificate>,
    /// The source address of the connection.
    pub peer: SocketAddr,
    /// The token of the call. `None` if the service does not require one.
    pub token: Option<TokenInfo>,
    /// Whether the caller may have made changes at another market on the same store a moment ago.
    pub was_elsewhere: bool,
}

/// The facts about a token, without the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// The token's id (claim `jti`).
    pub id: Uuid,
    /// When the token was issued (claim `iat`).
    pub issued_at: Timestamp,
    /// When the token expires (claim `exp`).
    pub expires_at: Timestamp,
}

/// An operator admitted by the guard.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// The UUID in the operator's certificate.
    pub id: PartyId,
    /// The source address of the connection.
    pub peer: SocketAddr,
}

impl Operator {
    /// Returns the operator that sent a request. Fails with INTERNAL if no guard has checked the request, so that a
    /// service registered without a guard is closed rather than open.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let found = request.extensions().get().copied();
        found.ok_or_else(|| wire::internal("a service runs without its guard"))
    }

    /// Returns who made the call and from where, for the audit log.
    pub fn origin(&self) -> Origin {
        Origin { role: identity::Role::Operator.as_str(), address: Some(self.peer.ip()) }
    }
}

impl Caller {
    /// Returns who made the call and from where, for the audit log.
    pub fn origin(&self) -> Origin {
        Origin { role: self.role.as_str(), address: Some(self.peer.ip()) }
    }

    /// Returns the caller of a request. Fails with INTERNAL if no guard has checked the request.
    pub fn of<T>(request: &Request<T>) -> Result<&Self, Status> {
        request.extensions().get().ok_or_else(|| wire::internal("a service runs without its guard"))
    }
}

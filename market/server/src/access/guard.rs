//! The guard: a tonic interceptor in front of every service.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use souk_certs::identity;
use souk_domain::{PartyId, Role, Timestamp};
use souk_proto::{
    Reason,
    metadata::{self, BEARER_PREFIX},
};
use tonic::{Request, Status, service::Interceptor};

use super::{
    Access, Caller, KnownPeer, Operator, TokenInfo, VerifiedToken,
    token::{TokenFault, token_print},
};
use crate::{audit, wire};

/// Maximum length of a token in bytes. Longer ones are rejected before they are hashed or parsed. The market's own stay
/// below it even with a trust domain of the maximum length, which occurs in two claims.
const MAX_TOKEN_BYTES: usize = 2_048;

const PARTY_ID: HeaderName = HeaderName::from_static(metadata::PARTY_ID);
const AUTHORIZATION: HeaderName = HeaderName::from_static(metadata::AUTHORIZATION);
const WAS_ELSEWHERE: HeaderName = HeaderName::from_static(metadata::WAS_ELSEWHERE);

/// The callers that a service admits.
#[derive(Clone, Copy, Debug)]
pub enum Admission {
    /// Any valid certificate, without `x-party-id` or token: health and reflection, which reveal nothing about
    /// parties.
    Connection,
    /// A seller's or buyer's certificate and `x-party-id`, without a token.
    Certificate,
    /// A certificate, `x-party-id`, and a token of one of these roles.
    Token(&'static [Role]),
    /// An operator's certificate and `x-party-id`, without a token.
    Operator,
}

enum Admitted {
    Anybody,
    Caller(Caller),
    Operator(Operator),
}

/// Checks the calls of one service.
#[derive(Clone)]
pub struct Guard {
    access: Arc<Access>,
    admission: Admission,
}

impl Guard {
    /// Creates the guard of a service that admits these callers.
    pub fn new(access: Arc<Access>, admission: Admission) -> Self {
        Self { access, admission }
    }

    fn admit_anybody(&self, request: &Request<()>) -> Result<(), Status> {
        self.check_certificate(request).map(|_| ())
    }

    /// Checks in the order documented in [`access`](super): cheap checks before expensive ones.
    fn admit(&self, request: &Request<()>, roles: Option<&[Role]>) -> Result<Caller, Status> {
        let (peer, now) = self.check_certificate(request)?;
        let role = role_of(peer).ok_or_else(certificate_required)?;
        let party = party_of(peer)?;
        check_party_id(request.metadata().as_ref(), peer)?;
        // Before the token: a suspended party can no longer fetch one, and should learn why.
        if self.access.suspended.contains(party) {
            return Err(wire::suspended());
        }
        let token = match roles {
            None => None,
            Some(roles) => {
                let info = self.check_token(request.metadata().as_ref(), peer, now)?;
                // Last: a caller without a valid token learns nothing about the roles of a service.
                if !roles.contains(&role) {
                    return Err(role_denied(role.as_str()));
                }
                Some(info)
            }
        };
        let certificate = Arc::clone(&peer.certificate);
        // Not verified, and need not be: a false claim only makes the caller itself wait longer.
        let was_elsewhere = request.metadata().as_ref().contains_key(WAS_ELSEWHERE);
        Ok(Caller { party, role, certificate, peer: peer.address, token, was_elsewhere })
    }

    fn admit_operator(&self, request: &Request<()>) -> Result<Operator, Status> {
        let (peer, _) = self.check_certificate(request)?;
        // Not checked for a suspension: operators have no account.
        let role = peer.certificate.identity().role();
        let id = party_of(peer)?;
        if role != identity::Role::Operator {
            return Err(role_denied(role.as_str()));
        }
        check_party_id(request.metadata().as_ref(), peer)?;
        Ok(Operator { id, peer: peer.address })
    }

    /// Records a rejected call in the audit log.
    fn note(&self, request: &Request<()>, status: &Status) {
        let Some(reason) = Reason::of(status) else { return };
        // From the certificate: the metadata of a rejected call may be forged, and would put the blame on another.
        let peer = request.extensions().get::<KnownPeer>();
        let who = peer.map(|peer| audit::name(peer.certificate.identity()));
        self.access.refusals.add(who, peer.map(|peer| peer.address.ip()), reason.as_str());
    }

    /// Checks expiry and revocation at every call, because a connection may outlive its certificate. That the
    /// authority signed the certificate was verified in the handshake.
    fn check_certificate<'a>(&self, request: &'a Request<()>) -> Result<(&'a KnownPeer, Timestamp), Status> {
        let peer = request.extensions().get::<KnownPeer>().ok_or_else(certificate_required)?;
        // Issues certificates and never calls a market, so its certificate was stolen.
        if peer.certificate.identity() == identity::Identity::Authority {
            return Err(certificate_required());
        }
        let now = self.access.clock.now();
        // Only the end: the handshake has checked the beginning, and time goes on.
        if now > peer.not_after() {
            return Err(wire::status(
                Reason::CertificateExpired,
                "your certificate has expired; renew it and connect again",
                [],
            ));
        }
        if self.access.revoked.load().contains(peer.certificate.serial()) {
            return Err(wire::status(
                Reason::CertificateRevoked,
                "your certificate was revoked; ask the operator for a new one",
                [],
            ));
        }
        Ok((peer, now))
    }

    fn check_token(
        &self,
        metadata: &HeaderMap,
        peer: &KnownPeer,
        now: Timestamp,
    ) -> Result<TokenInfo, Status> {
        let authorization = only(metadata, &AUTHORIZATION).ok_or_else(token_required)?;
        // Before the token is verified: if the keys are replaced meanwhile, the result is remembered as one of the old keys.
        let generation = self.access.tokens.generation();
        // What is remembered spares the signature check. Expiry and epoch depend on the time of the call, so they are
        // checked below in any case.
        let verified = match peer.recall(authorization.as_bytes(), generation) {
            Some(verified) => verified,
            None => {
                let verified = self.verify(bearer(authorization)?, peer, generation)?;
                peer.remember(authorization.as_bytes(), generation, verified);
                verified
            }
        };
        verified.is_good_at(now, self.access.epochs.current(verified.party)).map_err(refused)?;
        Ok(verified.info)
    }

    /// Verifies a token, unless another connection with the same certificate has done that.
    fn verify(&self, token: &str, peer: &KnownPeer, generation: u64) -> Result<VerifiedToken, Status> {
        let print = token_print(token, &peer.certificate, generation);
        if let Some(verified) = self.access.verified.get(&print) {
            return Ok(verified);
        }
        let verified = self.access.tokens.verify(token, &peer.certificate).map_err(refused)?;
        // Only successes are cached: forged tokens, of which a caller can send any number, would evict them.
        self.access.verified.insert(print, verified);
        Ok(verified)
    }
}

impl Interceptor for Guard {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let admitted = match self.admission {
            Admission::Connection => self.admit_anybody(&request).map(|()| Admitted::Anybody),
            Admission::Certificate => self.admit(&request, None).map(Admitted::Caller),
            Admission::Token(roles) => self.admit(&request, Some(roles)).map(Admitted::Caller),
            Admission::Operator => self.admit_operator(&request).map(Admitted::Operator),
        };
        match admitted.inspect_err(|status| self.note(&request, status))? {
            Admitted::Anybody => false,
            Admitted::Caller(caller) => request.extensions_mut().insert(caller).is_some(),
            Admitted::Operator(operator) => request.extensions_mut().insert(operator).is_some(),
        };
        Ok(request)
    }
}

/// Returns the peer's role, or `None` for those that have no account.
fn role_of(peer: &KnownPeer) -> Option<Role> {
    match peer.certificate.identity().role() {
        identity::Role::Seller => Some(Role::Seller),
        identity::Role::Buyer => Some(Role::Buyer),
        identity::Role::Market | identity::Role::Operator | identity::Role::Authority => None,
    }
}

fn party_of(peer: &KnownPeer) -> Result<PartyId, Status> {
    peer.certificate.identity().uuid().map(PartyId).ok_or_else(certificate_required)
}

/// Returns the value of a header that occurs exactly once. `HeaderMap::get` returns the first of several values, so it would
/// overlook a second one.
fn only<'a>(metadata: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = metadata.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Checks that there is exactly one `x-party-id`, in canonical form and equal to the certificate's UUID.
fn check_party_id(metadata: &HeaderMap, peer: &KnownPeer) -> Result<(), Status> {
    if only(metadata, &PARTY_ID).is_some_and(|value| peer.is_party_id(value.as_bytes())) {
        return Ok(());
    }
    Err(wire::status(
        Reason::PartyIdInvalid,
        "x-party-id must be there once and be the UUID of your certificate in lower case",
        [],
    ))
}

/// Returns the token in an `authorization`.
pub(super) fn bearer(authorization: &HeaderValue) -> Result<&str, Status> {
    let token = authorization.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_at_checked(BEARER_PREFIX.len())?;
        // The scheme is case-insensitive, the token is not (RFC 9110, section 11.1).
        scheme.eq_ignore_ascii_case(BEARER_PREFIX).then_some(token)
    });
    // Bounded before it is hashed or parsed.
    token.filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES).ok_or_else(token_required)
}

fn token_required() -> Status {
    wire::status(
        Reason::TokenRequired,
        "authorization must be there once, as `Bearer` and a token from IssueToken",
        [],
    )
}

/// Maps a fault to a status that reveals no more than the caller needs. The cause is in the market's log.
fn refused(fault: TokenFault) -> Status {
    tracing::debug!(%fault, "token rejected");
    match fault {
        TokenFault::Expired => {
            wire::status(Reason::TokenExpired, "your token has expired; fetch a new one with IssueToken", [])
        }
        _ => wire::status(
            Reason::TokenInvalid,
            "your token is not good for this certificate; fetch a new one with IssueToken",
            [],
        ),
    }
}

fn certificate_required() -> Status {
    wire::status(
        Reason::CertificateRequired,
        "this service is for sellers and buyers; connect with a seller's or a buyer's certificate",
        [],
    )
}

fn role_denied(role: &str) -> Status {
    wire::status(Reason::RoleDenied, format!("this service is not for a {role}"), [("role", role.to_owned())])
}

//! The calls to the authority that get a certificate: the first one with an invitation, and the next ones with the
//! certificate before.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use souk_certs::client::{anonymous_config, client_config};
use souk_certs::connector::{
    CONNECT_TIMEOUT, ConnectOptions, Dial, DialError, DialStep, Impostor, connect_once, tls_error,
};
use souk_certs::credentials::Credentials;
use souk_certs::identity::{Identity, PeerCertificate, Role, TrustDomain};
use souk_certs::{IssuedError, TlsError, check_issued};
use souk_proto::v1::{self, enrolment_service_client::EnrolmentServiceClient};
use thiserror::Error;
use time::OffsetDateTime;
use tonic::Status;
use tonic::transport::Channel;

use crate::code::InvitationCode;
use crate::key::{KeyError, PartyKey};
use crate::verifier::{NotTheAuthority, PinnedVerifier, is_about_time};

/// Maximum duration of a call, including the authority's wait for its folder, of at most 10 s.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Maximum size of an answer: a certificate and a trust bundle.
const MAX_ANSWER_BYTES: usize = 5 * 1024 * 1024;

/// What a newcomer gets for an invitation.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// What the certificate says.
    pub peer: PeerCertificate,
    /// The authority's root, whose hash the code contains.
    pub root: CertificateDer<'static>,
    /// The name that the authority knows the party by.
    pub name: String,
    /// The newest trust bundle. Nothing of it has been verified.
    pub trust: v1::SignedTrustBundle,
    /// Whether the authority ends with the demonstration that it belongs to.
    pub ephemeral: bool,
}

/// What a renewal yields. Its certificate has not been verified, because it may be signed by a root that only the trust
/// bundle introduces: take the bundle first, then call [`check_renewed`].
#[derive(Clone, Debug)]
pub struct Renewed {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The newest trust bundle.
    pub trust: v1::SignedTrustBundle,
}

/// Redeems an invitation for a certificate of this key. May be repeated with the same key, for 15 minutes.
///
/// The secret is sent only after the handshake has proved that the server is the authority of the code. The returned
/// certificate was checked against the authority's root, the key and the role.
///
/// # Errors
/// Returns the reason as a variant of [`JoinError`].
pub async fn join(
    code: &InvitationCode,
    role: Role,
    key: &PartyKey,
    now: OffsetDateTime,
) -> Result<Joined, JoinError> {
    let verifier = Arc::new(PinnedVerifier::new(code.root(), code.trust_domain().clone()));
    let config = anonymous_config(Arc::clone(&verifier))?;
    let options = ConnectOptions { keep_alive_interval: None, ..ConnectOptions::default() };
    let connected =
        connect_once(code.authority(), Identity::Authority, config, code.trust_domain(), options).await;
    let (channel, _closed) = connected.map_err(|error| not_connected(error, JoinError::NotTheAuthority))?;
    let request = v1::JoinRequest {
        invitation_id: code.id().0.to_vec(),
        secret: code.secret().reveal().to_vec(),
        role: wire_role(role).into(),
        csr: key.request()?.to_vec(),
    };
    let answer = client(channel).join(timed(request)).await.map_err(JoinError::Refused)?.into_inner();
    // The verifier has seen the root before anything was sent.
    let root = verifier.root().cloned().ok_or(JoinError::WrongRole { expected: role })?;
    let certificate = CertificateDer::from(answer.certificate);
    let roots = [root.clone()];
    let peer = check_issued(&certificate, key.to_der(), &roots, code.trust_domain(), now)?;
    if peer.identity().role() != role {
        return Err(JoinError::WrongRole { expected: role });
    }
    Ok(Joined {
        certificate,
        peer,
        root,
        name: answer.name,
        trust: answer.trust.unwrap_or_default(),
        ephemeral: answer.ephemeral,
    })
}

/// Renews the certificate of `credentials`, which may have ended up to 30 days ago
/// ([`Credentials::load_for_renewal`]), for a new key. May be repeated with the same key.
///
/// # Errors
/// Returns the reason as a variant of [`JoinError`]. [`JoinError::Untrusted`] may also mean that the roots changed while
/// this program was away.
pub async fn renew(
    authority: &Dial,
    credentials: &Credentials,
    key: &PartyKey,
) -> Result<Renewed, JoinError> {
    let config = client_config(credentials)?;
    let options = ConnectOptions { keep_alive_interval: None, ..ConnectOptions::default() };
    let connected =
        connect_once(authority, Identity::Authority, config, credentials.trust_domain(), options).await;
    let (channel, _closed) = connected.map_err(|error| not_connected(error, JoinError::Untrusted))?;
    let request = v1::RenewRequest { csr: key.request()?.to_vec() };
    let answer = client(channel).renew(timed(request)).await.map_err(JoinError::Refused)?.into_inner();
    Ok(Renewed {
        certificate: CertificateDer::from(answer.certificate),
        trust: answer.trust.unwrap_or_default(),
    })
}

/// Checks a renewed certificate against the roots that are trusted after its bundle was taken, the key, and the identity
/// that it must keep.
///
/// # Errors
/// Returns [`JoinError::Certificate`], or [`JoinError::OtherIdentity`] if it names another party.
pub fn check_renewed(
    renewed: &Renewed,
    key: &PartyKey,
    roots: &[CertificateDer<'static>],
    identity: Identity,
    domain: &TrustDomain,
    now: OffsetDateTime,
) -> Result<PeerCertificate, JoinError> {
    let peer = check_issued(&renewed.certificate, key.to_der(), roots, domain, now)?;
    if peer.identity() == identity { Ok(peer) } else { Err(JoinError::OtherIdentity) }
}

/// Returns a role as the contract spells it. The authority has none there.
#[must_use]
pub fn wire_role(role: Role) -> v1::Role {
    match role {
        Role::Seller => v1::Role::Seller,
        Role::Buyer => v1::Role::Buyer,
        Role::Operator => v1::Role::Operator,
        Role::Market => v1::Role::Market,
        Role::Authority => v1::Role::Unspecified,
    }
}

fn client(channel: Channel) -> EnrolmentServiceClient<Channel> {
    EnrolmentServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)
}

fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// Distinguishes a server that is not the authority from one that can't be reached, and from a clock that is off. An alert
/// from the server counts as not being reached: it was not we who refused.
fn not_connected(error: DialError, impostor: fn(DialError) -> JoinError) -> JoinError {
    if tls_error(&error).is_some_and(is_about_time) {
        return JoinError::Clock(error);
    }
    let is_impostor = error.source.is::<Impostor>()
        || matches!(
            tls_error(&error),
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
        );
    if error.step == DialStep::Tls && is_impostor { impostor(error) } else { JoinError::Unreached(error) }
}

impl JoinError {
    /// Returns why a handshake or a certificate was refused here, in words, if that is what happened.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        let refused = match self {
            Self::NotTheAuthority(error) | Self::Untrusted(error) | Self::Clock(error) => tls_error(error)?,
            Self::Certificate(IssuedError::Signature(error)) | Self::Early(error) => error,
            _ => return None,
        };
        let known = match refused {
            rustls::Error::InvalidCertificate(refusal) => NotTheAuthority::cause(refusal),
            _ => None,
        };
        Some(known.map_or_else(|| refused.to_string(), |cause| cause.to_string()))
    }
}

impl From<IssuedError> for JoinError {
    fn from(error: IssuedError) -> Self {
        match error {
            IssuedError::Signature(error) if is_about_time(&error) => Self::Early(error),
            other => Self::Certificate(other),
        }
    }
}

/// Why no certificate was received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The server did not prove to be the authority that the code names.
    #[error("this is not the authority of the code; nothing was sent")]
    NotTheAuthority(#[source] DialError),
    /// The server did not prove to be the authority by a root that is trusted.
    #[error("the server did not prove to be the authority by a root that is trusted here")]
    Untrusted(#[source] DialError),
    /// The certificate that the server showed is not valid at this time, and nothing else is wrong with it.
    #[error("by this machine's clock, the authority's certificate is not valid now; nothing was sent")]
    Clock(#[source] DialError),
    /// The received certificate is not valid at this time, and nothing else is wrong with it.
    #[error("by this machine's clock, the certificate that the authority has sent is not valid now")]
    Early(#[source] rustls::Error),
    /// No connection was established within [`CONNECT_TIMEOUT`].
    #[error("the authority was not reached within {CONNECT_TIMEOUT:?}")]
    Unreached(#[source] DialError),
    /// The authority refused the call, or it failed.
    #[error("{}", .0.message())]
    Refused(Status),
    /// The received certificate can't be used.
    #[error("the certificate that the authority has sent can't be used")]
    Certificate(#[source] IssuedError),
    /// The received certificate is for another role.
    #[error("the certificate that the authority has sent is not a {expected}'s")]
    WrongRole {
        /// The role that was asked for.
        expected: Role,
    },
    /// The renewed certificate names another party.
    #[error("the renewed certificate names another party")]
    OtherIdentity,
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The TLS configuration can't be built.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError, Error};

    use super::*;

    fn converted(error: Error) -> JoinError {
        let target = "ca.example.org:7442".parse().unwrap();
        not_connected(
            DialError { step: DialStep::Tls, target, source: Box::new(error) },
            JoinError::NotTheAuthority,
        )
    }

    #[test]
    fn a_clock_an_impostor_and_an_alert_have_errors_of_their_own_with_their_causes() {
        for time in [CertificateError::Expired, CertificateError::NotValidYet] {
            let error = converted(Error::InvalidCertificate(time));
            assert!(matches!(error, JoinError::Clock(_)), "{error:?}");
            assert!(error.cause().is_some_and(|cause| cause.contains("certificate")), "{error:?}");
        }
        let error = converted(NotTheAuthority::Root.into());
        assert!(matches!(error, JoinError::NotTheAuthority(_)), "{error:?}");
        assert_eq!(error.cause(), Some(NotTheAuthority::Root.to_string()));
        let error = converted(Error::AlertReceived(AlertDescription::CertificateExpired));
        assert!(matches!(error, JoinError::Unreached(_)), "{error:?}");
    }
}

//! Keeping a context up to date: its certificate, and what it trusts.
//!
//! - A certificate is renewed from two thirds of its life on, and when another root signs ([`certificate`]). One that ended
//!   at most 30 days ago, or whose root was retired, is renewed as well.
//! - A trust bundle replaces roots and revocation lists ([`trust`]). It proves itself, so that it does not matter who
//!   hands it over. A program that slept through a change of roots catches up at the authority.
//!
//! Both end with a new [generation](crate::context::Generation) of files. Programs that run take it up as they do
//! changed files in general. One process at a time changes a context; the others go on with what there is.

mod certificate;
mod record;
mod restore;
mod trust;

pub use certificate::{Outcome, ROOT_SETTLES, due, is_of_trusted_root, nominal_due, renew};
pub use record::{LOOK_EVERY, Record, RefusedCertificate};
pub use restore::{RESTORE_WAIT, restore};
pub use trust::{catch_up, known_sequence, take, take_answer};

use souk_certs::connector::tls_error;
use souk_certs::credentials::CredentialError;
use souk_proto::Reason;
use thiserror::Error;

use crate::context::{Context, ContextError, Description};
use crate::join::JoinError;
use crate::key::KeyError;
use crate::trust::{BundleError, FetchError, Refused};

/// Why a context could not be brought up to date. It stays as it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RenewalError {
    /// The context can't be read or changed.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The certificate or its key can't be used any more, such as one that ended more than 30 days ago.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The key of the renewal can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The authority was not reached, or refused.
    #[error(transparent)]
    Authority(#[from] JoinError),
    /// The authority has refused the certificate in the handshake, because it was revoked.
    #[error("the authority has revoked the certificate")]
    Revoked,
    /// The authority has refused the certificate in the handshake, because it does not know its root, not even as a retired
    /// one.
    #[error("the authority does not know the root of the certificate any more")]
    UnknownRoot,
    /// The context names no authority, because that runs no enrolment service.
    #[error("the context names no authority that could renew the certificate")]
    NoAuthority,
    /// A trust bundle does not replace what is trusted.
    #[error(transparent)]
    Trust(#[from] Refused),
    /// A trust bundle is malformed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A change of roots could not be caught up with.
    #[error(transparent)]
    CatchUp(#[from] FetchError),
}

impl RenewalError {
    /// Returns whether another attempt will not help, but only another certificate: the authority has renewed a copy of this
    /// one, has revoked it, or does not know it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Revoked | Self::UnknownRoot | Self::Credentials(CredentialError::Revoked { .. }) => true,
            Self::Authority(JoinError::Refused(status)) => matches!(
                Reason::of(status),
                Some(Reason::RenewalSuperseded | Reason::CertificateRevoked | Reason::CertificateRequired)
            ),
            _ => false,
        }
    }

    /// Converts an error of the call. An authority that refuses the certificate in the handshake has been reached.
    fn of_call(error: JoinError) -> Self {
        use rustls::AlertDescription::{CertificateRevoked, UnknownCA};
        let tls = match &error {
            JoinError::Unreached(dial) => tls_error(dial),
            JoinError::Refused(status) => tls_error(status),
            _ => None,
        };
        match tls {
            Some(rustls::Error::AlertReceived(CertificateRevoked)) => Self::Revoked,
            Some(rustls::Error::AlertReceived(UnknownCA)) => Self::UnknownRoot,
            _ => error.into(),
        }
    }
}

/// Reads what a context is for.
fn described(context: &Context) -> Result<Description, ContextError> {
    context.description()?.ok_or_else(|| ContextError::Incomplete { path: context.folder().to_owned() })
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, Error};
    use souk_certs::connector::{DialError, DialStep};

    use super::*;

    #[test]
    fn what_the_authority_says_in_the_handshake_is_final_and_silence_is_not() {
        let of_alert = |alert| {
            let source = Box::new(Error::AlertReceived(alert));
            let target = "ca.example.org:7442".parse().unwrap();
            RenewalError::of_call(JoinError::Unreached(DialError { step: DialStep::Tls, target, source }))
        };
        let revoked = of_alert(AlertDescription::CertificateRevoked);
        assert!(revoked.is_final() && revoked.to_string().contains("revoked"), "{revoked}");
        assert!(of_alert(AlertDescription::UnknownCA).is_final());
        let passing = of_alert(AlertDescription::InternalError);
        assert!(!passing.is_final() && matches!(passing, RenewalError::Authority(JoinError::Unreached(_))));
        assert!(!RenewalError::NoAuthority.is_final());
    }
}

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
pub use record::{LOOK_EVERY, Record};
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
            Self::Credentials(error) => matches!(error, CredentialError::Revoked { .. }),
            Self::Authority(JoinError::Refused(status)) => {
                let of_copy = [Reason::RenewalSuperseded, Reason::CertificateRevoked, Reason::CertificateRequired];
                Reason::of(status).is_some_and(|reason| of_copy.contains(&reason))
                    || tls_error(status).is_some_and(is_final_alert)
            }
            Self::Authority(JoinError::Unreached(error)) => tls_error(error).is_some_and(is_final_alert),
            _ => false,
        }
    }
}

/// Returns whether the authority has refused the certificate itself, in the handshake.
fn is_final_alert(error: &rustls::Error) -> bool {
    use rustls::AlertDescription::{CertificateRevoked, UnknownCA};
    matches!(error, rustls::Error::AlertReceived(CertificateRevoked | UnknownCA))
}

/// Reads what a context is for.
fn described(context: &Context) -> Result<Description, ContextError> {
    context.description()?.ok_or_else(|| ContextError::Incomplete { path: context.folder().to_owned() })
}

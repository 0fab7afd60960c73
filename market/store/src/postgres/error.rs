//! PostgreSQL's errors, sorted: what is worth another try, what passes by itself, and what does not.

use std::{error::Error as _, io, time::Duration};

use rustls::CertificateError;
use tokio_postgres::{
    Error,
    error::{DbError, Severity, SqlState},
};

use crate::StoreError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server refused it, or the connection broke.
    #[error("{}", told(.0))]
    Postgres(#[from] Error),
    /// There was no answer in time. Whether it was done is not known.
    #[error("PostgreSQL did not answer within {} s; look for what holds it up", .0.as_secs())]
    Silence(Duration),
    /// A row is not as it was written.
    #[error("{0}")]
    Unreadable(String),
    /// More is waiting than is taken.
    #[error("more is waiting for PostgreSQL than it takes")]
    Overloaded,
    /// A connection can't be had.
    #[error("{0}")]
    NoConnection(String),
}

/// With what the server says, which the error's own text leaves out.
fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(refusal) => format!("PostgreSQL: {} ({})", refusal.message(), refusal.code().code()),
        None => match error.source() {
            Some(cause) => untrusted(cause).unwrap_or_else(|| format!("{error}: {cause}")),
            None => error.to_string(),
        },
    }
}

/// As `tokio-postgres` says that a server speaks in plain only.
const NO_TLS: &str = "server does not support TLS";

/// Why the server could not prove who it is, and what to do about it; `None` when that is not the matter.
fn untrusted(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if cause.to_string() == NO_TLS {
        return Some(format!(
            "the {NO_TLS}; turn ssl on there, or give sslmode=disable for a trusted network"
        ));
    }
    let tls = cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(problem) = tls else { return None };
    Some(match problem {
        // Two authorities of the same name differ in their key: the signature does not fit.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "another authority signed the server's certificate than the one that is trusted; check sslrootcert in \
             the address, or store.ca"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("{problem}; use a name that the server's certificate has in the address")
        }
        _ => format!("the server's certificate is not to be trusted: {problem}; renew it, and check both clocks"),
    })
}

impl Failure {
    /// Whether the same again may go well, because it collided with what others did: serialization failures,
    /// deadlocks, locks that were not to be had in time, and rows that somebody else put in.
    pub(super) fn is_collision(&self) -> bool {
        let Self::Postgres(error) = self else { return false };
        error.code().is_some_and(|code| {
            [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::LOCK_NOT_AVAILABLE,
                SqlState::UNIQUE_VIOLATION,
            ]
            .contains(code)
        })
    }

    /// Whether a lock was not to be had in time.
    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    /// Whether the connection broke, or is about to.
    pub(super) fn is_disconnection(&self) -> bool {
        match self {
            Self::Postgres(error) => error.as_db_error().is_none_or(ends_the_session),
            Self::Silence(_) | Self::NoConnection(_) => true,
            Self::Unreadable(_) | Self::Overloaded => false,
        }
    }

    /// Whether the server said that it did not do it. Otherwise that is not known.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.as_db_error().is_some())
    }

    /// Whether the session turned out to have ended, as all do when the server restarts.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.as_db_error().is_none_or(ends_the_session))
    }

    /// As a failure of the store.
    pub(super) fn into_store_error(self) -> StoreError {
        if matches!(self, Self::Overloaded) {
            return StoreError::Overloaded;
        }
        if self.is_held() {
            return StoreError::Held(Box::new(self));
        }
        let is_damage = match &self {
            Self::Unreadable(_) => true,
            Self::Postgres(error) => error
                .code()
                .is_some_and(|code| [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code)),
            _ => false,
        };
        if is_damage { StoreError::corrupt(self) } else { StoreError::unavailable(self) }
    }
}

/// Whether the server ends the session with this error, rather than only the statement.
fn ends_the_session(error: &DbError) -> bool {
    // A session on a server that was turned into a standby writes nothing any more, and one whose statements are
    // gone can't even try.
    let is_useless =
        [SqlState::READ_ONLY_SQL_TRANSACTION, SqlState::INVALID_SQL_STATEMENT_NAME].contains(error.code());
    is_useless || !matches!(error.parsed_severity(), Some(Severity::Error))
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.into_store_error()
    }
}

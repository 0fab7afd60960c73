//! Classifies PostgreSQL's errors: which are worth a retry, which pass without intervention, and which do
//! not.

use std::{error::Error as _, io, time::Duration};

use rustls::CertificateError;
use tokio_postgres::{
    Error,
    error::{DbError, Severity, SqlState},
};

use crate::StoreError;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server refused the statement, or the connection broke.
    #[error("{}", describe(.0))]
    Postgres(#[from] Error),
    /// There was no reply in time. It is unknown whether the statement was executed.
    #[error("PostgreSQL did not answer within {} s; look for what holds it up", .0.as_secs())]
    Silence(Duration),
    /// A row can't be converted, which means damage or a defect.
    #[error("{0}")]
    Unreadable(String),
    /// The queue for sessions is full.
    #[error("the queue for PostgreSQL sessions is full")]
    Overloaded,
    /// No session can be opened.
    #[error("{0}")]
    NoConnection(String),
}

/// Formats an error together with the server's message, which the error's own text leaves out.
fn describe(error: &Error) -> String {
    match error.as_db_error() {
        // Without the detail of the error, which may contain values of rows.
        Some(refusal) => format!("PostgreSQL: {} ({})", refusal.message(), refusal.code().code()),
        None => match error.source() {
            Some(cause) => untrusted(cause).unwrap_or_else(|| format!("{error}: {cause}")),
            None => error.to_string(),
        },
    }
}

/// The text of `tokio-postgres` for a server that does not support TLS; the error has no other distinction.
const NO_TLS: &str = "server does not support TLS";

/// Explains why the server's identity could not be verified, and what to do about it; `None` if the cause is
/// another.
fn untrusted(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if cause.to_string() == NO_TLS {
        return Some(format!(
            "the {NO_TLS}; turn ssl on there, or give sslmode=disable for a trusted network"
        ));
    }
    // tokio-rustls wraps the error of rustls in an `io::Error`.
    let tls = cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(problem) = tls else { return None };
    Some(match problem {
        // With two authorities of the same name but different keys, the issuer matches and the signature
        // does not.
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
    /// Returns whether a retry may succeed, because the failure was a conflict with other transactions: a
    /// serialization failure, a deadlock, a lock timeout, or a unique violation.
    pub(super) fn is_collision(&self) -> bool {
        self.has_code(&[
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            // Another market inserted the same request, SKU or party. After a reload, the rules see its row and
            // decide again.
            SqlState::UNIQUE_VIOLATION,
        ])
    }

    /// Returns whether a constraint rejected a row.
    fn is_constraint(&self) -> bool {
        self.has_code(&[
            SqlState::UNIQUE_VIOLATION,
            SqlState::CHECK_VIOLATION,
            SqlState::FOREIGN_KEY_VIOLATION,
            SqlState::NOT_NULL_VIOLATION,
            SqlState::EXCLUSION_VIOLATION,
        ])
    }

    fn has_code(&self, codes: &[SqlState]) -> bool {
        matches!(self, Self::Postgres(error) if error.code().is_some_and(|code| codes.contains(code)))
    }

    /// Returns whether a lock timeout expired.
    pub(super) fn is_held(&self) -> bool {
        self.has_code(&[SqlState::LOCK_NOT_AVAILABLE])
    }

    /// Returns whether the session is lost, or about to be.
    pub(super) fn is_disconnection(&self) -> bool {
        match self {
            Self::Postgres(error) => error.as_db_error().is_none_or(ends_the_session),
            Self::Silence(_) | Self::NoConnection(_) => true,
            Self::Unreadable(_) | Self::Overloaded => false,
        }
    }

    /// Returns whether the server reported that it did not execute the statement. Otherwise this is unknown.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.as_db_error().is_some())
    }

    /// Returns whether the session turned out to have ended, as all do when the server restarts.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.as_db_error().is_none_or(ends_the_session))
    }

    /// Converts into the store's error, which distinguishes overload, held locks and damage.
    pub(super) fn into_store_error(self) -> StoreError {
        if matches!(self, Self::Overloaded) {
            return StoreError::Overloaded;
        }
        if self.is_held() {
            return StoreError::Held(Box::new(self));
        }
        if self.has_code(&[SqlState::DISK_FULL]) {
            return StoreError::Full(Box::new(self));
        }
        if self.is_constraint() {
            return StoreError::Rejected(Box::new(self));
        }
        let is_damage = match &self {
            Self::Unreadable(_) => true,
            _ => self.has_code(&[SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED]),
        };
        if is_damage { StoreError::corrupt(self) } else { StoreError::unavailable(self) }
    }
}

/// Returns whether an error ends the session rather than only the statement.
fn ends_the_session(error: &DbError) -> bool {
    // A session on a server that has become a standby can't write any more, and one whose prepared
    // statements are gone (a pooler in between has swapped its server session) can't execute them.
    let is_useless =
        [SqlState::READ_ONLY_SQL_TRANSACTION, SqlState::INVALID_SQL_STATEMENT_NAME].contains(error.code());
    // FATAL and PANIC end the session; ERROR ends only the transaction. An unknown severity is treated as the
    // worse.
    is_useless || !matches!(error.parsed_severity(), Some(Severity::Error))
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.into_store_error()
    }
}

//! Why the enrolment service can't run.

use std::io;

use souk_certs::TlsError;
use souk_certs::credentials::CredentialError;
use thiserror::Error;

use crate::pki::PkiError;

/// Why the service can't start, or has ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The folder can't be used.
    #[error(transparent)]
    Folder(#[from] PkiError),
    /// The service's certificate can't be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The service's certificate can't be used for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The folder can't be followed.
    #[error("the folder can't be followed")]
    Watch(#[source] io::Error),
    /// The server failed.
    #[error("the server failed")]
    Server(#[source] tonic::transport::Error),
}

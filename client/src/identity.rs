//! The identity with which a client connects.

use std::{path::PathBuf, sync::Arc};

use souk_certs::{
    clock::Clock,
    credentials::{CredentialFiles, Credentials},
    identity::TrustDomain,
};
use time::OffsetDateTime;

use crate::Error;

/// A party's certificate with its key, the authority that it trusts and the list of revoked certificates. The
/// certificate *is* the account: there is no user name and no password.
///
/// # Examples
/// ```no_run
/// use souk_client::Identity;
///
/// # fn load() -> Result<(), souk_client::Error> {
/// // With bob.key, ca.pem and crl.pem beside it, as an operator's bundle has them:
/// let bob = Identity::from_file("bob.pem")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) files: CredentialFiles,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) credentials: Arc<Credentials>,
}

impl Identity {
    /// Loads a certificate (PEM). The other files are expected in the same folder: for `bob.pem` the key in
    /// `bob.key`, the authority in `ca.pem` and, if there is one, the revocation list in `crl.pem`.
    ///
    /// # Errors
    /// A file can't be read, is malformed or expired, or the key does not belong to the certificate.
    ///
    /// # Examples
    /// ```
    /// let error = souk_client::Identity::from_file("/nowhere/bob.pem").unwrap_err();
    /// assert!(error.to_string().contains("bob.pem"));
    /// ```
    pub fn from_file(certificate: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::from_files(CredentialFiles::beside(certificate))
    }

    /// Loads the files from any paths.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::{CredentialFiles, Identity};
    ///
    /// # fn load() -> Result<(), souk_client::Error> {
    /// let bob = Identity::from_files(CredentialFiles {
    ///     key: Some("/run/secrets/bob.key".into()),
    ///     ca: Some("/etc/souk/ca.pem".into()),
    ///     ..CredentialFiles::beside("/etc/souk/bob.pem")
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn from_files(files: CredentialFiles) -> Result<Self, Error> {
        Self::in_trust_domain(files, TrustDomain::default())
    }

    /// Loads files for a market with another trust domain than the default.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file), or the certificate names another trust domain.
    pub fn in_trust_domain(files: CredentialFiles, trust_domain: TrustDomain) -> Result<Self, Error> {
        Self::at(Clock::SYSTEM.now(), files, trust_domain)
    }

    /// Loads files and checks their validity at the time `now`, for simulations whose time is not the
    /// system's.
    ///
    /// # Errors
    /// As [`in_trust_domain`](Self::in_trust_domain).
    pub fn at(now: OffsetDateTime, files: CredentialFiles, trust_domain: TrustDomain) -> Result<Self, Error> {
        let credentials = Arc::new(Credentials::load(&files, &trust_domain, now)?);
        Ok(Self { files, trust_domain, credentials })
    }
}

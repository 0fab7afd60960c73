//! One party's certificate, key, roots and revocation list: found, read and validated together, so that a
//! mistake is named when a program starts and not when a handshake fails.

mod error;
mod files;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::identity::{Identity, PeerCertificate, TrustDomain, canonical_serial};
use crate::tls::provider;

pub use error::{CredentialError, FileRole};
pub use files::CredentialFiles;

/// Credentials that are known to work: the key fits the certificate, the CA signed it, it is valid now, not
/// revoked, and names a party of the trust domain.
pub struct Credentials {
    domain: TrustDomain,
    leaf: PeerCertificate,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    revoked: Arc<HashSet<Vec<u8>>>,
}

impl Credentials {
    /// Reads and validates the files. Blocking; the files are small.
    ///
    /// A key that others may read, and a CRL past its `nextUpdate`, are worth a warning in the log but are no
    /// errors. The CRL is optional, except for the market: it must be able to refuse a revoked certificate.
    ///
    /// # Errors
    /// One variant of [`CredentialError`] per mistake, each with the path and a remedy.
    pub fn load(
        files: &CredentialFiles,
        domain: &TrustDomain,
        now: OffsetDateTime,
    ) -> Result<Self, CredentialError> {
        let chain = files.read_chain()?;
        let leaf = PeerCertificate::from_der(&chain[0], domain)
            .map_err(|source| CredentialError::WrongIdentity { path: files.cert.clone(), source })?;
        let key = files.read_key()?;
        let roots = Arc::new(files.read_roots()?);
        let crls = files.read_crls()?;
        if crls.is_empty() && leaf.identity() == Identity::Market {
            return Err(CredentialError::Missing { file: FileRole::Crl, path: files.crl_path() });
        }
        let revoked = Arc::new(read_lists(files, &crls, now)?);
        let credentials = Credentials { domain: domain.clone(), leaf, chain, key, roots, crls, revoked };
        credentials.check_validity(files, now)?;
        credentials.check_key(files)?;
        credentials.check_signature(files, now)?;
        Ok(credentials)
    }

    /// What the own certificate says.
    #[must_use]
    pub fn identity(&self) -> &PeerCertificate {
        &self.leaf
    }

    /// The trust domain that the certificate was read under.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The serial numbers on the CRL, in the form of [`PeerCertificate::serial`]: to refuse the calls of a
    /// connection that was opened before its certificate was revoked. Empty without a CRL.
    #[must_use]
    pub fn revoked_serials(&self) -> Arc<HashSet<Vec<u8>>> {
        Arc::clone(&self.revoked)
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    pub(crate) fn crls(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.crls
    }

    fn check_validity(&self, files: &CredentialFiles, now: OffsetDateTime) -> Result<(), CredentialError> {
        let path = files.cert.clone();
        if now > self.leaf.not_after() {
            let name = files.party_name();
            return Err(CredentialError::Expired { path, not_after: self.leaf.not_after(), name });
        }
        if now < self.leaf.not_before() {
            return Err(CredentialError::NotYetValid { path, not_before: self.leaf.not_before() });
        }
        Ok(())
    }

    fn check_key(&self, files: &CredentialFiles) -> Result<(), CredentialError> {
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider())
            .map(drop)
            .map_err(|_| CredentialError::KeyMismatch { cert: files.cert.clone(), key: files.key_path() })
    }

    /// Asks the verifier that a peer will ask, so that the answers agree.
    fn check_signature(&self, files: &CredentialFiles, now: OffsetDateTime) -> Result<(), CredentialError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider())
            .with_crls(self.crls.iter().cloned())
            .build()
            .map_err(|source| CredentialError::BadCrl {
                path: files.crl_path(),
                reason: source.to_string(),
            })?;
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let Err(error) = verifier.verify_client_cert(&self.chain[0], &self.chain[1..], at) else {
            return Ok(());
        };
        Err(CredentialError::from_verifier(files, &error))
    }
}

/// Without the key.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("leaf", &self.leaf)
            .field("roots", &self.roots.len())
            .field("crls", &self.crls.len())
            .field("revoked", &self.revoked.len())
            .finish_non_exhaustive()
    }
}

/// The serials on the lists; warns of a list that should have been replaced.
fn read_lists(
    files: &CredentialFiles,
    crls: &[CertificateRevocationListDer<'static>],
    now: OffsetDateTime,
) -> Result<HashSet<Vec<u8>>, CredentialError> {
    let mut revoked = HashSet::new();
    for der in crls {
        let (_, list) = CertificateRevocationList::from_der(der).map_err(|_| CredentialError::BadCrl {
            path: files.crl_path(),
            reason: "it is not well-formed".to_owned(),
        })?;
        if list.next_update().is_some_and(|next| next.to_datetime() < now) {
            tracing::warn!(
                path = %files.crl_path().display(),
                "the revocation list is out of date; refresh it with gen-certs.sh crl and copy it here"
            );
        }
        revoked.extend(list.iter_revoked_certificates().map(|entry| canonical_serial(entry.raw_serial())));
    }
    Ok(revoked)
}

//! Where credentials lie, and reading them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CredentialError, FileRole};

/// The longest file that is read: room for a CRL of about 100,000 entries.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The files of one party. Only the certificate has to be named: the others are looked for beside it, which
/// is how `gen-certs` lays them out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The certificate, e.g. `alice.pem`, followed by intermediates if there are any.
    pub cert: PathBuf,
    /// The private key; by default the certificate's path with the extension `key`.
    pub key: Option<PathBuf>,
    /// The roots; by default `ca.pem` beside the certificate.
    pub ca: Option<PathBuf>,
    /// The revocation lists, one per root; by default `crl.pem` beside the certificate, when it is there.
    pub crl: Option<PathBuf>,
}

impl CredentialFiles {
    /// The files that lie beside `cert` under their usual names.
    #[must_use]
    pub fn beside(cert: impl Into<PathBuf>) -> Self {
        CredentialFiles { cert: cert.into(), key: None, ca: None, crl: None }
    }

    /// Where the key is expected.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.key.clone().unwrap_or_else(|| self.cert.with_extension("key"))
    }

    /// Where the roots are expected.
    #[must_use]
    pub fn ca_path(&self) -> PathBuf {
        self.ca.clone().unwrap_or_else(|| self.cert.with_file_name("ca.pem"))
    }

    /// Where the revocation lists are expected.
    #[must_use]
    pub fn crl_path(&self) -> PathBuf {
        self.crl.clone().unwrap_or_else(|| self.cert.with_file_name("crl.pem"))
    }

    /// All of them.
    #[must_use]
    pub fn paths(&self) -> [PathBuf; 4] {
        [self.cert.clone(), self.key_path(), self.ca_path(), self.crl_path()]
    }

    /// The name that `gen-certs` knows the certificate by: its file name without extension.
    pub(super) fn party_name(&self) -> String {
        self.cert.file_stem().map_or_else(|| "NAME".to_owned(), |stem| stem.to_string_lossy().into_owned())
    }

    /// At least one certificate, the leaf first.
    pub(super) fn read_chain(&self) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
        read_certificates(FileRole::Certificate, &self.cert)
    }

    pub(super) fn read_key(&self) -> Result<PrivateKeyDer<'static>, CredentialError> {
        let path = self.key_path();
        let pem = read(FileRole::Key, &path)?;
        let key =
            PrivateKeyDer::from_pem_slice(&pem).map_err(|_| CredentialError::NoKey { path: path.clone() })?;
        warn_if_others_may_read(&path);
        Ok(key)
    }

    /// With the time at which the first of them ends.
    pub(super) fn read_roots(&self) -> Result<(RootCertStore, OffsetDateTime), CredentialError> {
        let path = self.ca_path();
        let refused = || CredentialError::NoCertificate { file: FileRole::Ca, path: path.clone() };
        let (mut roots, mut first_end) = (RootCertStore::empty(), None);
        for certificate in read_certificates(FileRole::Ca, &path)? {
            let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| refused())?;
            let end = parsed.validity().not_after.to_datetime();
            first_end = Some(first_end.map_or(end, |first: OffsetDateTime| first.min(end)));
            roots.add(certificate.clone()).map_err(|_| refused())?;
        }
        Ok((roots, first_end.ok_or_else(refused)?))
    }

    /// Empty when none was named and none is there.
    pub(super) fn read_crls(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, CredentialError> {
        let path = self.crl_path();
        let pem = match read(FileRole::Crl, &path) {
            Ok(pem) => pem,
            Err(CredentialError::Missing { .. }) if self.crl.is_none() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let refused =
            |reason: &str| CredentialError::BadCrl { path: path.clone(), reason: reason.to_owned() };
        let crls = CertificateRevocationListDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| refused("it is not well-formed PEM"))?;
        if crls.is_empty() { Err(refused("there is none in the file")) } else { Ok(crls) }
    }
}

fn read_certificates(file: FileRole, path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let pem = read(file, path)?;
    let none = || CredentialError::NoCertificate { file, path: path.to_owned() };
    let certificates =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|_| none())?;
    if certificates.is_empty() { Err(none()) } else { Ok(certificates) }
}

fn read(file: FileRole, path: &Path) -> Result<Vec<u8>, CredentialError> {
    let unreadable = |source| CredentialError::Unreadable { file, path: path.to_owned(), source };
    let opened = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CredentialError::Missing { file, path: path.to_owned() },
        _ => unreadable(source),
    })?;
    let mut bytes = Vec::new();
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB")));
    }
    Ok(bytes)
}

#[cfg(unix)]
fn warn_if_others_may_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    const GROUP_AND_OTHERS: u32 = 0o077;
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & GROUP_AND_OTHERS != 0) {
        tracing::warn!(path = %path.display(), "other users can read this private key; run chmod 600 on it");
    }
}

#[cfg(not(unix))]
fn warn_if_others_may_read(_path: &Path) {}

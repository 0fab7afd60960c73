//! The paths of a party's credential files, and reading the files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CredentialError, FileRole};

/// Maximum size of a credential file: enough for a CRL of about 100,000 entries. The bound keeps a wrong
/// path, such as one to a database or a device, from filling memory.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The credential files of one party. Only the certificate has to be named: the others default to paths in
/// the same folder, which is where `gen-certs` puts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The certificate, e.g. `alice.pem`, followed by intermediates if there are any.
    pub cert: PathBuf,
    /// The private key. `None` means the certificate's path with the extension `key`.
    pub key: Option<PathBuf>,
    /// The root certificates. `None` means `ca.pem` in the certificate's folder.
    pub ca: Option<PathBuf>,
    /// The revocation lists, one per root. `None` means `crl.pem` in the certificate's folder if that exists,
    /// and no revocation list otherwise.
    pub crl: Option<PathBuf>,
}

impl CredentialFiles {
    /// Returns `cert` and the files with the default names in its folder.
    #[must_use]
    pub fn beside(cert: impl Into<PathBuf>) -> Self {
        CredentialFiles { cert: cert.into(), key: None, ca: None, crl: None }
    }

    /// Returns the path of the private key, given or default.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.key.clone().unwrap_or_else(|| self.cert.with_extension("key"))
    }

    /// Returns the path of the root certificates, given or default.
    #[must_use]
    pub fn ca_path(&self) -> PathBuf {
        self.ca.clone().unwrap_or_else(|| self.cert.with_file_name("ca.pem"))
    }

    /// Returns the path of the revocation lists, given or default. The file may not exist.
    #[must_use]
    pub fn crl_path(&self) -> PathBuf {
        self.crl.clone().unwrap_or_else(|| self.cert.with_file_name("crl.pem"))
    }

    /// Returns all four paths, to be watched for changes.
    #[must_use]
    pub fn paths(&self) -> [PathBuf; 4] {
        [self.cert.clone(), self.key_path(), self.ca_path(), self.crl_path()]
    }

    /// Returns the name by which `gen-certs` knows the certificate: its file name without the extension.
    pub(super) fn party_name(&self) -> String {
        self.cert.file_stem().map_or_else(|| "NAME".to_owned(), |stem| stem.to_string_lossy().into_owned())
    }

    /// Reads the certificate chain, leaf first. The result is never empty.
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

    /// Reads the root certificates. Also returns the earliest `notAfter` among them.
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

    /// Reads the revocation lists. Returns an empty list only if none was named and the default file does not
    /// exist: a list that was named must be there.
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
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 4 MiB")));
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

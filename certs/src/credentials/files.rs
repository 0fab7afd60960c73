//! The paths of a party's credential files, and reading the files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::{self, CredentialError, FileRole};
use crate::{file::others_may_read, pem};

/// Maximum size of the contents of a credential file in DER: enough for revocation lists of about 100,000 entries.
pub const MAX_DER_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of certificates or revocation lists in a file of that size: one for each of several roots.
const MAX_BLOCKS: usize = 16;

/// Maximum size of a credential file in bytes: what [`MAX_DER_BYTES`] take in PEM. The bound keeps a wrong path, such as
/// one to a database or a device, from filling memory.
pub const MAX_FILE_BYTES: u64 = pem::max_len(MAX_DER_BYTES, MAX_BLOCKS) as u64;

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

    /// Returns the paths behind the link, if the certificate's folder is one (`live -> gen/3`). Files that are read
    /// one after another by way of a link may be from two generations, because it may be replaced in between.
    pub(super) fn behind_link(&self) -> CredentialFiles {
        let folder = self.cert.parent().and_then(|folder| Some((folder.parent()?, folder.read_link().ok()?)));
        match (folder, self.cert.file_name()) {
            (Some((above, target)), Some(name)) => {
                CredentialFiles { cert: above.join(target).join(name), ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    /// Returns the name by which `gen-certs` knows the certificate: its file name without the extension.
    pub(super) fn party_name(&self) -> String {
        self.cert.file_stem().map_or_else(|| "NAME".to_owned(), |stem| stem.to_string_lossy().into_owned())
    }

    /// Reads the certificate chain, leaf first. The result is never empty.
    pub(super) fn read_chain(&self) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
        read_certificates(FileRole::Certificate, &self.cert)
    }

    /// Reads the private key. Adds a warning if other users can read it too.
    pub(super) fn read_key(
        &self,
        warnings: &mut Vec<String>,
    ) -> Result<PrivateKeyDer<'static>, CredentialError> {
        let path = self.key_path();
        let pem = read(FileRole::Key, &path)?;
        let key =
            PrivateKeyDer::from_pem_slice(&pem).map_err(|_| CredentialError::NoKey { path: path.clone() })?;
        if others_may_read(&path) {
            let path = path.display();
            warnings.push(format!("other users can read the private key {path}; run: chmod 600 {path}"));
        }
        Ok(key)
    }

    /// Reads the root certificates that have not expired. Adds a warning for each that has.
    pub(super) fn read_roots(
        &self,
        now: OffsetDateTime,
        warnings: &mut Vec<String>,
    ) -> Result<Roots, CredentialError> {
        let path = self.ca_path();
        let refused = || CredentialError::NoCertificate { file: FileRole::Ca, path: path.clone() };
        let mut roots = Roots {
            store: RootCertStore::empty(),
            certificates: Vec::new(),
            ends: Vec::new(),
            subjects: Vec::new(),
        };
        let mut last_end = None;
        for certificate in read_certificates(FileRole::Ca, &path)? {
            let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| refused())?;
            let (end, subject) = (parsed.validity().not_after.to_datetime(), parsed.subject());
            last_end = last_end.max(Some(end));
            // rustls does not look at the validity of a root.
            if end < now {
                let path = path.display();
                let end = error::day(end);
                warnings.push(format!(
                    "the CA {subject} in {path} expired on {end} and is not trusted any more; remove it"
                ));
                continue;
            }
            roots.ends.push(end);
            roots.subjects.push((subject.as_raw().to_vec(), subject.to_string()));
            roots.store.add(certificate.clone()).map_err(|_| refused())?;
            roots.certificates.push(certificate.clone());
        }
        match last_end {
            Some(not_after) if roots.ends.is_empty() => Err(CredentialError::ExpiredCa { path, not_after }),
            Some(_) => Ok(roots),
            None => Err(refused()),
        }
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

/// The roots that are trusted, in the order of the file.
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// The `notAfter` of each.
    pub(super) ends: Vec<OffsetDateTime>,
    /// The subject of each: DER-encoded, and for people.
    pub(super) subjects: Vec<(Vec<u8>, String)>,
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
        return Err(unreadable(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("the file is larger than {MAX_FILE_BYTES} bytes"),
        )));
    }
    pem::check(&bytes).map_err(|problem| CredentialError::Pem { file, path: path.to_owned(), problem })?;
    Ok(bytes)
}

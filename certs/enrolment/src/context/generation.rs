//! A context's folder, and the generation of files in it that is in use.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use souk_certs::{
    credentials::CredentialFiles,
    file::{self, Secrecy},
    identity::{PeerCertificate, TrustDomain},
};
use uuid::Uuid;

use super::{ContextError, Description, files};

/// The link to the generation in use.
pub(super) const LIVE: &str = "live";
/// The folder of the generations.
pub(super) const GENERATIONS: &str = "gen";
const DESCRIPTION: &str = "context.toml";
const CERTIFICATE: &str = "party.pem";
const KEY: &str = "party.key";
const ROOTS: &str = "ca.pem";
const LISTS: &str = "crl.pem";
const TRUST: &str = "trust.bin";

/// The contents of one generation: what belongs together, and is replaced together.
#[derive(Clone, PartialEq, Eq)]
pub struct Generation {
    /// The party's certificate, in PEM.
    pub certificate: String,
    /// Its private key, in PKCS#8 PEM.
    pub key: String,
    /// The root certificates that are trusted, in PEM.
    pub roots: String,
    /// A revocation list of each root, in PEM.
    pub lists: String,
    /// The signed trust bundle that roots and lists come from, as its message was encoded.
    pub trust: Vec<u8>,
}

impl fmt::Debug for Generation {
    /// Leaves out the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Generation {
    /// Writes the files to a new folder, and flushes them.
    pub(super) fn write_to(&self, folder: &Path) -> Result<(), ContextError> {
        files::create_folder(folder)?;
        for (name, contents, secrecy) in [
            (CERTIFICATE, self.certificate.as_bytes(), Secrecy::Public),
            (KEY, self.key.as_bytes(), Secrecy::Secret),
            (ROOTS, self.roots.as_bytes(), Secrecy::Public),
            (LISTS, self.lists.as_bytes(), Secrecy::Public),
            (TRUST, &self.trust, Secrecy::Public),
        ] {
            let path = folder.join(name);
            // The folder is new, so that no temporary file is in the way.
            file::replace(&path, contents, secrecy, Uuid::nil()).map_err(ContextError::io("write", &path))?;
        }
        files::sync_folder(folder).map_err(ContextError::io("write", folder))
    }

    fn read_from(folder: &Path) -> Result<Self, ContextError> {
        let text = |name: &str| {
            let path = folder.join(name);
            files::read_text(&path)?.ok_or_else(|| ContextError::malformed(&path, "it is missing"))
        };
        let trust = folder.join(TRUST);
        Ok(Self {
            certificate: text(CERTIFICATE)?,
            key: text(KEY)?,
            roots: text(ROOTS)?,
            lists: text(LISTS)?,
            trust: files::read(&trust)?.ok_or_else(|| ContextError::malformed(&trust, "it is missing"))?,
        })
    }
}

#[cfg(test)]
impl Generation {
    /// Returns files that all contain a text.
    pub(super) fn of_text(text: &str) -> Self {
        let text = || text.to_owned();
        Self { certificate: text(), key: text(), roots: text(), lists: text(), trust: text().into_bytes() }
    }
}

/// A context's folder. Creating the value reads nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    folder: PathBuf,
}

impl Context {
    /// Returns the context in a folder, such as `/etc/souk/market`.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Returns the folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads what the context is for; `None` if there is no context in the folder.
    ///
    /// # Errors
    /// Others may write to the folder, or the file can't be read or is malformed.
    pub fn description(&self) -> Result<Option<Description>, ContextError> {
        files::check_folder(&self.folder)?;
        let path = self.description_path();
        let text = files::read_text(&path)?;
        text.map(|text| Description::from_toml(&text, &path)).transpose()
    }

    /// Returns whether the context has a certificate: its join got that far.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.folder.join(LIVE).join(CERTIFICATE).exists()
    }

    /// Checks that the context has a certificate.
    ///
    /// # Errors
    /// It has none ([`ContextError::Incomplete`]).
    pub fn check_complete(&self) -> Result<(), ContextError> {
        if self.is_complete() {
            return Ok(());
        }
        Err(ContextError::Incomplete { path: self.folder.clone() })
    }

    /// Reads the party's certificate, without judging it.
    ///
    /// # Errors
    /// There is none, or it names no party of the trust domain.
    pub fn certificate(&self, domain: &TrustDomain) -> Result<PeerCertificate, ContextError> {
        let path = self.folder.join(LIVE).join(CERTIFICATE);
        let text =
            files::read(&path)?.ok_or_else(|| ContextError::Incomplete { path: self.folder.clone() })?;
        let der = CertificateDer::from_pem_slice(&text)
            .map_err(|_| ContextError::malformed(&path, "it holds no certificate in PEM"))?;
        PeerCertificate::from_der(&der, domain).map_err(|error| ContextError::malformed(&path, error))
    }

    /// Returns the paths of the credentials, by way of the link: they stay the same when the files are replaced.
    #[must_use]
    pub fn credential_files(&self) -> CredentialFiles {
        CredentialFiles::beside(self.folder.join(LIVE).join(CERTIFICATE))
    }

    /// Reads the generation in use.
    ///
    /// # Errors
    /// There is none ([`ContextError::Incomplete`]), or a file can't be read.
    pub fn generation(&self) -> Result<Generation, ContextError> {
        let number = self.number()?.ok_or_else(|| ContextError::Incomplete { path: self.folder.clone() })?;
        // Not by way of the link, which may be swapped between two files.
        Generation::read_from(&self.generations().join(number.to_string()))
    }

    /// Reads the trust bundle of the generation in use, as its message was encoded.
    ///
    /// # Errors
    /// There is none ([`ContextError::Incomplete`]), or it can't be read.
    pub fn trust(&self) -> Result<Vec<u8>, ContextError> {
        let path = self.folder.join(LIVE).join(TRUST);
        files::read(&path)?.ok_or_else(|| ContextError::Incomplete { path: self.folder.clone() })
    }

    /// Returns the number of the generation in use, from 1; `None` if there is none.
    ///
    /// # Errors
    /// The link can't be read, or leads somewhere else.
    pub fn number(&self) -> Result<Option<u64>, ContextError> {
        let link = self.folder.join(LIVE);
        let target = match fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ContextError::io("read", &link)(error)),
        };
        let number = target.strip_prefix(GENERATIONS).ok().and_then(|name| name.to_str()?.parse().ok());
        number.map(Some).ok_or_else(|| ContextError::malformed(&link, "it leads to no generation"))
    }

    pub(super) fn generations(&self) -> PathBuf {
        self.folder.join(GENERATIONS)
    }

    pub(super) fn description_path(&self) -> PathBuf {
        self.folder.join(DESCRIPTION)
    }
}

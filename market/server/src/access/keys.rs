//! The keys that sign and verify tokens.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    digest,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};

use souk_certs::{
    file::{self, Secrecy},
    pem::{self, PemError},
};
use uuid::Uuid;

use crate::config::TokenKeyFiles;

/// Number of bytes of the public key's hash that form the key id.
const KEY_ID_BYTES: usize = 12;

/// The Ed25519 key that signs tokens, and the keys that verify them.
pub struct TokenKeys {
    pub(super) signing: EncodingKey,
    pub(super) signing_id: String,
    public: Vec<u8>,
    verifying: Vec<(String, DecodingKey)>,
}

/// The public half of the key that signs tokens.
pub(crate) struct OwnKey {
    pub(crate) id: String,
    pub(crate) public_key: Vec<u8>,
}

/// Why a token key could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// The file can't be read.
    #[error("can't read the token key {}: {source}; gen-certs.sh init makes it, and only the market needs it", path.display())]
    Unreadable {
        /// Path of the key file.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The file can't be written.
    #[error("can't write the token key {}: {source}; the market replaces it every 30 days", path.display())]
    Unwritable {
        /// Path of the key file.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The system has no randomness for a new key.
    #[error("the system's random number generator failed")]
    Random,
    /// The file contains a block that would be skipped.
    #[error("the token key {} can't be used: {problem}", path.display())]
    Pem {
        /// Path of the file.
        path: PathBuf,
        /// The line and what is wrong with it.
        problem: PemError,
    },
    /// The file does not contain an Ed25519 key in PKCS#8.
    #[error("{} holds no Ed25519 private key (PKCS#8 PEM); gen-certs.sh init makes one", path.display())]
    NotAKey {
        /// Path of the rejected file.
        path: PathBuf,
    },
}

impl TokenKeys {
    /// Loads the keys from PKCS#8 PEM files. Makes the key if the market owns it and has none yet; `unique` is a new id, for
    /// the name of a temporary file.
    pub fn load(files: &TokenKeyFiles, unique: Uuid) -> Result<Self, TokenKeyError> {
        let current = files.current.as_path();
        let unreadable = |path: &Path, source| TokenKeyError::Unreadable { path: path.to_owned(), source };
        let not_a_key = |path: &Path| TokenKeyError::NotAKey { path: path.to_owned() };
        let pem = match fs::read(current) {
            Err(error) if files.is_own && error.kind() == io::ErrorKind::NotFound => {
                let pem = Self::generate()?;
                Self::save(current, &pem, unique)?;
                pem.into_bytes()
            }
            read => read.map_err(|source| unreadable(current, source))?,
        };
        let read = |path: &Path, pem: &[u8]| {
            pem::check(pem).map_err(|problem| TokenKeyError::Pem { path: path.to_owned(), problem })?;
            Self::from_pem(pem).ok_or_else(|| not_a_key(path))
        };
        let mut keys = read(current, &pem)?;
        let previous = files.previous.as_path();
        match fs::read(previous) {
            Ok(pem) => keys.verifying.extend(read(previous, &pem)?.verifying),
            // Usual: a previous key exists only for the lifetime of the tokens that it signed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(unreadable(previous, source)),
        }
        Ok(keys)
    }

    /// Generates a key, in PKCS#8 PEM.
    pub(crate) fn generate() -> Result<String, TokenKeyError> {
        // Version 1 of the format, because some readers reject version 2.
        let der = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1());
        let der = der.map_err(|_| TokenKeyError::Random)?;
        Ok(pem::encode("PRIVATE KEY", der.as_ref()))
    }

    /// Writes a key for this market alone to read.
    pub(crate) fn save(path: &Path, pem: &str, unique: Uuid) -> Result<(), TokenKeyError> {
        let unwritable = |source| TokenKeyError::Unwritable { path: path.to_owned(), source };
        file::replace(path, pem.as_bytes(), Secrecy::Secret, unique).map_err(unwritable)
    }

    /// Returns the key that is to follow, which waits in a file of its own, or makes it. The same key is returned until it is
    /// [adopted](Self::adopt), however often the rotation is tried. `unique` is a new id, for the name of a temporary file.
    pub(crate) fn prepare(path: &Path, unique: Uuid) -> Result<Self, TokenKeyError> {
        // One that can't be used has signed nothing yet.
        if let Some(waiting) = fs::read(path).ok().and_then(|pem| Self::from_pem(&pem)) {
            return Ok(waiting);
        }
        let pem = Self::generate()?;
        Self::save(path, &pem, unique)?;
        Self::from_pem(pem.as_bytes()).ok_or_else(|| TokenKeyError::NotAKey { path: path.to_owned() })
    }

    /// Puts a prepared key in the place of the one that signs, in one step.
    pub(crate) fn adopt(prepared: &Path, path: &Path) -> Result<(), TokenKeyError> {
        let unwritable = |source| TokenKeyError::Unwritable { path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Without the flush, the rename may be lost in a crash.
        fs::rename(prepared, path).and_then(|()| fs::File::open(folder)?.sync_all()).map_err(unwritable)
    }

    /// Returns whether both verify the same tokens.
    pub(super) fn accepts_the_same_as(&self, other: &Self) -> bool {
        // The id is a hash of the public key, so equal ids mean equal keys.
        let ids = |keys: &Self| keys.verifying.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        // In order: keys that have only changed places count as a change, which costs no more than a cleared cache.
        ids(self) == ids(other)
    }

    pub(crate) fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
        // Maybe unchecked: keys made by openssl lack the public half (PKCS#8 version 1), and the checked form
        // rejects them.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).ok()?;
        let public = pair.public_key().as_ref();
        let signing_id = key_id(public);
        Some(Self {
            signing: EncodingKey::from_ed_pem(pem).ok()?,
            verifying: vec![(signing_id.clone(), DecodingKey::from_ed_der(public))],
            public: public.to_vec(),
            signing_id,
        })
    }

    /// Returns the public half of the signing key.
    pub(crate) fn own(&self) -> OwnKey {
        OwnKey { id: self.signing_id.clone(), public_key: self.public.clone() }
    }

    /// Returns the verification key with an id, or `None` if tokens of that key are not accepted.
    pub(super) fn verifying(&self, id: &str) -> Option<&DecodingKey> {
        // A scan, because there are at most two: the current and the previous key.
        self.verifying.iter().find(|(known, _)| known == id).map(|(_, key)| key)
    }
}

/// Returns the id by which tokens name a key: the beginning of its SHA-256.
pub(super) fn key_id(public: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, public);
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..KEY_ID_BYTES])
}

//! Keys of parties, and signing requests for them.
//!
//! A key never leaves its machine: the authority gets a signing request (PKCS#10, RFC 2986), from which it takes the
//! public key. The request's own signature proves that the sender holds the private key.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::{CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use souk_certs::file::{self, Secrecy};
use thiserror::Error;
use uuid::Uuid;

/// Maximum size of a key file. One with a P-256 key has about 250 bytes.
const MAX_KEY_BYTES: u64 = 16 * 1024;

/// A P-256 key pair.
pub struct PartyKey(KeyPair);

impl PartyKey {
    /// Generates a key.
    ///
    /// # Errors
    /// Returns [`KeyError::Crypto`] if the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(PartyKey(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// Reads the key at `path`, or generates one and writes it there with mode 0600. The folder must exist. `unique` is a
    /// new id, for the name of a temporary file.
    ///
    /// A caller that was interrupted thus continues with the same key, by which the authority recognizes it.
    ///
    /// # Errors
    /// Returns the errors of [`PartyKey::read`] for a key that is there, and [`KeyError::File`] if the new one can't be
    /// written.
    pub fn open_or_create(path: &Path, unique: Uuid) -> Result<Self, KeyError> {
        match Self::read(path) {
            Err(KeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            read => return read,
        }
        let key = Self::generate()?;
        file::replace(path, key.to_pem().as_bytes(), Secrecy::Secret, unique)
            .map_err(KeyError::file(path))?;
        Ok(key)
    }

    /// Reads a key in PKCS#8 PEM.
    ///
    /// # Errors
    /// Returns [`KeyError::File`] if the file can't be read, [`KeyError::Exposed`] if other users can read it,
    /// [`KeyError::NoKey`] if it is no P-256 key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let pem = file::read(path, MAX_KEY_BYTES).map_err(KeyError::file(path))?;
        if file::others_may_read(path) {
            return Err(KeyError::Exposed { path: path.to_owned() });
        }
        let no_key = || KeyError::NoKey { path: path.to_owned() };
        let key = KeyPair::from_pem(&pem).map_err(|_| no_key())?;
        if key.algorithm() == &PKCS_ECDSA_P256_SHA256 { Ok(PartyKey(key)) } else { Err(no_key()) }
    }

    /// Returns the key in PKCS#8 PEM, for a file of mode 0600.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Returns the key for a TLS configuration.
    #[must_use]
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    /// Returns the public key as a SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7), as a certificate contains it.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// Returns a signing request. It contains no name, because the authority decides that.
    ///
    /// # Errors
    /// Returns [`KeyError::Crypto`] if signing fails.
    pub fn request(&self) -> Result<CertificateSigningRequestDer<'static>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0)?.der().clone())
    }
}

impl fmt::Debug for PartyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartyKey")
    }
}

/// Why a key can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file can't be read or written.
    #[error("cannot use the key file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// Other users can read the file, so the key may be known to them.
    #[error("other users can read the private key {}; remove it to have a new one made", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The file contains no P-256 key.
    #[error("{} contains no P-256 key in PKCS#8 PEM; remove it to have a new one made", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Generating a key or signing with it failed.
    #[error("generating a key or signing with it failed")]
    Crypto(#[from] rcgen::Error),
}

impl KeyError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| KeyError::File { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const UNIQUE: Uuid = Uuid::from_u128(1);

    #[test]
    fn a_key_that_is_there_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("party.key");
        let made = PartyKey::open_or_create(&path, UNIQUE).unwrap();
        let again = PartyKey::open_or_create(&path, UNIQUE).unwrap();
        assert_eq!(made.public_key(), again.public_key());
        assert_ne!(made.public_key(), PartyKey::generate().unwrap().public_key());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_a_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("party.key");
        PartyKey::open_or_create(&path, UNIQUE).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(PartyKey::open_or_create(&path, UNIQUE), Err(KeyError::Exposed { .. })));
    }

    #[test]
    fn what_is_no_p256_key_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("party.key");
        let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        for text in ["", "no key", &other] {
            file::replace(&path, text.as_bytes(), Secrecy::Secret, UNIQUE).unwrap();
            assert!(matches!(PartyKey::open_or_create(&path, UNIQUE), Err(KeyError::NoKey { .. })), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_request_contains_the_key_and_no_name() {
        let key = PartyKey::generate().unwrap();
        let request = key.request().unwrap();
        let public = key.public_key();
        assert!(request.windows(public.len()).any(|window| window == public));
        assert!(!format!("{key:?}").contains("BEGIN"));
    }
}

//! The errors of loading credentials. Every message says what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::CertificateError as Refusal;
use thiserror::Error;
use time::OffsetDateTime;

use crate::identity::CertificateError;
use crate::pem::PemError;
use crate::verifier::ForeignChain;

/// Which of a party's credential files an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    /// The party's certificate chain, [`CredentialFiles::cert`](super::CredentialFiles::cert).
    Certificate,
    /// The party's private key, [`CredentialFiles::key`](super::CredentialFiles::key).
    Key,
    /// The authority's root certificates, [`CredentialFiles::ca`](super::CredentialFiles::ca).
    Ca,
    /// The authority's revocation lists, [`CredentialFiles::crl`](super::CredentialFiles::crl).
    Crl,
}

impl FileRole {
    const fn remedy(self) -> &'static str {
        match self {
            FileRole::Certificate => "pass --cert FILE, or create one with gen-certs.sh",
            FileRole::Key => "copy it to the certificate's folder, or pass --key FILE",
            FileRole::Ca => "copy ca.pem to the certificate's folder, or pass --ca FILE",
            FileRole::Crl => "copy crl.pem to the certificate's folder; gen-certs.sh crl writes it",
        }
    }
}

impl fmt::Display for FileRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileRole::Certificate => "certificate",
            FileRole::Key => "private key",
            FileRole::Ca => "CA certificate",
            FileRole::Crl => "revocation list",
        })
    }
}

/// Why credentials were rejected: one variant per mistake.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The file does not exist.
    #[error("the {file} {} does not exist; {}", path.display(), file.remedy())]
    Missing {
        /// The kind of file.
        file: FileRole,
        /// The path at which it was expected.
        path: PathBuf,
    },
    /// The file exists but can't be read, or is larger than [`MAX_FILE_BYTES`](super::MAX_FILE_BYTES).
    #[error("the {file} {} cannot be read; check its permissions and that it is a file", path.display())]
    Unreadable {
        /// The kind of file.
        file: FileRole,
        /// Path of the file.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The file contains a block that would be skipped.
    #[error("the {file} {} can't be used: {problem}", path.display())]
    Pem {
        /// The kind of file.
        file: FileRole,
        /// Path of the file.
        path: PathBuf,
        /// The line and what is wrong with it.
        problem: PemError,
    },
    /// The file contains no certificate in PEM.
    #[error("{} holds no {file} in PEM (a block -----BEGIN CERTIFICATE-----); {}", path.display(), file.remedy())]
    NoCertificate {
        /// The kind of file, [`FileRole::Certificate`] or [`FileRole::Ca`].
        file: FileRole,
        /// Path of the file.
        path: PathBuf,
    },
    /// The key file contains no private key in PEM, or only an encrypted one.
    #[error("{} holds no unencrypted private key in PEM (a block -----BEGIN PRIVATE KEY-----); pass the right file with --key", path.display())]
    NoKey {
        /// Path of the key file.
        path: PathBuf,
    },
    /// The private key does not match the certificate's public key.
    #[error("the key {} does not belong to the certificate {}; both must come from the same gen-certs.sh run", key.display(), cert.display())]
    KeyMismatch {
        /// Path of the certificate.
        cert: PathBuf,
        /// Path of the private key.
        key: PathBuf,
    },
    /// None of the roots signed the certificate.
    #[error("the certificate {} was not signed by {}; use the ca.pem that came with it", cert.display(), ca.display())]
    NotSignedByCa {
        /// Path of the certificate.
        cert: PathBuf,
        /// Path of the root certificates.
        ca: PathBuf,
    },
    /// The `notAfter` of every root has passed.
    #[error("the CA certificate {} expired on {}; ask the market's operator for the new ca.pem", path.display(), day(*not_after))]
    ExpiredCa {
        /// Path of the root certificates.
        path: PathBuf,
        /// The last second of validity of the root that expired last.
        not_after: OffsetDateTime,
    },
    /// A root has no revocation list, although other roots have one.
    #[error("the revocation list {} has no list of the CA {root}, whose certificates would all be rejected; copy crl.pem and ca.pem from the same folder", path.display())]
    NoCrlOfRoot {
        /// Path of the revocation lists.
        path: PathBuf,
        /// The root's subject.
        root: String,
    },
    /// The certificate's `notAfter` has passed.
    #[error("the certificate {} expired on {}; renew it with: gen-certs.sh renew {name}", path.display(), day(*not_after))]
    Expired {
        /// Path of the certificate.
        path: PathBuf,
        /// The last second of its validity.
        not_after: OffsetDateTime,
        /// The name to pass to `gen-certs.sh renew`.
        name: String,
    },
    /// The certificate's `notBefore` is in the future.
    #[error("the certificate {} is valid only from {}; check this machine's clock", path.display(), day(*not_before))]
    NotYetValid {
        /// Path of the certificate.
        path: PathBuf,
        /// The first second of its validity.
        not_before: OffsetDateTime,
    },
    /// The certificate is on the revocation list.
    #[error("the certificate {} has been revoked; ask the market's operator for a new one", path.display())]
    Revoked {
        /// Path of the certificate.
        path: PathBuf,
    },
    /// The certificate does not name exactly one party of this trust domain.
    #[error("the certificate {} names no party of this market", path.display())]
    WrongIdentity {
        /// Path of the certificate.
        path: PathBuf,
        /// What is wrong with its identity.
        source: CertificateError,
    },
    /// The revocation list doesn't parse, or belongs to another authority.
    #[error("the revocation list {} cannot be used: {reason}; copy crl.pem from the same folder as ca.pem", path.display())]
    BadCrl {
        /// Path of the revocation list.
        path: PathBuf,
        /// What is wrong with it, as part of a sentence.
        reason: String,
    },
    /// A revocation list is past its `nextUpdate`, and [`StaleLists::Refuse`](super::StaleLists::Refuse) is
    /// set.
    #[error("the revocation list {} is out of date; refresh it with gen-certs.sh crl and copy it here", path.display())]
    StaleCrl {
        /// Path of the revocation list.
        path: PathBuf,
    },
    /// The file holds certificates besides the party's own, which every peer would refuse.
    #[error("the certificate file {} holds more than the party's certificate; remove every block after the first", path.display())]
    ForeignChain {
        /// Path of the certificate.
        path: PathBuf,
    },
    /// The verifier rejects the certificate for another reason, such as a missing key usage.
    #[error("every peer would reject the certificate {}; create a new one with gen-certs.sh", path.display())]
    Unusable {
        /// Path of the certificate.
        path: PathBuf,
        /// The error of the verifier.
        source: rustls::Error,
    },
}

impl CredentialError {
    /// Maps a verifier's rejection of the party's own certificate to the mistake that caused it.
    pub(super) fn from_verifier(
        path: PathBuf,
        (ca, crl): (PathBuf, PathBuf),
        refusal: &rustls::Error,
    ) -> Self {
        let foreign_list = "it was signed by another CA";
        match refusal {
            rustls::Error::InvalidCertificate(Refusal::UnknownIssuer | Refusal::BadSignature) => {
                CredentialError::NotSignedByCa { cert: path, ca }
            }
            rustls::Error::InvalidCertificate(Refusal::Revoked) => CredentialError::Revoked { path },
            rustls::Error::InvalidCertificate(Refusal::UnknownRevocationStatus)
            | rustls::Error::InvalidCertRevocationList(_) => {
                CredentialError::BadCrl { path: crl, reason: foreign_list.to_owned() }
            }
            rustls::Error::InvalidCertificate(refusal) if ForeignChain::is_cause(refusal) => {
                CredentialError::ForeignChain { path }
            }
            other => CredentialError::Unusable { path, source: other.clone() },
        }
    }
}

/// Formats a time for people: date, hour and minute in UTC.
pub(super) fn day(time: OffsetDateTime) -> String {
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

//! What can be wrong with credentials, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::CertificateError as Refusal;
use thiserror::Error;
use time::OffsetDateTime;

use crate::identity::CertificateError;

/// Which of a party's files is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    /// The party's certificate.
    Certificate,
    /// Its private key.
    Key,
    /// The root certificates.
    Ca,
    /// The revocation lists.
    Crl,
}

impl FileRole {
    const fn remedy(self) -> &'static str {
        match self {
            FileRole::Certificate => "pass --cert FILE, or mint one with gen-certs.sh",
            FileRole::Key => "put it beside the certificate, or pass --key FILE",
            FileRole::Ca => "copy ca.pem beside the certificate, or pass --ca FILE",
            FileRole::Crl => "copy crl.pem beside the certificate; gen-certs.sh crl writes it",
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

/// Why credentials were refused: one variant per mistake.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The file isn't there.
    #[error("the {file} {} does not exist; {}", path.display(), file.remedy())]
    Missing {
        /// Which file.
        file: FileRole,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there but can't be read.
    #[error("the {file} {} cannot be read; check its permissions and that it is a file", path.display())]
    Unreadable {
        /// Which file.
        file: FileRole,
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no {file} in PEM (a block -----BEGIN CERTIFICATE-----); {}", path.display(), file.remedy())]
    NoCertificate {
        /// Which file.
        file: FileRole,
        /// Its path.
        path: PathBuf,
    },
    /// The file holds no key, or an encrypted one.
    #[error("{} holds no unencrypted private key in PEM (a block -----BEGIN PRIVATE KEY-----); pass the right file with --key", path.display())]
    NoKey {
        /// Its path.
        path: PathBuf,
    },
    /// The key is not the certificate's.
    #[error("the key {} does not belong to the certificate {}; both must come from the same gen-certs.sh run", key.display(), cert.display())]
    KeyMismatch {
        /// The certificate's path.
        cert: PathBuf,
        /// The key's path.
        key: PathBuf,
    },
    /// The certificate is some other authority's.
    #[error("the certificate {} was not signed by {}; use the ca.pem that came with it", cert.display(), ca.display())]
    NotSignedByCa {
        /// The certificate's path.
        cert: PathBuf,
        /// The roots' path.
        ca: PathBuf,
    },
    /// It is past its validity.
    #[error("the certificate {} expired on {}; renew it with: gen-certs.sh renew {name}", path.display(), day(*not_after))]
    Expired {
        /// Its path.
        path: PathBuf,
        /// Its last second.
        not_after: OffsetDateTime,
        /// The name to renew.
        name: String,
    },
    /// It is before its validity.
    #[error("the certificate {} is valid only from {}; check this machine's clock", path.display(), day(*not_before))]
    NotYetValid {
        /// Its path.
        path: PathBuf,
        /// Its first second.
        not_before: OffsetDateTime,
    },
    /// It is on the revocation list.
    #[error("the certificate {} has been revoked; ask the market's operator for a new one", path.display())]
    Revoked {
        /// Its path.
        path: PathBuf,
    },
    /// It names no party of this trust domain.
    #[error("the certificate {} names no party of this market", path.display())]
    WrongIdentity {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// The revocation list doesn't parse, or is another authority's.
    #[error("the revocation list {} cannot be used: {reason}; copy crl.pem from the same folder as ca.pem", path.display())]
    BadCrl {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A revocation list is past its `nextUpdate`, and that is not tolerated.
    #[error("the revocation list {} is out of date; refresh it with gen-certs.sh crl and copy it here", path.display())]
    StaleCrl {
        /// Its path.
        path: PathBuf,
    },
    /// The verifier refuses it for another reason, such as a missing key usage.
    #[error("the certificate {} would be refused by every peer; mint it with gen-certs.sh", path.display())]
    Unusable {
        /// Its path.
        path: PathBuf,
        /// The verifier's reason.
        source: rustls::Error,
    },
}

impl CredentialError {
    /// The mistake behind a refusal of the own certificate.
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
            other => CredentialError::Unusable { path, source: other.clone() },
        }
    }
}

/// A time as people write it: date and minute, in UTC.
fn day(time: OffsetDateTime) -> String {
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

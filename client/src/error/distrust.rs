//! One side of a TLS handshake rejected the other's certificate.

use std::fmt;

use rustls::{AlertDescription, CertificateError};

/// Whose certificate was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// The market does not accept this client's.
    Ours(Objection),
    /// This client does not accept the market's.
    Theirs(Objection),
}

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Objection {
    /// It was signed by an authority that the verifier does not trust.
    UnknownAuthority,
    /// It has expired or is not valid yet, by the verifier's clock.
    OutOfDate,
    /// It is on the verifier's revocation list.
    Revoked,
    /// It names another party.
    WrongName,
    /// No certificate was presented.
    Missing,
    /// The verifier's revocation list is out of date, so that no certificate can be verified.
    StaleRevocationList,
    /// Another reason, as the TLS library words it.
    Other(String),
}

impl Distrust {
    /// Converts a TLS error; `None` if it is not about a certificate.
    pub(super) fn from_tls(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::AlertReceived(alert) => Objection::from_alert(*alert).map(Self::Ours),
            rustls::Error::InvalidCertificate(error) => Some(Self::Theirs(Objection::from_error(error))),
            rustls::Error::NoCertificatesPresented => Some(Self::Theirs(Objection::Missing)),
            _ => None,
        }
    }

    pub(super) fn hint(&self) -> &'static str {
        use Objection::*;
        match self {
            Self::Ours(UnknownAuthority) => {
                "use a certificate from this market's authority: ask its operator for a bundle"
            }
            Self::Ours(OutOfDate) => {
                "renew the certificate with `gen-certs.sh renew`, and check the clocks of both machines"
            }
            Self::Ours(Revoked) => "ask the operator for a new certificate",
            Self::Ours(_) => "make a new certificate with gen-certs.sh, or ask the operator for one",
            Self::Theirs(UnknownAuthority) => {
                "check the market's address, and that the ca.pem is of that market: connect only if you trust who gave it to you"
            }
            Self::Theirs(OutOfDate) => {
                "check this machine's clock; if it is right, report this to the market's operator"
            }
            Self::Theirs(StaleRevocationList) => {
                "get a new crl.pem from the operator (`gen-certs.sh` writes it)"
            }
            Self::Theirs(Revoked) => "do not trust it: report this to the operator",
            Self::Theirs(_) => "check that the address is the market's and not another server's",
        }
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whose, objection) = match self {
            Self::Ours(objection) => ("the market turned this client's certificate down", objection),
            Self::Theirs(objection) => ("the market's certificate is not to be trusted", objection),
        };
        write!(f, "{whose}: {objection}")
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => "another authority signed it",
            Self::OutOfDate => "it has expired, or is not valid yet",
            Self::Revoked => "it was revoked",
            Self::WrongName => "it names somebody else",
            Self::Missing => "there is none",
            Self::StaleRevocationList => "the revocation list to check it against is out of date",
            Self::Other(text) => text,
        })
    }
}

impl Objection {
    /// Converts the alerts that RFC 8446, section 6.2, defines for certificates.
    fn from_alert(alert: AlertDescription) -> Option<Self> {
        Some(match alert {
            // Two authorities of the same name have different keys, so that the signature does not verify.
            AlertDescription::UnknownCA | AlertDescription::DecryptError => Self::UnknownAuthority,
            AlertDescription::CertificateExpired => Self::OutOfDate,
            AlertDescription::CertificateRevoked => Self::Revoked,
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => Self::Missing,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => Self::Other(format!("TLS alert {alert:?}")),
            _ => return None,
        })
    }

    fn from_error(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::OutOfDate,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. }
            | CertificateError::UnknownRevocationStatus => Self::StaleRevocationList,
            other => Self::Other(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_about_certificates_are_distinguished_from_all_others() {
        let read = |alert| Distrust::from_tls(&rustls::Error::AlertReceived(alert));
        assert_eq!(read(AlertDescription::CertificateRevoked), Some(Distrust::Ours(Objection::Revoked)));
        assert_eq!(read(AlertDescription::UnknownCA), Some(Distrust::Ours(Objection::UnknownAuthority)));
        assert_eq!(read(AlertDescription::CertificateExpired), Some(Distrust::Ours(Objection::OutOfDate)));
        assert_eq!(read(AlertDescription::CertificateRequired), Some(Distrust::Ours(Objection::Missing)));
        assert!(matches!(read(AlertDescription::BadCertificate), Some(Distrust::Ours(Objection::Other(_)))));
        assert_eq!(read(AlertDescription::ProtocolVersion), None);
        assert_eq!(read(AlertDescription::InternalError), None);
    }

    #[test]
    fn the_problem_with_the_markets_certificate_is_reported() {
        let read = |error| Distrust::from_tls(&rustls::Error::InvalidCertificate(error));
        assert_eq!(
            read(CertificateError::UnknownIssuer),
            Some(Distrust::Theirs(Objection::UnknownAuthority))
        );
        assert_eq!(read(CertificateError::NotValidForName), Some(Distrust::Theirs(Objection::WrongName)));
    }
}

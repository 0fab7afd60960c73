//! Revocation lists (RFC 5280 §5).

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use time::{Duration, OffsetDateTime};

use super::{Authority, AuthorityError, whole_second};

/// How long a list claims to be current: 30 days. `gen-certs.sh crl` signs a fresh one; an old one goes on
/// revoking what it names.
pub const CRL_VALIDITY: Duration = Duration::days(30);

/// One revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The certificate's serial number, big-endian without leading zeros.
    pub serial: Vec<u8>,
    /// When it was revoked.
    pub at: OffsetDateTime,
}

impl Authority {
    /// Signs a list of the revoked certificates, as PEM. `number` is the CRL number (RFC 5280 §5.2.3): it
    /// must grow with every list, so that a reader can tell which of two is newer.
    ///
    /// # Errors
    /// [`AuthorityError::Sign`] when encoding or signing fails.
    pub fn crl(
        &self,
        number: u64,
        revoked: &[Revocation],
        now: OffsetDateTime,
    ) -> Result<String, AuthorityError> {
        let revoked_certs = revoked
            .iter()
            .map(|revocation| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&revocation.serial),
                revocation_time: whole_second(revocation.at),
                // Absent rather than "unspecified", as RFC 5280 §5.3.1 asks.
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        CertificateRevocationListParams {
            this_update: whole_second(now),
            next_update: whole_second(now + CRL_VALIDITY),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .and_then(|list| list.pem())
        .map_err(AuthorityError::Sign)
    }
}

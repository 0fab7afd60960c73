//! Signing certificate revocation lists (RFC 5280 §5).

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use time::{Duration, OffsetDateTime};

use super::{Authority, AuthorityError, whole_second};

/// Time from a list's `thisUpdate` to its `nextUpdate`: 30 days. `gen-certs.sh crl` signs a new list. A list
/// past its `nextUpdate` still revokes the certificates on it.
pub const CRL_VALIDITY: Duration = Duration::days(30);

/// An entry of a revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The certificate's serial number, big-endian without leading zeros.
    pub serial: Vec<u8>,
    /// The time of the revocation, truncated to seconds in the list.
    pub at: OffsetDateTime,
}

impl Authority {
    /// Signs a list of the revoked certificates and returns it in PEM.
    ///
    /// `number` is the CRL number (RFC 5280 §5.2.3). It must increase with every list: markets reject a list
    /// with a lower number than the one in use.
    ///
    /// # Errors
    /// Returns [`AuthorityError::Sign`] if encoding or signing fails.
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
                // RFC 5280 §5.3.1: omit the reason rather than state "unspecified".
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

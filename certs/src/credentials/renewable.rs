//! Certificates that are good for nothing but to be renewed: those that have ended, and those of roots that were retired.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use time::OffsetDateTime;

/// A root that is not trusted any more. Its certificates are good for nothing but to be renewed.
#[derive(Clone, Debug)]
pub struct RetiredRoot {
    /// The root's certificate.
    pub certificate: CertificateDer<'static>,
    /// Its last revocation list.
    pub list: CertificateRevocationListDer<'static>,
}

/// What the party's own certificate must be when it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// Within its validity, and of a trusted root.
    Valid,
    /// Within its validity. Its root may have been retired.
    Unexpired,
    /// One that the authority still renews: it may have ended a while ago, and its root may have been retired.
    Renewable,
}

impl Demand {
    pub(super) const fn grace(self) -> Duration {
        match self {
            Demand::Valid | Demand::Unexpired => Duration::ZERO,
            Demand::Renewable => RENEWAL_GRACE,
        }
    }
}

/// How long after its end a certificate can still be renewed.
pub const RENEWAL_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Returns the time as of which a certificate is judged: its last second if it ended at most `grace` ago, and `now`
/// otherwise.
pub(crate) fn within_grace(
    now: OffsetDateTime,
    not_after: OffsetDateTime,
    grace: Duration,
) -> OffsetDateTime {
    if now > not_after && now <= not_after + grace { not_after } else { now }
}

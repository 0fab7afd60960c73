//! Catching up after the roots have changed while a program was away.
//!
//! Such a program can verify neither a market nor the authority, because all their certificates are of roots that it does
//! not know. It asks the authority on a connection that it does not verify, showing no certificate and sending nothing but
//! the sequence that it has. Each bundle of the answer proves itself by a root of the one before, and in the end the last
//! roots must verify the certificate of that very connection.
//!
//! Somebody who has stolen the key of a root that was retired since can sign a chain that begins with it. The last condition
//! keeps such a chain from having an effect unless the thief also takes the place of the authority in the network, and the
//! time limit keeps it from having one for long.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use souk_certs::identity::{Identity, PeerCertificate, TrustDomain};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::accept::{Accepted, Refused, Trusted, accept};
use super::bundle::{SignedBundle, TrustBundle};

/// Maximum number of changes of roots that are caught up with.
pub const MAX_WALK: usize = 8;

/// How long after its end a certificate can still be renewed, and its holder catch up.
pub const CATCH_UP_GRACE: Duration = Duration::days(30);

/// Why the roots could not be caught up with. The remedy is always to join again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalkRefused {
    /// The program's own certificate ended more than [`CATCH_UP_GRACE`] ago.
    #[error("the certificate ended on {ended}, too long ago to catch up with new roots; join again")]
    EndedLongAgo {
        /// Its last second of validity.
        ended: OffsetDateTime,
    },
    /// The answer has more than [`MAX_WALK`] changes of roots.
    #[error("the roots changed more than {MAX_WALK} times meanwhile; join again")]
    TooLong,
    /// The answer has no bundle.
    #[error("the authority has no trust bundle that leads on from here; join again")]
    Empty,
    /// A bundle does not follow from the one before.
    #[error("the bundles of the authority do not lead on from what is trusted here; join again")]
    Step(#[source] Refused),
    /// The last roots do not verify the certificate of the connection as the authority's.
    #[error("the answer did not come from the authority that it is about; join again")]
    NotTheAuthority,
}

/// Follows a chain of bundles, the oldest first. `leaf` is the certificate that the authority showed on the connection over
/// which the chain came, `own_end` the last second of the program's own certificate.
///
/// # Errors
/// Returns why nothing may be accepted; nothing of the chain counts then.
pub fn walk(
    trusted: &Trusted,
    chain: &[SignedBundle],
    leaf: &CertificateDer<'_>,
    own_end: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Accepted, WalkRefused> {
    if now > own_end + CATCH_UP_GRACE {
        return Err(WalkRefused::EndedLongAgo { ended: own_end });
    }
    // The newest bundle comes after those at which roots changed.
    if chain.len() > MAX_WALK + 1 {
        return Err(WalkRefused::TooLong);
    }
    let mut last: Option<Accepted> = None;
    for signed in chain {
        let before = last.as_ref().map_or(trusted, Accepted::trusted);
        last = Some(accept(before, signed, now).map_err(WalkRefused::Step)?);
    }
    let last = last.ok_or(WalkRefused::Empty)?;
    if !verifies_authority(last.bundle(), leaf, now) {
        return Err(WalkRefused::NotTheAuthority);
    }
    Ok(last)
}

/// Returns whether the roots and lists of a bundle verify a leaf as `authority.<trust domain>`.
fn verifies_authority(bundle: &TrustBundle, leaf: &CertificateDer<'_>, now: OffsetDateTime) -> bool {
    let domain: &TrustDomain = &bundle.trust_domain;
    let is_authority = PeerCertificate::from_der(leaf, domain)
        .is_ok_and(|certificate| certificate.identity() == Identity::Authority);
    let mut roots = RootCertStore::empty();
    let added = bundle.roots.iter().try_for_each(|root| roots.add(root.certificate.clone()));
    let Ok(name) = ServerName::try_from(Identity::Authority.dns_name(domain)) else { return false };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(bundle.roots.iter().map(|root| root.list.clone()))
        .build();
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    is_authority
        && added.is_ok()
        && verifier.is_ok_and(|verifier| verifier.verify_server_cert(leaf, &[], &name, &[], at).is_ok())
}

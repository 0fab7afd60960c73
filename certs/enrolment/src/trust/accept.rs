//! The rule by which a trust bundle replaces what is trusted. It is pure: no files, no connection, no clock.

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use souk_certs::identity::TrustDomain;
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::bundle::{
    BundleError, MAX_BUNDLE_BYTES, SignedBundle, TrustBundle, TrustedRoot, issuer_and_number,
};

/// How far ahead of the clock a bundle may have been made: the difference that certificates allow between two machines.
pub const MAX_AHEAD: Duration = Duration::minutes(5);

/// What a program trusts now: the roots and lists in use, and the bundle that they came with, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    domain: TrustDomain,
    roots: Vec<CertificateDer<'static>>,
    lists: Vec<List>,
    last: Option<Last>,
}

/// The issuer's name and the number of a list, big-endian without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
struct List {
    issuer: Vec<u8>,
    number: Vec<u8>,
}

/// The bundle that was accepted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    sequence: i64,
    fingerprint: [u8; 32],
}

/// A bundle that may replace what is trusted. Only [`accept`] makes one.
#[derive(Clone, Debug)]
pub struct Accepted {
    bundle: TrustBundle,
    signed: SignedBundle,
    trusted: Trusted,
}

/// Why a bundle does not replace what is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is the one that is in use.
    #[error("the trust bundle is the one in use")]
    InUse,
    /// None of the roots that are trusted now has signed it.
    #[error("no CA that is trusted here has signed the trust bundle; its sender may be lying")]
    Forged,
    /// It is well signed, but of another trust domain.
    #[error("the trust bundle is of the trust domain {found} instead of {expected}")]
    OtherDomain {
        /// The domain of the bundle.
        found: TrustDomain,
        /// The domain of this program.
        expected: TrustDomain,
    },
    /// Its sequence is lower than that of the bundle in use. It would readmit parties revoked since.
    #[error("the trust bundle {offered} is older than {in_use}, the one in use")]
    Older {
        /// Its sequence.
        offered: i64,
        /// The sequence in use.
        in_use: i64,
    },
    /// It has the sequence of the bundle in use, but other contents: the authority was restored from a backup, or its key
    /// is in use at two places.
    #[error(
        "there are two different trust bundles {sequence}: the authority was restored or copied; run there: gen-certs crl --at-least {}", sequence + 1
    )]
    Forked {
        /// The sequence of both.
        sequence: i64,
    },
    /// It was made more than [`MAX_AHEAD`] after the present time.
    #[error(
        "the trust bundle was made at {created_at}, which is in the future; check the clocks of this machine and the authority's"
    )]
    FromTheFuture {
        /// When it says that it was made.
        created_at: OffsetDateTime,
    },
    /// A revocation list has a lower number than the list of the same root in use.
    #[error(
        "the trust bundle has an older revocation list than the one in use, and might admit parties revoked since"
    )]
    OlderList,
    /// Its form is wrong, although a trusted root has signed it.
    #[error(transparent)]
    Malformed(#[from] BundleError),
}

impl Trusted {
    /// Describes roots and lists that are in use. `stored` is the bundle kept beside them; it is ignored unless one of the
    /// roots has signed it, because then it says nothing about them.
    #[must_use]
    pub fn in_use(
        domain: TrustDomain,
        roots: &[CertificateDer<'_>],
        lists: &[CertificateRevocationListDer<'_>],
        stored: Option<&SignedBundle>,
    ) -> Self {
        let roots: Vec<_> = roots.iter().map(|root| root.clone().into_owned()).collect();
        let signed = stored.filter(|stored| roots.iter().any(|root| stored.is_signed_by(root)));
        let last = signed.and_then(|signed| {
            signed
                .open()
                .ok()
                .map(|bundle| Last { sequence: bundle.sequence, fingerprint: signed.fingerprint() })
        });
        let lists = lists.iter().filter_map(List::of).collect();
        Self { domain, roots, lists, last }
    }

    /// Returns the sequence of the bundle in use; 0 if there is none.
    #[must_use]
    pub fn sequence(&self) -> i64 {
        self.last.map_or(0, |last| last.sequence)
    }

    /// Returns the roots.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// Returns the trust domain.
    #[must_use]
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    fn has_newer_list_than(&self, root: &TrustedRoot) -> bool {
        let Some(offered) = List::of(&root.list) else { return true };
        self.lists.iter().any(|known| {
            known.issuer == offered.issuer && in_order(&offered.number) < in_order(&known.number)
        })
    }
}

impl List {
    fn of(list: &CertificateRevocationListDer<'_>) -> Option<Self> {
        issuer_and_number(list).map(|(issuer, number)| Self { issuer, number })
    }
}

impl Accepted {
    /// Returns the contents.
    #[must_use]
    pub fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// Returns the bundle with the signatures of the roots that were trusted or are trusted now, to be kept and passed on.
    #[must_use]
    pub fn signed(&self) -> &SignedBundle {
        &self.signed
    }

    /// Returns what is trusted once the bundle is in use.
    #[must_use]
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }
}

/// Decides whether a bundle may replace what is trusted. It must be
///
/// 1. at most [`MAX_BUNDLE_BYTES`] long, and signed by a root that is trusted now,
/// 2. of the same trust domain,
/// 3. of a higher sequence,
/// 4. made at most [`MAX_AHEAD`] after `now`,
/// 5. with 1 to [`MAX_ROOTS`](super::bundle::MAX_ROOTS) roots and a list of each, whose number is not lower than that of the
///    list in use.
///
/// # Errors
/// Returns the first of these that it is not. [`Refused::InUse`] is the usual answer when nothing has changed.
pub fn accept(trusted: &Trusted, offered: &SignedBundle, now: OffsetDateTime) -> Result<Accepted, Refused> {
    // Before anything is hashed or parsed.
    let bytes = offered.size();
    if bytes > MAX_BUNDLE_BYTES {
        return Err(BundleError::TooLarge { bytes }.into());
    }
    if !trusted.roots.iter().any(|root| offered.is_signed_by(root)) {
        return Err(Refused::Forged);
    }
    let bundle = offered.open()?;
    if bundle.trust_domain != trusted.domain {
        return Err(Refused::OtherDomain { found: bundle.trust_domain, expected: trusted.domain.clone() });
    }
    check_sequence(trusted, (&bundle, offered))?;
    if bundle.created_at > now + MAX_AHEAD {
        return Err(Refused::FromTheFuture { created_at: bundle.created_at });
    }
    if bundle.roots.iter().any(|root| trusted.has_newer_list_than(root)) {
        return Err(Refused::OlderList);
    }
    let last = Last { sequence: bundle.sequence, fingerprint: offered.fingerprint() };
    let known = trusted.roots.iter().chain(bundle.roots.iter().map(|root| &root.certificate));
    let signed = offered.with_signatures_of(known);
    let trusted = Trusted {
        domain: trusted.domain.clone(),
        roots: bundle.roots.iter().map(|root| root.certificate.clone()).collect(),
        lists: bundle.roots.iter().filter_map(|root| List::of(&root.list)).collect(),
        last: Some(last),
    };
    Ok(Accepted { bundle, signed, trusted })
}

fn check_sequence(
    trusted: &Trusted,
    (bundle, offered): (&TrustBundle, &SignedBundle),
) -> Result<(), Refused> {
    let sequence = bundle.sequence;
    match trusted.last {
        Some(last) if sequence < last.sequence => {
            Err(Refused::Older { offered: sequence, in_use: last.sequence })
        }
        Some(last) if sequence == last.sequence && offered.fingerprint() != last.fingerprint => {
            Err(Refused::Forked { sequence })
        }
        Some(last) if sequence == last.sequence => Err(Refused::InUse),
        _ if sequence < 1 => Err(BundleError::Malformed("sequence").into()),
        _ => Ok(()),
    }
}

/// Converts a big-endian number into a key whose order is that of the numbers: without leading zeros, the longer one is
/// the greater.
fn in_order(bytes: &[u8]) -> (usize, &[u8]) {
    let digits = bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &bytes[first..]);
    (digits.len(), digits)
}

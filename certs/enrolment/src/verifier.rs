//! The verifier for the connection on which an invitation is redeemed.
//!
//! A newcomer trusts no root yet. The invitation code names one by its hash, and the authority sends that root in its
//! handshake, after its own certificate. So the verifier accepts exactly two certificates, checks the second one against
//! the hash, makes it the only trust anchor, and leaves everything else to webpki: signature, name, purpose, validity.
//! The hash is thus checked inside the handshake, before anything of the invitation is sent.
//!
//! No other certificate ever reaches webpki: a search for a path through certificates that a stranger has chosen can
//! take long.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::{CertificateError, Error, OtherError};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use souk_certs::ServerRule;
use souk_certs::client::anchored_rule;
use souk_certs::identity::{Identity, PeerCertificate, TrustDomain};
use thiserror::Error as ThisError;

use crate::code::RootPin;

/// Verifies that the server is the authority whose root an invitation code names.
#[derive(Debug)]
pub struct PinnedVerifier {
    pin: RootPin,
    domain: TrustDomain,
    root: OnceLock<CertificateDer<'static>>,
}

impl PinnedVerifier {
    /// Creates a verifier for the authority of `domain` with this root.
    #[must_use]
    pub fn new(pin: RootPin, domain: TrustDomain) -> Self {
        PinnedVerifier { pin, domain, root: OnceLock::new() }
    }

    /// Returns the root with the pinned hash, once a server has proved to be the authority by it.
    #[must_use]
    pub fn root(&self) -> Option<&CertificateDer<'static>> {
        self.root.get()
    }
}

/// The server did not prove to be the authority that the invitation code names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum NotTheAuthority {
    /// The server sent more or fewer certificates than its own and the root.
    #[error("it must send its certificate and the root, and nothing else")]
    Chain,
    /// The root is another one.
    #[error("its root is not the one that the invitation code names")]
    Root,
    /// The certificate belongs to a party, or to another trust domain.
    #[error("its certificate is not an authority's")]
    Identity,
}

/// Returns whether a certificate was refused because it has ended or is not valid yet.
pub(crate) fn is_about_time(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
    )
}

impl NotTheAuthority {
    /// Returns whether this is why a certificate was refused, and how.
    #[must_use]
    pub fn cause(refusal: &CertificateError) -> Option<Self> {
        match refusal {
            CertificateError::Other(OtherError(cause)) => cause.downcast_ref().copied(),
            _ => None,
        }
    }
}

impl From<NotTheAuthority> for Error {
    fn from(cause: NotTheAuthority) -> Self {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(cause))))
    }
}

impl ServerRule for PinnedVerifier {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        beside_leaf: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let [root] = beside_leaf else { return Err(NotTheAuthority::Chain.into()) };
        if RootPin::of(root) != self.pin {
            return Err(NotTheAuthority::Root.into());
        }
        let root = root.clone().into_owned();
        let rule = anchored_rule(&root).map_err(|_| NotTheAuthority::Root)?;
        let judged = rule.judge(leaf, &[], name, now);
        if let Err(error) = &judged
            && !is_about_time(error)
        {
            return Err(error.clone());
        }
        // webpki has compared the DNS name. The SPIFFE ID is the identity.
        let Ok(peer) = PeerCertificate::from_der(leaf, &self.domain) else {
            return Err(NotTheAuthority::Identity.into());
        };
        if peer.identity() != Identity::Authority {
            return Err(NotTheAuthority::Identity.into());
        }
        if judged.is_err() {
            // webpki looks at the time first, also of a certificate that the root has not signed.
            let end = u64::try_from(peer.not_after().unix_timestamp()).unwrap_or(0);
            let at_its_end = UnixTime::since_unix_epoch(Duration::from_secs(end));
            rule.judge(leaf, &[], name, at_its_end)?;
        }
        judged?;
        // Fails only if it is set, and then it is the same root.
        let _ = self.root.set(root);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::trust::tests::{NOW, Root};

    fn verified(code_of: &Root, signer: &Root, identity: Identity, at: time::OffsetDateTime) -> Error {
        let leaf =
            signer.leaf_valid(identity, datetime!(2026-05-01 00:00 UTC), datetime!(2026-05-31 00:00 UTC));
        let verifier = PinnedVerifier::new(RootPin::of(&code_of.certificate), TrustDomain::default());
        let name = ServerName::try_from("authority.souk.internal").unwrap();
        let seconds = Duration::from_secs(at.unix_timestamp().cast_unsigned());
        let at = UnixTime::since_unix_epoch(seconds);
        let root = [code_of.certificate.clone()];
        let error = verifier.judge(&leaf, &root, &name, at).unwrap_err();
        assert!(verifier.root().is_none());
        error
    }

    #[test]
    fn a_clock_that_is_off_is_told_from_another_authority() {
        let (root, other) = (Root::new("one"), Root::new("one"));
        for at in [NOW, datetime!(2026-04-01 00:00 UTC)] {
            assert!(is_about_time(&verified(&root, &root, Identity::Authority, at)));
            // Nobody is sent to the clock by a server that would be refused anyway.
            assert!(!is_about_time(&verified(&root, &other, Identity::Authority, at)));
            assert!(!is_about_time(&verified(&root, &root, Identity::Market, at)));
        }
    }
}

//! Changing the root without an interruption. For a transition period two roots are trusted: the new one,
//! which signs from now on, and the retiring one, whose certificates are still in use. Both are in `ca.pem`,
//! the new one first, and both have a list in `crl.pem`.

use std::fs;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::folder::Secrecy;
use super::{Party, Pki, PkiError, Status};
use crate::authority::Authority;

/// File names of the retiring root's certificate and key.
pub(super) const RETIRING: (&str, &str) = ("ca.old.pem", "ca.old.key");

impl Pki {
    /// Creates a new root, which signs everything from now on. The old root remains trusted, and its
    /// revocation list is still signed, until [`Pki::retire_root`].
    ///
    /// # Errors
    /// Returns [`PkiError::RootRetiring`] if a change is already in progress, and other variants if signing
    /// or writing a file fails.
    pub fn new_root(&mut self, now: OffsetDateTime) -> Result<(), PkiError> {
        self.change(|pki| {
            if pki.retiring.is_some() {
                return Err(PkiError::RootRetiring);
            }
            let next = Authority::create(pki.authority.trust_domain(), now, pki.random)?;
            let (cert, key) = RETIRING;
            // Save the old key under its new name before `ca.key` is overwritten, so that it is never lost.
            pki.write(&pki.path(key), pki.authority.key_pem().as_bytes(), Secrecy::Secret)?;
            pki.write(&pki.path(cert), pki.authority.certificate_pem().as_bytes(), Secrecy::Public)?;
            let both = format!("{}{}", next.certificate_pem(), pki.authority.certificate_pem());
            pki.write(&pki.path("ca.key"), next.key_pem().as_bytes(), Secrecy::Secret)?;
            pki.write(&pki.path("ca.pem"), both.as_bytes(), Secrecy::Public)?;
            pki.retiring = Some(std::mem::replace(&mut pki.authority, next));
            pki.write_crl(now)?;
            // Newcomers must get to know the new root, whose certificates outlast the old one's.
            if pki.setup.is_some() {
                pki.issue_authority(now)?;
            }
            Ok(())
        })
    }

    /// Finishes the change: the retiring root is no longer trusted, and its key is deleted.
    ///
    /// # Errors
    /// Returns [`PkiError::NoRootRetiring`] if no change is in progress, [`PkiError::SignedByRetiring`]
    /// without `force` if it would invalidate certificates in use, and other variants if signing or a file
    /// operation fails.
    pub fn retire_root(&mut self, force: bool, now: OffsetDateTime) -> Result<(), PkiError> {
        self.retire(force, false, now)
    }

    /// Finishes the change because the retiring root's key is known to others. Certificates that it has signed become
    /// invalid at once, and the chain of trust bundles begins again: nobody can follow the change, so everybody who has not
    /// followed it yet has to join again.
    ///
    /// # Errors
    /// Returns [`PkiError::NoRootRetiring`] if no change is in progress, and other variants if signing or a file operation
    /// fails.
    pub fn retire_compromised_root(&mut self, now: OffsetDateTime) -> Result<(), PkiError> {
        self.retire(true, true, now)
    }

    fn retire(&mut self, force: bool, is_compromised: bool, now: OffsetDateTime) -> Result<(), PkiError> {
        self.change(|pki| {
            let Some(retiring) = &pki.retiring else { return Err(PkiError::NoRootRetiring) };
            let left: Vec<_> = pki
                .parties()
                .into_iter()
                .filter(|party| party.status(now) == Status::Valid && is_signed_by(party, retiring))
                .map(|party| party.name.to_string())
                .collect();
            if !left.is_empty() && !force {
                return Err(PkiError::SignedByRetiring { names: left.join(", ") });
            }
            let own = pki.authority.certificate_pem().to_owned();
            pki.write(&pki.path("ca.pem"), own.as_bytes(), Secrecy::Public)?;
            let Some(retired) = pki.retiring.take() else { return Err(PkiError::NoRootRetiring) };
            pki.sign_lists(now)?;
            pki.publish_retirement(&retired, is_compromised, now)?;
            let (cert, key) = RETIRING;
            for path in [pki.path(key), pki.path(cert)] {
                fs::remove_file(&path).map_err(PkiError::io(&path))?;
            }
            Ok(())
        })
    }

    /// Returns whether a change of root is in progress.
    #[must_use]
    pub fn is_root_retiring(&self) -> bool {
        self.retiring.is_some()
    }
}

/// Returns whether the root signed the party's certificate, judged by the issuer name, which is distinct for
/// each root. A certificate that can't be read counts as signed by it: a superfluous question is better than
/// a party that loses access.
pub(super) fn is_signed_by(party: &Party, root: &Authority) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_file(&party.cert) else { return true };
    let issuer = X509Certificate::from_der(&certificate).map(|(_, leaf)| leaf.issuer().as_raw().to_vec());
    let subject =
        X509Certificate::from_der(root.certificate()).map(|(_, root)| root.subject().as_raw().to_vec());
    issuer.is_err() || subject.is_err() || issuer.ok() == subject.ok()
}

//! Changing the root without an interruption. For a transition period two roots are trusted: the new one,
//! which signs from now on, and the retiring one, whose certificates are still in use. Both are in `ca.pem`,
//! the new one first, and both have a list in `crl.pem`.

use std::fs;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use souk_certs::credentials::RetiredRoot;
use souk_certs::pem;
use souk_enrolment::trust::MAX_WALK;
use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::folder::{self, Secrecy};
use super::{Party, Pki, PkiError, Status};
use crate::authority::{Authority, AuthorityError};

/// File names of the retiring root's certificate and key.
pub(super) const RETIRING: (&str, &str) = ("ca.old.pem", "ca.old.key");

/// The file with the certificates of roots that were retired, the newest first.
pub(crate) const RETIRED_ROOTS: &str = "ca.retired.pem";
/// The file with their last revocation lists.
const RETIRED_LISTS: &str = "crl.retired.pem";

/// What to do about parties that have not renewed, with an enrolment service and without.
const RENEWED_BY_ITSELF: &str = "they renew by themselves when they are running or used, markets a day after root new; with --force, \
                                 they renew when they notice it, after an interruption of a moment";
const RENEWED_BY_HAND: &str = "renew them first (gen-certs.sh renew --all), or invalidate them with --force";

/// Maximum number of retired roots that are kept: nobody follows more changes.
const MAX_RETIRED: usize = MAX_WALK;

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
            // Newcomers must receive the new root, whose certificates outlast the old one's.
            if pki.setup.is_some() {
                pki.issue_authority(now)?;
            }
            Ok(())
        })
    }

    /// Finishes the change: the retiring root is no longer trusted, and its key is deleted. Its certificate is kept, so that
    /// the enrolment service recognizes its parties, who may renew.
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
                let remedy = if pki.setup.is_some() { RENEWED_BY_ITSELF } else { RENEWED_BY_HAND };
                return Err(PkiError::SignedByRetiring { names: left.join(", "), remedy });
            }
            // First, so that at no moment the service knows nothing of its parties.
            if is_compromised {
                pki.forget_retired()?
            } else {
                pki.keep_retired(retiring)?
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

    /// Returns the roots that were retired without having been compromised, the newest first. Their certificates may still
    /// be renewed.
    ///
    /// # Errors
    /// Returns [`PkiError::Lists`] or [`PkiError::Authority`] if a file is malformed, and other variants if it can't be read.
    pub(crate) fn retired_roots(&self) -> Result<Vec<RetiredRoot>, PkiError> {
        let (roots, lists) = (self.path(RETIRED_ROOTS), self.path(RETIRED_LISTS));
        if !roots.exists() {
            return Ok(Vec::new());
        }
        let roots: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(folder::read(&roots)?.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|_| AuthorityError::Certificate)?;
        let lists = parse_lists(&folder::read(&lists)?)?;
        // The files are written one after the other, so a root may lack its list.
        let with_list = roots.into_iter().filter_map(|certificate| {
            let list = lists.iter().find(|list| is_list_of(list, &certificate))?.clone();
            Some(RetiredRoot { certificate, list })
        });
        Ok(with_list.collect())
    }

    fn keep_retired(&self, root: &Authority) -> Result<(), PkiError> {
        let certificate = root.certificate().clone();
        // After a retirement that was interrupted, it is there already, and its list is not among the current ones any more.
        let list = self.lists()?.into_iter().find(|list| is_list_of(list, &certificate));
        let Some(list) = list else { return Ok(()) };
        let mut kept = self.retired_roots()?;
        kept.retain(|before| before.certificate != certificate);
        kept.insert(0, RetiredRoot { certificate, list });
        kept.truncate(MAX_RETIRED);
        let lists: String = kept.iter().map(|root| pem::encode("X509 CRL", &root.list)).collect();
        let roots: String = kept.iter().map(|root| pem::encode("CERTIFICATE", &root.certificate)).collect();
        self.write(&self.path(RETIRED_LISTS), lists.as_bytes(), Secrecy::Public)?;
        self.write(&self.path(RETIRED_ROOTS), roots.as_bytes(), Secrecy::Public)
    }

    /// Forgets the roots that were retired: with the chain of trust bundles broken, nobody could verify who renews them.
    fn forget_retired(&self) -> Result<(), PkiError> {
        folder::remove(&self.path(RETIRED_ROOTS))?;
        folder::remove(&self.path(RETIRED_LISTS))
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

/// Parses revocation lists in PEM.
pub(super) fn parse_lists(text: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, PkiError> {
    let lists = CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>();
    lists.map_err(|_| PkiError::Lists)
}

fn is_list_of(list: &CertificateRevocationListDer<'_>, root: &CertificateDer<'_>) -> bool {
    let issuer = CertificateRevocationList::from_der(list).map(|(_, list)| list.issuer().as_raw().to_vec());
    let subject = X509Certificate::from_der(root).map(|(_, root)| root.subject().as_raw().to_vec());
    matches!((issuer, subject), (Ok(issuer), Ok(subject)) if issuer == subject)
}

//! Publishing what the folder says as trust bundles, and recording what happened in its log. Both only where an enrolment
//! service is set up.

use std::collections::HashSet;

use rustls_pki_types::CertificateRevocationListDer;
use souk_enrolment::trust::{SignedBundle, TrustBundle, TrustedRoot};
use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::{Pki, PkiError, folder, roots};
use crate::authority::Authority;
use crate::log::{self, Did, Entry};
use crate::trust::publish::Bundles;

impl Pki {
    /// Returns the bundles of the folder.
    #[must_use]
    pub fn bundles(&self) -> Bundles {
        Bundles::of(&self.dir)
    }

    /// Returns the newest trust bundle; `None` before the first.
    ///
    /// # Errors
    /// Returns [`PkiError::Trust`] if it can't be read.
    pub fn newest_bundle(&self) -> Result<Option<SignedBundle>, PkiError> {
        Ok(self.bundles().newest()?.map(|(_, bundle)| bundle))
    }

    /// Returns the sequence at which the chain of bundles begins. Those before it were signed by a root that was
    /// compromised.
    #[must_use]
    pub fn trust_floor(&self) -> i64 {
        self.index.trust_floor
    }

    /// Returns when the revocation lists were signed.
    ///
    /// # Errors
    /// Returns [`PkiError::Lists`] if they can't be read.
    pub fn lists_signed_at(&self) -> Result<OffsetDateTime, PkiError> {
        let lists = self.lists()?;
        let signed = lists.iter().map(|list| {
            let (_, list) = CertificateRevocationList::from_der(list).map_err(|_| PkiError::Lists)?;
            Ok::<_, PkiError>(list.last_update().to_datetime())
        });
        signed.min_by_key(|at| at.as_ref().ok().copied()).ok_or(PkiError::Lists)?
    }

    /// Completes a change that was interrupted: signs the revocation lists that lack a certificate which is revoked in the
    /// index, and publishes the trust bundle that is missing.
    ///
    /// # Errors
    /// Returns [`PkiError::Trust`] if a bundle can't be signed or written, and other variants if a file can't be read.
    pub fn complete(&mut self, now: OffsetDateTime) -> Result<(), PkiError> {
        if self.is_revocation_unlisted(now)? {
            self.refresh_crl(now)?;
        }
        self.publish(now)
    }

    fn is_revocation_unlisted(&self, now: OffsetDateTime) -> Result<bool, PkiError> {
        let revocations = self.index.revocations(now)?;
        for list in self.lists()? {
            let (_, list) = CertificateRevocationList::from_der(&list).map_err(|_| PkiError::Lists)?;
            let listed: HashSet<Vec<u8>> = list
                .iter_revoked_certificates()
                .map(|entry| entry.raw_serial().iter().copied().skip_while(|byte| *byte == 0).collect())
                .collect();
            if revocations.iter().any(|revocation| !listed.contains(&revocation.serial)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Publishes a bundle if what the folder says differs from the newest one, as after a change that was interrupted.
    ///
    /// # Errors
    /// Returns [`PkiError::Trust`] if it can't be signed or written, and other variants if a file can't be read.
    pub fn publish(&mut self, now: OffsetDateTime) -> Result<(), PkiError> {
        self.change(|pki| pki.publish_changes(now))
    }

    /// Like [`Pki::publish`], for a caller that holds the lock.
    pub(super) fn publish_changes(&mut self, now: OffsetDateTime) -> Result<(), PkiError> {
        if self.setup.is_none() {
            return Ok(());
        }
        let bundle = self.contents(self.index.trust_sequence + 1, now)?;
        if !self.bundles().differs(&bundle)? {
            return Ok(());
        }
        self.publish_as(&bundle, None, false, now)
    }

    /// Publishes the bundle after the retirement of a root, which signs it too unless it was compromised.
    pub(super) fn publish_retirement(
        &mut self,
        retired: &Authority,
        is_compromised: bool,
        now: OffsetDateTime,
    ) -> Result<(), PkiError> {
        if self.setup.is_none() {
            return Ok(());
        }
        let bundle = self.contents(self.index.trust_sequence + 1, now)?;
        self.publish_as(&bundle, (!is_compromised).then_some(retired), is_compromised, now)
    }

    fn publish_as(
        &mut self,
        bundle: &TrustBundle,
        retired: Option<&Authority>,
        is_new_chain: bool,
        now: OffsetDateTime,
    ) -> Result<(), PkiError> {
        // Saved first, so that no sequence is used twice even if the process is killed in between.
        self.index.trust_sequence = bundle.sequence;
        if is_new_chain {
            self.index.trust_floor = bundle.sequence;
        }
        self.save()?;
        let roots = [Some(&self.authority), self.retiring.as_ref(), retired];
        let signers: Vec<_> = roots.into_iter().flatten().map(Authority::signer).collect();
        self.bundles().publish(bundle, &signers, is_new_chain, self.random.uuid_v4())?;
        let entry = Entry { sequence: u64::try_from(bundle.sequence).ok(), ..Entry::new(Did::Publish) };
        self.record(&[entry], now)
    }

    fn contents(&self, sequence: i64, now: OffsetDateTime) -> Result<TrustBundle, PkiError> {
        let lists = self.lists()?;
        // Both were written in the same order, see `write_crl`.
        let roots = std::iter::once(&self.authority).chain(&self.retiring);
        let roots = roots
            .zip(lists)
            .map(|(root, list)| TrustedRoot { certificate: root.certificate().clone(), list });
        let texts =
            |addresses: &[souk_certs::connector::Dial]| addresses.iter().map(ToString::to_string).collect();
        let setup = self.setup.as_ref();
        Ok(TrustBundle {
            sequence,
            trust_domain: self.trust_domain().clone(),
            created_at: now,
            roots: roots.collect(),
            markets: setup.map_or_else(Vec::new, |setup| texts(&setup.markets)),
            authorities: setup.map_or_else(Vec::new, |setup| texts(std::slice::from_ref(&setup.public))),
        })
    }

    pub(super) fn lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, PkiError> {
        roots::parse_lists(&folder::read(&self.path("crl.pem"))?)
    }

    /// Appends entries to the log, if an enrolment service is set up. The caller holds the lock.
    pub(crate) fn record(&self, entries: &[Entry], now: OffsetDateTime) -> Result<(), PkiError> {
        if self.setup.is_some() {
            log::append(&self.dir, entries, now)?;
        }
        Ok(())
    }
}

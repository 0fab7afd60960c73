//! Certificates for keys that never leave their machines, asked for by the network: an invited party's first one, and the
//! next one of a party that has one.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use souk_certs::credentials::RENEWAL_GRACE;
use souk_certs::identity::{Identity, PeerCertificate, Role};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::change::{Origin, check_reserved};
use super::index::Record;
use super::{AUTHORITY, MARKET, Party, PartyName, Pki, PkiError, roots};
use crate::authority::{LEAF_VALIDITY, LeafOptions, ProvenKey};
use crate::log::Entry;

/// A certificate for a key made elsewhere.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The party.
    pub party: Party,
}

/// Maximum number of certificates of a party within [`RENEWALS_COUNTED`], so that one that renews in a loop does not fill
/// the index.
const MAX_RENEWALS: usize = 20;
/// The time in which a party's certificates are counted.
const RENEWALS_COUNTED: Duration = Duration::DAY;

/// Why a certificate is not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRenewed {
    /// The authority has not issued it, or forgot it.
    Unknown,
    /// It was revoked, or its successor was.
    Revoked,
    /// It ended longer ago than [`RENEWAL_GRACE`].
    Ended,
    /// A later one exists, for another key.
    Superseded,
    /// The party has renewed too often in the last day.
    TooOften,
}

impl Pki {
    /// Creates the identity of an invited party, or finds the one that `again` keeps, and signs a certificate for its key.
    /// A repetition for the same key returns the same certificate. The caller holds the lock, and has recorded the use of
    /// the invitation.
    pub(crate) fn enrol(
        &mut self,
        (name, role, again): (&str, Role, bool),
        key: &ProvenKey,
        entry: Entry,
        now: OffsetDateTime,
    ) -> Result<Enrolled, PkiError> {
        let name: PartyName = name.parse()?;
        let current = self.index.current(&name).cloned();
        match current {
            Some(current)
                if current.role.0 == role && current.key_sha256.as_deref() == Some(key.sha256()) =>
            {
                if current.revoked.is_some() {
                    return Err(PkiError::Revoked { name: name.to_string() });
                }
                self.sign_again(&current, key, entry, now)
            }
            Some(current) if again && current.role.0 == role => {
                self.sign_for(&name, current.identity(), key, entry, now)
            }
            Some(_) => Err(PkiError::NameTaken { name: name.to_string() }),
            None => self.sign_for(&name, self.new_identity(role), key, entry, now),
        }
    }

    /// Signs the next certificate of the party that has shown one with this serial number and the SHA-256 of this public
    /// key. Only the newest certificate of a
    /// party renews; the one before does so only for the key of the newest, whose answer was lost. The caller holds the
    /// lock.
    pub(crate) fn renew_for(
        &mut self,
        (serial, shown_key): (&str, &str),
        key: &ProvenKey,
        entry: Entry,
        now: OffsetDateTime,
    ) -> Result<Result<Enrolled, NotRenewed>, PkiError> {
        let records = &self.index.certificates;
        let Some(at) = records.iter().position(|record| record.serial == serial) else {
            return Ok(Err(NotRenewed::Unknown));
        };
        let shown = records[at].clone();
        if self.key_of(&shown).as_deref() != Some(shown_key) {
            return Ok(Err(NotRenewed::Unknown));
        }
        let later: Vec<_> =
            records[at + 1..].iter().filter(|record| record.name == shown.name).cloned().collect();
        if shown.revoked.is_some() || later.iter().any(|record| record.revoked.is_some()) {
            return Ok(Err(NotRenewed::Revoked));
        }
        if now > shown.not_after + RENEWAL_GRACE {
            return Ok(Err(NotRenewed::Ended));
        }
        // A certificate is valid from a few minutes before it was signed.
        let is_recent =
            |record: &&Record| record.name == shown.name && record.not_before > now - RENEWALS_COUNTED;
        let is_too_often = self.index.certificates.iter().filter(is_recent).count() >= MAX_RENEWALS;
        match later.last() {
            Some(newest) if later.iter().all(|record| is_for(record, key)) => {
                self.sign_again(newest, key, entry, now).map(Ok)
            }
            Some(_) => Ok(Err(NotRenewed::Superseded)),
            None if is_too_often => Ok(Err(NotRenewed::TooOften)),
            None => self.sign_for(&shown.name, shown.identity(), key, entry, now).map(Ok),
        }
    }

    /// Returns whether a certificate for this key was revoked.
    pub(crate) fn is_key_revoked(&self, key: &ProvenKey) -> bool {
        self.index.certificates.iter().any(|record| record.revoked.is_some() && is_for(record, key))
    }

    /// Returns whether a party with this name and role may be invited. With `again` it must exist.
    ///
    /// # Errors
    /// Returns [`PkiError::Name`] or [`PkiError::Reserved`] for a name that nobody can have, [`PkiError::NameTaken`], and
    /// with `again` [`PkiError::UnknownParty`] or [`PkiError::OtherRole`].
    pub fn check_invitation(&self, name: &str, role: Role, again: bool) -> Result<PartyName, PkiError> {
        let name: PartyName = name.parse()?;
        check_reserved(&name)?;
        if name.as_str() == MARKET || role == Role::Authority {
            return Err(PkiError::Reserved { name: name.to_string() });
        }
        match (self.index.current(&name), again) {
            (Some(_), false) => Err(PkiError::Known { name: name.to_string() }),
            (Some(current), true) if current.role.0 != role => {
                Err(PkiError::OtherRole { name: name.to_string(), role: current.role.0 })
            }
            (None, true) => Err(PkiError::UnknownParty { name: name.to_string() }),
            _ => Ok(name),
        }
    }

    /// Issues the next certificate of the enrolment service if two thirds of the life of its present one are over, another
    /// root signs now, or its file is missing because the process was killed while it was issued.
    ///
    /// # Errors
    /// Returns [`PkiError::UnknownParty`] if no enrolment service is set up, and other variants if signing or writing a file
    /// fails.
    pub fn renew_authority(&mut self, now: OffsetDateTime) -> Result<(), PkiError> {
        let is_due = |pki: &Self| {
            let party = pki.find(AUTHORITY)?;
            let due = party.not_before + (party.not_after - party.not_before) * 2 / 3;
            let is_there = pki.file_of(&party.name, &party.serial, "pem").is_some();
            Ok::<_, PkiError>(now >= due || !is_there || !roots::is_signed_by(&party, &pki.authority))
        };
        if !is_due(self)? {
            return Ok(());
        }
        self.change(|pki| if is_due(pki)? { pki.issue_authority(now).map(drop) } else { Ok(()) })
    }

    /// Issues the certificate of the enrolment service itself.
    pub(super) fn issue_authority(&mut self, now: OffsetDateTime) -> Result<Party, PkiError> {
        let name: PartyName = AUTHORITY.parse()?;
        if self.index.current(&name).is_some_and(|record| record.identity() != Identity::Authority) {
            return Err(PkiError::NameTaken { name: name.to_string() });
        }
        self.mint(&name, Identity::Authority, LEAF_VALIDITY, now)
    }

    /// Returns the SHA-256 of the public key that a certificate was issued for, as far as that is still known. A retired
    /// root does not vouch for it: its key may have been stolen since, and have signed a certificate with the same serial number.
    fn key_of(&self, record: &Record) -> Option<String> {
        if let Some(sha256) = &record.key_sha256 {
            return Some(sha256.clone());
        }
        let mut kinds = ["pem", "old.pem"].into_iter();
        let file = kinds.find_map(|kind| self.file_of(&record.name, &record.serial, kind))?;
        let (_, leaf) = X509Certificate::from_der(&file).ok()?;
        Some(HEXLOWER.encode(digest(&SHA256, leaf.public_key().raw).as_ref()))
    }

    /// Reads a file of a party, if it is the certificate with this serial number.
    fn file_of(&self, name: &PartyName, serial: &str, kind: &str) -> Option<CertificateDer<'static>> {
        let file = CertificateDer::from_pem_file(self.path(&format!("{name}.{kind}"))).ok()?;
        let peer = PeerCertificate::from_der(&file, self.trust_domain()).ok()?;
        (HEXLOWER.encode(peer.serial()) == serial).then_some(file)
    }

    fn new_identity(&self, role: Role) -> Identity {
        Identity::new(role, self.random.uuid_v4())
    }

    /// Returns the certificate of a record if its file was written, and signs another one for the same key if the process
    /// was killed before.
    fn sign_again(
        &mut self,
        record: &Record,
        key: &ProvenKey,
        entry: Entry,
        now: OffsetDateTime,
    ) -> Result<Enrolled, PkiError> {
        match self.file_of(&record.name, &record.serial, "pem") {
            Some(certificate) => Ok(Enrolled { certificate, party: self.party(record) }),
            None => self.sign_for(&record.name, record.identity(), key, entry, now),
        }
    }

    fn sign_for(
        &mut self,
        name: &PartyName,
        identity: Identity,
        key: &ProvenKey,
        entry: Entry,
        now: OffsetDateTime,
    ) -> Result<Enrolled, PkiError> {
        let leaf: LeafOptions = self.leaf_options(name, LEAF_VALIDITY);
        let signed = self.authority.sign(&identity, key, &leaf, now)?;
        let origin = Origin::network(key.sha256(), entry);
        let party = self.put(name, identity, &leaf, &signed, origin, now)?;
        Ok(Enrolled { certificate: signed.certificate, party })
    }
}

fn is_for(record: &Record, key: &ProvenKey) -> bool {
    record.key_sha256.as_deref() == Some(key.sha256())
}

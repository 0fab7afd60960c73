//! Changes to the folder. Each one takes the lock, rereads the index, writes the index first and the files
//! after it.

use std::path::Path;

use data_encoding::HEXLOWER;
use souk_certs::identity::{Identity, Role};
use time::OffsetDateTime;
use uuid::Uuid;

use super::begin;
use super::folder::{self, Secrecy};
use super::index::{Record, RoleName};
use super::{AUTHORITY, InitOptions, IssueOptions, MARKET, Party, PartyName, Pki, PkiError};
use crate::authority::{Issued, LEAF_VALIDITY, LeafOptions};
use crate::log::{Did, Entry};

impl Pki {
    /// Issues a key and a certificate to a new party, with a new identity unless `options` has a UUID.
    ///
    /// # Errors
    /// Returns [`PkiError::Name`], [`PkiError::MarketName`], [`PkiError::UuidTaken`] or, without `force`,
    /// [`PkiError::NameTaken`] or [`PkiError::FileInTheWay`], and other variants if signing or writing a file
    /// fails.
    pub fn issue(
        &mut self,
        name: &str,
        role: Role,
        options: &IssueOptions,
        now: OffsetDateTime,
    ) -> Result<Party, PkiError> {
        let name = party_name(name, role)?;
        self.change(|pki| {
            pki.check_free(&name, options)?;
            let identity = Identity::new(role, options.uuid.unwrap_or_else(|| pki.random.uuid_v4()));
            pki.mint(&name, identity, options.validity, now)
        })
    }

    /// Signs a certificate for the public key of a signing request; see
    /// [`Authority::sign_csr`](crate::authority::Authority::sign_csr). With `force`, an existing party of the
    /// same name and role keeps its identity.
    ///
    /// # Errors
    /// Returns the errors of [`Pki::issue`], and [`PkiError::Authority`] if the request is not acceptable.
    pub fn sign_csr(
        &mut self,
        request_pem: &str,
        name: &str,
        role: Role,
        options: &IssueOptions,
        now: OffsetDateTime,
    ) -> Result<Party, PkiError> {
        let name = party_name(name, role)?;
        self.change(|pki| {
            pki.check_free(&name, options)?;
            let current =
                pki.index.current(&name).filter(|record| record.role.0 == role).map(|record| record.uuid);
            let uuid = options.uuid.or(current).unwrap_or_else(|| pki.random.uuid_v4());
            let identity = Identity::new(role, uuid);
            let leaf = pki.leaf_options(&name, options.validity);
            let signed = pki.authority.sign_csr(request_pem, &identity, &leaf, now)?;
            pki.put(&name, identity, &leaf, &signed, Origin::of(Key::Unknown), now)
        })
    }

    /// Issues a new key and certificate for a party's existing identity.
    ///
    /// The replaced files are kept as `NAME.old.pem` and `NAME.old.key`. The old certificate remains valid
    /// until it expires or the party is revoked, so that the party can switch without an interruption. A new
    /// revocation list is signed too, which saves a separate `gen-certs crl` at each renewal.
    ///
    /// # Errors
    /// Returns [`PkiError::UnknownParty`], [`PkiError::Revoked`] unless `reinstate` is set,
    /// [`PkiError::KeyElsewhere`] if the party can be renewed only by a new signing request, and other
    /// variants if signing or writing a file fails.
    pub fn renew(&mut self, name: &str, reinstate: bool, now: OffsetDateTime) -> Result<Party, PkiError> {
        self.change(|pki| {
            let record = pki.named(name)?.clone();
            if record.revoked.is_some() && !reinstate {
                return Err(PkiError::Revoked { name: record.name.to_string() });
            }
            if record.key_elsewhere {
                let (name, role) = (record.name.to_string(), record.role.0.to_string());
                return Err(PkiError::KeyElsewhere { name, role });
            }
            let party = pki.mint(&record.name, record.identity(), LEAF_VALIDITY, now)?;
            pki.write_crl(now)?;
            Ok(party)
        })
    }

    /// Revokes every certificate of a party that is not yet expired or revoked, and signs a new revocation
    /// list. Returns the number of certificates revoked by this call.
    ///
    /// # Errors
    /// Returns [`PkiError::UnknownParty`], and other variants if signing or writing a file fails.
    pub fn revoke(&mut self, name: &str, now: OffsetDateTime) -> Result<usize, PkiError> {
        self.change(|pki| {
            let name = pki.named(name)?.name.clone();
            let revoked = pki.index.revoke(&name, now);
            pki.save()?;
            // Before the log: a full disk must not let the party go on.
            pki.write_crl(now)?;
            let count = u64::try_from(revoked).unwrap_or(u64::MAX);
            pki.record(&[Entry { name: Some(name.to_string()), count, ..Entry::new(Did::Revoke) }], now)?;
            Ok(revoked)
        })
    }

    /// Signs a new revocation list, due for replacement in 30 days, and returns its number.
    ///
    /// # Errors
    /// Returns an error if signing or writing a file fails.
    pub fn refresh_crl(&mut self, now: OffsetDateTime) -> Result<u64, PkiError> {
        self.skip_to(0, now)
    }

    /// Signs a new revocation list with a number of at least `number`, and publishes a trust bundle with a sequence of at
    /// least that. After the folder was restored from a backup, this goes past what it had given out since. Returns the
    /// list's number.
    ///
    /// # Errors
    /// Returns an error if signing or writing a file fails.
    pub fn skip_to(&mut self, number: u64, now: OffsetDateTime) -> Result<u64, PkiError> {
        self.change(|pki| {
            // Both are increased by one when they are used.
            let before = number.saturating_sub(1);
            pki.index.crl_number = pki.index.crl_number.max(before);
            let sequence = i64::try_from(before).unwrap_or(i64::MAX - 1);
            pki.index.trust_sequence = pki.index.trust_sequence.max(sequence);
            pki.write_crl(now).map(|()| pki.index.crl_number)
        })
    }

    /// Generates a new token-signing key. The current key becomes the previous one, whose tokens the market
    /// still accepts; the key before that is overwritten.
    ///
    /// # Errors
    /// Returns an error if generating the key or a file operation fails.
    pub fn rotate_token_key(&mut self) -> Result<(), PkiError> {
        self.change(|pki| {
            let (current, previous) = (pki.token_key_path(), pki.previous_token_key_path());
            // Copied, not moved, so that there is a current key at every moment.
            let contents = folder::read(&current)?;
            pki.write(&previous, contents.as_bytes(), Secrecy::Secret)?;
            pki.write(&current, begin::token_key()?.as_bytes(), Secrecy::Secret)
        })
    }

    pub(super) fn issue_market(
        &mut self,
        options: &InitOptions,
        now: OffsetDateTime,
    ) -> Result<Party, PkiError> {
        let name = party_name(MARKET, Role::Market)?;
        let leaf = LeafOptions {
            common_name: name.to_string(),
            dns: options.dns.clone(),
            ip: options.ip.clone(),
            validity: LEAF_VALIDITY,
        };
        let (signed, key) = self.authority.issue(&Identity::Market, &leaf, now)?;
        self.put(&name, Identity::Market, &leaf, &signed, Origin::of(Key::Here(&key)), now)
    }

    /// Signs the next revocation list. The index with the new number is saved before the list is written, so
    /// that no number is used twice even if the process is killed in between.
    pub(super) fn write_crl(&mut self, now: OffsetDateTime) -> Result<(), PkiError> {
        self.sign_lists(now)?;
        self.publish_changes(now)
    }

    /// Like [`Pki::write_crl`], for a caller that publishes the trust bundle.
    pub(super) fn sign_lists(&mut self, now: OffsetDateTime) -> Result<(), PkiError> {
        self.index.crl_number += 1;
        self.index.prune(now);
        self.save()?;
        let (number, revocations) = (self.index.crl_number, self.index.revocations(now)?);
        // Both roots' lists contain all revocations, without regard to which root signed the certificate.
        // That is safe because serial numbers are random and unique across both roots.
        let mut lists = self.authority.crl(number, &revocations, now)?;
        if let Some(retiring) = &self.retiring {
            lists += &retiring.crl(number, &revocations, now)?;
        }
        self.write(&self.path("crl.pem"), lists.as_bytes(), Secrecy::Public)
    }

    /// Runs a change under the lock, on freshly read files: another process may have changed the folder since
    /// it was opened.
    pub(crate) fn change<T, E: From<PkiError>>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let _lock = folder::lock(&self.dir)?;
        *self = Self::open_with(&self.dir, self.random)?;
        change(self)
    }

    /// Replaces a file atomically.
    pub(super) fn write(&self, path: &Path, contents: &[u8], secrecy: Secrecy) -> Result<(), PkiError> {
        folder::write(path, contents, secrecy, self.random.uuid_v4())
    }

    pub(super) fn save(&self) -> Result<(), PkiError> {
        let text = self.index.to_json()?;
        // What could not be read again would shut out everybody, also those who revoke.
        if u64::try_from(text.len()).is_ok_and(|bytes| bytes > folder::MAX_FILE_BYTES) {
            return Err(PkiError::Index { reason: "it would become larger than 16 MiB".to_owned() });
        }
        self.write(&self.path("index.json"), text.as_bytes(), Secrecy::Secret)
    }

    fn check_free(&self, name: &PartyName, options: &IssueOptions) -> Result<(), PkiError> {
        if let Some(holder) = options.uuid.and_then(|uuid| self.index.holder(uuid))
            && holder.name != *name
        {
            return Err(PkiError::UuidTaken { uuid: holder.uuid, name: holder.name.to_string() });
        }
        if options.force {
            return Ok(());
        }
        if self.index.current(name).is_some() {
            return Err(PkiError::NameTaken { name: name.to_string() });
        }
        match ["pem", "key"]
            .map(|kind| self.path(&format!("{name}.{kind}")))
            .into_iter()
            .find(|path| path.exists())
        {
            Some(path) => Err(PkiError::FileInTheWay { path }),
            None => Ok(()),
        }
    }

    /// Returns the options for a party's next certificate. DNS names and IP addresses carry over from the
    /// current one.
    pub(super) fn leaf_options(&self, name: &PartyName, validity: time::Duration) -> LeafOptions {
        let (dns, ip) = self
            .index
            .current(name)
            .map(|record| (record.dns.clone(), record.ip.clone()))
            .unwrap_or_default();
        LeafOptions { common_name: name.to_string(), dns, ip, validity }
    }

    pub(super) fn mint(
        &mut self,
        name: &PartyName,
        identity: Identity,
        validity: time::Duration,
        now: OffsetDateTime,
    ) -> Result<Party, PkiError> {
        let leaf = self.leaf_options(name, validity);
        let (signed, key) = self.authority.issue(&identity, &leaf, now)?;
        self.put(name, identity, &leaf, &signed, Origin::of(Key::Here(&key)), now)
    }

    /// Records a signed certificate in the index, then replaces the party's files.
    pub(super) fn put(
        &mut self,
        name: &PartyName,
        identity: Identity,
        leaf: &LeafOptions,
        signed: &Issued,
        Origin { key, entry }: Origin<'_>,
        now: OffsetDateTime,
    ) -> Result<Party, PkiError> {
        let record = Record {
            name: name.clone(),
            role: RoleName(identity.role()),
            uuid: identity.uuid().unwrap_or_else(Uuid::nil),
            serial: HEXLOWER.encode(signed.peer.serial()),
            not_before: signed.peer.not_before(),
            not_after: signed.peer.not_after(),
            revoked: None,
            key_elsewhere: !matches!(key, Key::Here(_)),
            key_sha256: match key {
                Key::Elsewhere(sha256) => Some(sha256.to_owned()),
                Key::Here(_) | Key::Unknown => None,
            },
            dns: leaf.dns.clone(),
            ip: leaf.ip.clone(),
        };
        let party = self.party(&record);
        // If the name passes to another identity, revoke the certificates of the previous holder now, since
        // they could no longer be revoked by name.
        let replaced = self.index.current(name).is_some_and(|current| current.identity() != identity)
            && self.index.revoke(name, now) > 0;
        let entry = Entry {
            name: Some(name.to_string()),
            role: Some(identity.role().as_str()),
            serial: Some(record.serial.clone()),
            ..entry
        };
        self.index.certificates.push(record);
        self.save()?;
        // Before the certificate is in a file, so that nobody has one that the log does not mention.
        self.record(&[entry], now)?;
        if replaced {
            self.write_crl(now)?;
        }
        for kind in ["pem", "key"] {
            folder::keep_as(
                &self.path(&format!("{name}.{kind}")),
                &self.path(&format!("{name}.old.{kind}")),
            )?;
        }
        // The certificate comes last: once `NAME.pem` exists, so do its key and its index entry.
        if let (Some(path), Key::Here(key)) = (&party.key, key) {
            self.write(path, key.as_bytes(), Secrecy::Secret)?;
        }
        // The enrolment service sends the root after its own certificate, because newcomers know only the root's hash.
        let root = if identity == Identity::Authority { self.authority.certificate_pem() } else { "" };
        let chain = format!("{}{root}", signed.certificate_pem);
        self.write(&party.cert, chain.as_bytes(), Secrecy::Public)?;
        Ok(party)
    }
}

/// What a new certificate is due to.
pub(super) struct Origin<'a> {
    key: Key<'a>,
    /// The entry of the log. Name, role and serial number are added.
    entry: Entry,
}

impl<'a> Origin<'a> {
    fn of(key: Key<'a>) -> Self {
        Origin { key, entry: Entry::new(Did::Issue) }
    }

    /// Returns the origin of a certificate that was asked for over the network, for the public key with this SHA-256.
    pub(super) fn network(key_sha256: &'a str, entry: Entry) -> Self {
        Origin { key: Key::Elsewhere(key_sha256), entry }
    }
}

/// Where the private key of a new certificate is.
#[derive(Clone, Copy)]
enum Key<'a> {
    /// In the folder, as this PEM.
    Here(&'a str),
    /// Elsewhere; the certificate was asked for over the network, for the public key with this SHA-256.
    Elsewhere(&'a str),
    /// Elsewhere; the operator has signed a request.
    Unknown,
}

/// Parses a party name and checks it against the role. The name `market` is reserved for the market, whose
/// files another party's would otherwise overwrite.
fn party_name(name: &str, role: Role) -> Result<PartyName, PkiError> {
    let name: PartyName = name.parse()?;
    check_reserved(&name)?;
    if role == Role::Authority {
        return Err(PkiError::Reserved { name: role.to_string() });
    }
    if (role == Role::Market) == (name.as_str() == MARKET) { Ok(name) } else { Err(PkiError::MarketName) }
}

/// Refuses names of the enrolment service for new parties. A folder made before there was one may contain them, so they
/// are no malformed names.
pub(super) fn check_reserved(name: &PartyName) -> Result<(), PkiError> {
    let is_reserved = [AUTHORITY, crate::trust::publish::FOLDER].contains(&name.as_str());
    if is_reserved { Err(PkiError::Reserved { name: name.to_string() }) } else { Ok(()) }
}

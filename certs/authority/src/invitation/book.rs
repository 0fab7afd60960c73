//! `invitations.json`: the invitations, with the hash of each secret. The secrets themselves exist only in the codes.
//!
//! A use is recorded here, under the folder's lock, before the certificate is signed. It binds the invitation to a public
//! key: another key is refused, and a repetition with the same key gets the same answer.

mod as_text;
mod error;

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use souk_certs::file::{self, Secrecy};
use souk_certs::identity::Role;
use souk_enrolment::code::{InvitationId, Secret};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

pub use error::BookError;

/// The name of the file.
pub const FILE: &str = "invitations.json";

/// Maximum number of open invitations.
pub const MAX_OPEN: usize = 10_000;
/// Shortest time for which an invitation may be valid.
pub const MIN_VALIDITY: Duration = Duration::minutes(5);
/// Longest time for which an invitation may be valid.
pub const MAX_VALIDITY: Duration = Duration::days(7);
/// How long after its first use an invitation answers a repetition with the same key.
pub const REPEATABLE: Duration = Duration::minutes(15);
/// How long an invitation that is no longer open is kept, so that its holder learns why it is refused.
pub const KEPT: Duration = Duration::days(30);

/// Maximum size of the file: the open invitations, and as many that are no longer open, at about 500 bytes each.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Maximum number of invitations in the file. Of those that are not open, the oldest give way.
const MAX_KEPT: usize = 2 * MAX_OPEN;

/// Format version of the file.
const VERSION: u32 = 1;

/// The contents of the file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Book {
    version: u32,
    invitations: Vec<Invitation>,
}

/// An invitation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// The id, in the code.
    #[serde(with = "as_text")]
    pub id: InvitationId,
    secret_sha256: String,
    /// The role of the certificate.
    #[serde(with = "as_text")]
    pub role: Role,
    /// The name of the party.
    pub name: String,
    /// Whether the party exists, and keeps its identity.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The SHA-256 of the root certificate that the code names, in lower-case hexadecimal.
    root_sha256: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// The last moment at which it can be used.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option", default, skip_serializing_if = "Option::is_none")]
    cancelled: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option", default, skip_serializing_if = "Option::is_none")]
    locked: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<Use>,
}

/// The first use of an invitation.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Use {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    key_sha256: String,
}

/// The state of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It can be used.
    Open,
    /// It was used.
    Used,
    /// Its time is over.
    Expired,
    /// It was cancelled, or names a root that signs no more.
    Cancelled,
    /// Too many wrong secrets were sent for it.
    Locked,
}

impl State {
    /// Returns the state as one word, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Used => "used",
            State::Expired => "expired",
            State::Cancelled => "cancelled",
            State::Locked => "locked",
        }
    }
}

/// What is needed to make an invitation.
#[derive(Clone, Debug)]
pub struct NewInvitation {
    /// The role of the certificate.
    pub role: Role,
    /// The name of the party.
    pub name: String,
    /// Whether the party exists, and keeps its identity.
    pub again: bool,
    /// How long it is valid, from [`MIN_VALIDITY`] to [`MAX_VALIDITY`].
    pub validity: Duration,
}

/// How a use relates to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the first. The book must be written before anything is signed.
    First,
    /// It repeats the first with the same key.
    Again,
}

/// Why the holder of the right secret gets no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Its time is over.
    Expired,
    /// It was used with another key or too long ago, or cancelled.
    Used,
    /// Too many wrong secrets were sent for it.
    Locked,
    /// It is for another role.
    Role(Role),
}

impl Invitation {
    /// Returns its state. `root_sha256` is the hash of the root that signs now.
    #[must_use]
    pub fn state(&self, root_sha256: &str, now: OffsetDateTime) -> State {
        if self.used.is_some() {
            State::Used
        } else if self.cancelled.is_some() || self.root_sha256 != root_sha256 {
            State::Cancelled
        } else if self.locked.is_some() {
            State::Locked
        } else if now > self.expires {
            State::Expired
        } else {
            State::Open
        }
    }

    /// Returns the hash of the secret, in lower-case hexadecimal.
    pub(super) fn secret_sha256(&self) -> &str {
        &self.secret_sha256
    }

    /// Returns whether it was locked.
    pub(super) fn is_locked(&self) -> bool {
        self.locked.is_some()
    }

    fn closed_at(&self) -> OffsetDateTime {
        let used = self.used.as_ref().map(|used| used.at);
        used.or(self.cancelled).or(self.locked).unwrap_or(self.expires)
    }
}

impl Book {
    /// Reads the book in a folder. One that does not exist is empty.
    ///
    /// # Errors
    /// Returns [`BookError::File`] or [`BookError::Format`].
    pub fn read(dir: &Path) -> Result<Self, BookError> {
        let path = dir.join(FILE);
        let text = match file::read(&path, MAX_FILE_BYTES) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Book { version: VERSION, invitations: Vec::new() });
            }
            read => read.map_err(|source| BookError::File { path: path.clone(), source })?,
        };
        let format = |reason: String| BookError::Format { path: path.clone(), reason };
        let book: Book = serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
        if book.version != VERSION {
            return Err(format(format!("it has version {}, and this program knows {VERSION}", book.version)));
        }
        Ok(book)
    }

    /// Writes the book with mode 0600. The caller holds the folder's lock. `unique` is a new id, for the name of a temporary
    /// file. What was closed longer than [`KEPT`] ago is left out.
    ///
    /// # Errors
    /// Returns [`BookError::File`].
    pub fn write(
        &mut self,
        dir: &Path,
        root_sha256: &str,
        unique: Uuid,
        now: OffsetDateTime,
    ) -> Result<(), BookError> {
        self.tidy(root_sha256, now);
        let path = dir.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::other);
        text.and_then(|text| file::replace(&path, text.as_bytes(), Secrecy::Secret, unique))
            .map_err(|source| BookError::File { path, source })
    }

    fn tidy(&mut self, root_sha256: &str, now: OffsetDateTime) {
        let is_open = |invitation: &Invitation| invitation.state(root_sha256, now) == State::Open;
        self.invitations.retain(|invitation| is_open(invitation) || invitation.closed_at() + KEPT >= now);
        let mut surplus = self.invitations.len().saturating_sub(MAX_KEPT);
        // The oldest come first.
        self.invitations.retain(|invitation| {
            let goes = surplus > 0 && !is_open(invitation);
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// Returns all invitations, the oldest first.
    #[must_use]
    pub fn invitations(&self) -> &[Invitation] {
        &self.invitations
    }

    /// Adds an invitation. With `again`, open ones for the same name are cancelled.
    ///
    /// # Errors
    /// Returns [`BookError::Validity`], [`BookError::Invited`] without `again` if the name has an open one, and
    /// [`BookError::Full`].
    pub fn invite(
        &mut self,
        new: NewInvitation,
        (id, secret): (InvitationId, &Secret),
        root_sha256: &str,
        now: OffsetDateTime,
    ) -> Result<&Invitation, BookError> {
        if !(MIN_VALIDITY..=MAX_VALIDITY).contains(&new.validity) {
            return Err(BookError::Validity);
        }
        let is_open = |invitation: &&mut Invitation| invitation.state(root_sha256, now) == State::Open;
        let mut open = 0;
        for other in self.invitations.iter_mut().filter(is_open) {
            if other.name == new.name && !new.again {
                return Err(BookError::Invited { name: new.name, id: other.id });
            }
            if other.name == new.name {
                other.cancelled = Some(now);
            } else {
                open += 1;
            }
        }
        if open >= MAX_OPEN {
            return Err(BookError::Full);
        }
        self.invitations.push(Invitation {
            id,
            secret_sha256: sha256_hex(secret.reveal()),
            role: new.role,
            name: new.name,
            again: new.again,
            root_sha256: root_sha256.to_owned(),
            created: now,
            expires: now + new.validity,
            cancelled: None,
            locked: None,
            used: None,
        });
        // Just pushed.
        self.invitations.last().ok_or(BookError::Full)
    }

    /// Cancels an open invitation. Returns its name.
    ///
    /// # Errors
    /// Returns [`BookError::Unknown`], or [`BookError::NotOpen`] if it is not open any more.
    pub fn cancel(
        &mut self,
        id: InvitationId,
        root_sha256: &str,
        now: OffsetDateTime,
    ) -> Result<&Invitation, BookError> {
        let found = self.invitations.iter_mut().find(|invitation| invitation.id == id);
        let found = found.ok_or(BookError::Unknown { id })?;
        match found.state(root_sha256, now) {
            State::Open | State::Locked => found.cancelled = Some(now),
            state => return Err(BookError::NotOpen { id, state: state.as_str() }),
        }
        Ok(found)
    }

    /// Locks an invitation, if it is open.
    pub fn lock(&mut self, id: InvitationId, now: OffsetDateTime) {
        if let Some(found) = self.invitations.iter_mut().find(|invitation| invitation.id == id)
            && found.used.is_none()
        {
            found.locked.get_or_insert(now);
        }
    }

    /// Uses an invitation for a public key, whose hash is `key_sha256`. The caller has checked the secret. A refusal leaves
    /// it unused.
    ///
    /// # Errors
    /// Returns why it can't be used.
    pub fn claim(
        &mut self,
        id: InvitationId,
        role: Option<Role>,
        key_sha256: &str,
        root_sha256: &str,
        now: OffsetDateTime,
    ) -> Result<(Claim, &Invitation), Unusable> {
        let found = self.invitations.iter_mut().find(|invitation| invitation.id == id);
        // It was there when its secret was checked, and has been tidied away since.
        let found = found.ok_or(Unusable::Used)?;
        let claim = match (found.state(root_sha256, now), &found.used) {
            (State::Used, Some(used)) => {
                if used.key_sha256 != key_sha256 || now > used.at + REPEATABLE {
                    return Err(Unusable::Used);
                }
                Claim::Again
            }
            (State::Open, _) => Claim::First,
            (State::Expired, _) => return Err(Unusable::Expired),
            (State::Locked, _) => return Err(Unusable::Locked),
            (State::Used | State::Cancelled, _) => return Err(Unusable::Used),
        };
        if role != Some(found.role) {
            return Err(Unusable::Role(found.role));
        }
        if claim == Claim::First {
            found.used = Some(Use { at: now, key_sha256: key_sha256.to_owned() });
        }
        Ok((claim, found))
    }
}

/// Returns the SHA-256 of bytes in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests;

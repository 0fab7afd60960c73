//! Credentials that follow their files while a program runs: renewed certificates, new revocation lists, a
//! change of root.
//!
//! The files are taken over as a whole or not at all. Whatever is wrong with them, the credentials that are
//! in use stay in use, and the reason is told.

mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use time::OffsetDateTime;

use crate::credentials::{CredentialError, CredentialFiles, Credentials, StaleLists};
use crate::identity::TrustDomain;

pub use watch::{FileWatch, WATCH_INTERVAL};

/// Credentials, and how to load them again.
#[derive(Debug)]
pub struct Rotation {
    files: CredentialFiles,
    domain: TrustDomain,
    stale_lists: StaleLists,
    current: Arc<Credentials>,
}

/// Why the files were not taken over. What was in use before still is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The files can't be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// They are somebody else's.
    #[error("{} now names {found}, but this program runs as {expected}; restart it to change who it is", path.display())]
    OtherIdentity {
        /// The certificate.
        path: PathBuf,
        /// Who the program is.
        expected: String,
        /// Whom the file names.
        found: String,
    },
    /// A revocation list is gone or older than the one in use: taking it would let the revoked in again.
    #[error("{} is gone or older than the revocation list in use, and might let in who was revoked since; copy the newest", path.display())]
    OlderList {
        /// The list.
        path: PathBuf,
    },
}

impl Rotation {
    /// Loads the credentials for the first time.
    ///
    /// # Errors
    /// Those of [`Credentials::load_with`].
    pub fn begin(
        files: CredentialFiles,
        domain: TrustDomain,
        stale_lists: StaleLists,
        now: OffsetDateTime,
    ) -> Result<Self, CredentialError> {
        let current = Arc::new(Credentials::load_with(&files, &domain, stale_lists, now)?);
        Ok(Rotation { files, domain, stale_lists, current })
    }

    /// What is in use.
    #[must_use]
    pub fn current(&self) -> &Arc<Credentials> {
        &self.current
    }

    /// Loads the files again and, when they are good, takes them over. Blocking; the files are small.
    ///
    /// # Errors
    /// Those of [`Rotation::prepare`]; then nothing has changed.
    pub fn reload(&mut self, now: OffsetDateTime) -> Result<&Arc<Credentials>, RotationError> {
        Ok(self.prepare(now)?.commit())
    }

    /// Loads the files again and checks them, for [`Prepared::commit`] to take over. Blocking; the files are small.
    ///
    /// # Errors
    /// One variant of [`RotationError`] per reason.
    pub fn prepare(&mut self, now: OffsetDateTime) -> Result<Prepared<'_>, RotationError> {
        let next = Credentials::load_with(&self.files, &self.domain, self.stale_lists, now)?;
        let (expected, found) = (self.current.identity(), next.identity());
        if expected.identity() != found.identity() {
            return Err(RotationError::OtherIdentity {
                path: self.files.cert.clone(),
                expected: expected.spiffe_id().to_owned(),
                found: found.spiffe_id().to_owned(),
            });
        }
        if self.goes_back_with(&next) {
            return Err(RotationError::OlderList { path: self.files.crl_path() });
        }
        Ok(Prepared { next: Arc::new(next), rotation: self })
    }

    /// Whether a list is older than the one of its issuer that is in use. (A root whose list is gone can vouch
    /// for nobody: rustls refuses certificates about which no list speaks.)
    fn goes_back_with(&self, next: &Credentials) -> bool {
        // Without any list, rustls checks nothing.
        if next.lists().is_empty() && !self.current.lists().is_empty() {
            return true;
        }
        self.current.lists().iter().any(|old| {
            let successor = next.lists().iter().find(|new| new.issuer == old.issuer);
            successor.is_some_and(|new| number(&new.number) < number(&old.number))
        })
    }
}

/// Credentials that were loaded and may replace those in use. Dropped, it changes nothing.
#[derive(Debug)]
#[must_use = "nothing has changed until it is committed"]
pub struct Prepared<'a> {
    rotation: &'a mut Rotation,
    next: Arc<Credentials>,
}

impl<'a> Prepared<'a> {
    /// What would be in use.
    #[must_use]
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.next
    }

    /// Puts them into use.
    #[must_use]
    pub fn commit(self) -> &'a Arc<Credentials> {
        self.rotation.current = self.next;
        &self.rotation.current
    }
}

/// Comparable: big-endian without leading zeros, so the longer one is the greater.
fn number(bytes: &[u8]) -> (usize, &[u8]) {
    let digits = bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &bytes[first..]);
    (digits.len(), digits)
}

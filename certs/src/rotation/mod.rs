//! Reloading credentials while a program runs: renewed certificates, new revocation lists, a change of root.
//!
//! The files are adopted as a whole or not at all. If anything is wrong with them, the current credentials
//! remain in use and the reason is returned.

mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use time::OffsetDateTime;

use crate::credentials::{CredentialError, CredentialFiles, Credentials, StaleLists};
use crate::identity::TrustDomain;

pub use watch::{FileWatch, WATCH_INTERVAL};

/// The current credentials and the files from which to reload them.
#[derive(Debug)]
pub struct Rotation {
    files: CredentialFiles,
    domain: TrustDomain,
    stale_lists: StaleLists,
    may_outlive_root: bool,
    current: Arc<Credentials>,
}

/// Why the files were not adopted. The previous credentials remain in use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The files could not be loaded or validated.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The certificate names another party than the one as which the program runs.
    #[error("{} now names {found}, but this program runs as {expected}; restart it to change its identity", path.display())]
    OtherIdentity {
        /// Path of the certificate.
        path: PathBuf,
        /// SPIFFE ID as which the program runs.
        expected: String,
        /// SPIFFE ID in the new certificate.
        found: String,
    },
    /// A revocation list is missing or older than the one in use. Adopting it would reinstate certificates
    /// that have been revoked since.
    #[error("the revocation list {} is missing or older than the one in use, and might admit parties revoked since; copy the newest crl.pem there", path.display())]
    OlderList {
        /// Path of the revocation list.
        path: PathBuf,
    },
}

impl Rotation {
    /// Loads the credentials for the first time.
    ///
    /// # Errors
    /// Returns the errors of [`Credentials::load_with`].
    pub fn begin(
        files: CredentialFiles,
        domain: TrustDomain,
        stale_lists: StaleLists,
        now: OffsetDateTime,
    ) -> Result<Self, CredentialError> {
        let current = Arc::new(Credentials::load_with(&files, &domain, stale_lists, now)?);
        Ok(Rotation { files, domain, stale_lists, may_outlive_root: false, current })
    }

    /// Also adopts roots that have not signed the present certificate, which must stay the same. For files that are replaced
    /// only by roots and lists that prove themselves, and whose certificate is renewed by itself: until that has succeeded,
    /// everything else that the files refuse is refused already. Where files are copied by hand, roots that don't fit are a
    /// mistake.
    #[must_use]
    pub fn outliving_root(self) -> Self {
        Self { may_outlive_root: true, ..self }
    }

    /// Returns the credentials in use.
    #[must_use]
    pub fn current(&self) -> &Arc<Credentials> {
        &self.current
    }

    /// Reloads the files and, if they are valid, adopts them. Blocks on file I/O; the files are small.
    ///
    /// # Errors
    /// Returns the errors of [`Rotation::prepare`]; the current credentials are then unchanged.
    pub fn reload(&mut self, now: OffsetDateTime) -> Result<&Arc<Credentials>, RotationError> {
        Ok(self.prepare(now)?.commit())
    }

    /// Loads and checks the files without adopting them; [`Prepared::commit`] does that. Blocks on file I/O;
    /// the files are small.
    ///
    /// # Errors
    /// Returns the reason as a variant of [`RotationError`].
    pub fn prepare(&mut self, now: OffsetDateTime) -> Result<Prepared<'_>, RotationError> {
        let next = self.load(now)?;
        // Tokens, registrations and open connections are bound to the identity, so it can't change at run
        // time.
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

    fn load(&self, now: OffsetDateTime) -> Result<Credentials, CredentialError> {
        let Self { files, domain, stale_lists, .. } = self;
        match Credentials::load_with(files, domain, *stale_lists, now) {
            Err(error @ CredentialError::NotSignedByCa { .. }) if self.may_outlive_root => {
                let next = Credentials::load_past_root(files, domain, *stale_lists, now)?;
                if next.identity().thumbprint() != self.current.identity().thumbprint() {
                    return Err(error);
                }
                tracing::warn!("{error}; until it is renewed, those who know that refuse it");
                Ok(next)
            }
            loaded => loaded,
        }
    }

    /// Returns whether a list in `next` is older than the list of the same issuer in use. A list that is
    /// missing from `next` belongs to a root that is missing too, or `next` would not have been loaded.
    fn goes_back_with(&self, next: &Credentials) -> bool {
        // With no list at all, however, rustls checks nothing.
        if next.lists().is_empty() && !self.current.lists().is_empty() {
            return true;
        }
        self.current.lists().iter().any(|old| {
            let successor = next.lists().iter().find(|new| new.issuer == old.issuer);
            // Equal numbers pass: certificate or key may change while the list stays.
            successor.is_some_and(|new| number(&new.number) < number(&old.number))
        })
    }
}

/// Credentials that were loaded and checked, and may replace the current ones. Dropping the value changes
/// nothing.
#[derive(Debug)]
#[must_use = "nothing has changed until it is committed"]
pub struct Prepared<'a> {
    rotation: &'a mut Rotation,
    next: Arc<Credentials>,
}

impl<'a> Prepared<'a> {
    /// Returns the credentials that [`Self::commit`] would adopt.
    #[must_use]
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.next
    }

    /// Replaces the current credentials.
    #[must_use]
    pub fn commit(self) -> &'a Arc<Credentials> {
        // Infallible, so that a caller can prepare several things and then switch all of them.
        self.rotation.current = self.next;
        &self.rotation.current
    }
}

/// Converts a big-endian number into a key whose order is that of the numbers: without leading zeros, the
/// longer one is the greater.
fn number(bytes: &[u8]) -> (usize, &[u8]) {
    let digits = bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &bytes[first..]);
    (digits.len(), digits)
}

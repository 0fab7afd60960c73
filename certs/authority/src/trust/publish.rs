//! The trust bundles in the folder `trust/`, one file each, named after its sequence.
//!
//! A change of the roots, the revocation lists or the addresses makes the next bundle. The newest is kept, and every
//! one at which the roots changed: a client that was away meanwhile follows these. If a root was compromised,
//! the chain begins again after it, because its thief could sign another chain.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use souk_certs::file::{self, Secrecy};
use souk_enrolment::trust::{BundleError, MAX_WALK, SignedBundle, TrustBundle};
use thiserror::Error;
use uuid::Uuid;

/// The folder of the bundles.
pub const FOLDER: &str = "trust";

/// What a file of a bundle is called: its sequence in this many digits or more, so that names sort.
const DIGITS: usize = 6;
const EXTENSION: &str = "bin";

/// Maximum number of bundles that are kept: twice as many as a client may follow.
const MAX_KEPT: usize = 2 * MAX_WALK;

/// The bundles in a folder.
#[derive(Debug)]
pub struct Bundles {
    dir: PathBuf,
}

/// A root that signs bundles: its certificate and key.
pub type Signer<'a> = (&'a CertificateDer<'static>, &'a KeyPair);

impl Bundles {
    /// Returns the bundles of the authority in `dir`.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Bundles { dir: dir.join(FOLDER) }
    }

    /// Returns the newest bundle; `None` if there is none.
    ///
    /// # Errors
    /// Returns [`PublishError::File`] or [`PublishError::Bundle`].
    pub fn newest(&self) -> Result<Option<(i64, SignedBundle)>, PublishError> {
        self.sequences()?.last().map(|sequence| Ok((*sequence, self.read(*sequence)?))).transpose()
    }

    /// Returns the path of the newest bundle's folder, to be watched for changes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// Returns all bundles with their sequences, oldest first: those at which the roots changed, and the newest.
    ///
    /// # Errors
    /// Returns [`PublishError::File`] or [`PublishError::Bundle`].
    pub fn all(&self) -> Result<Vec<(i64, SignedBundle)>, PublishError> {
        self.sequences()?.into_iter().map(|sequence| Ok((sequence, self.read(sequence)?))).collect()
    }

    /// Signs a bundle and writes it. Bundles that nobody needs any more are removed; with `is_new_chain`, all others.
    /// `unique` is a new id, for the name of a temporary file.
    ///
    /// # Errors
    /// Returns [`PublishError::Bundle`] if every client would refuse it, and [`PublishError::File`].
    pub fn publish(
        &self,
        bundle: &TrustBundle,
        signers: &[Signer<'_>],
        is_new_chain: bool,
        unique: Uuid,
    ) -> Result<(), PublishError> {
        let signed = bundle.sign(signers)?;
        file::create_folder(&self.dir).map_err(self.failed())?;
        let path = self.path(bundle.sequence);
        file::replace(&path, &signed.to_bytes(), Secrecy::Public, unique).map_err(failed(&path))?;
        for sequence in self.superfluous(bundle.sequence, is_new_chain)? {
            let path = self.path(sequence);
            fs::remove_file(&path).map_err(failed(&path))?;
        }
        Ok(())
    }

    /// Returns whether the newest bundle differs from `bundle` in more than its sequence and time.
    ///
    /// # Errors
    /// Returns [`PublishError::File`]. A newest bundle that can't be read counts as different.
    pub fn differs(&self, bundle: &TrustBundle) -> Result<bool, PublishError> {
        let newest = match self.newest() {
            Ok(Some((_, newest))) => newest.open(),
            Ok(None) | Err(PublishError::Bundle(_)) => return Ok(true),
            Err(error) => return Err(error),
        };
        Ok(!newest.is_ok_and(|newest| {
            let (sequence, created_at) = (bundle.sequence, bundle.created_at);
            TrustBundle { sequence, created_at, ..newest } == *bundle
        }))
    }

    fn superfluous(&self, newest: i64, is_new_chain: bool) -> Result<Vec<i64>, PublishError> {
        let kept = self.sequences()?;
        let others = || kept.iter().copied().filter(|sequence| *sequence != newest);
        if is_new_chain {
            return Ok(others().collect());
        }
        let mut before: Option<TrustBundle> = None;
        let mut turns = Vec::new();
        let mut superfluous = Vec::new();
        for sequence in others() {
            match self.read(sequence).ok().and_then(|signed| signed.open().ok()) {
                Some(bundle) if before.as_ref().is_none_or(|before| !before.has_same_roots(&bundle)) => {
                    turns.push(sequence);
                    before = Some(bundle);
                }
                _ => superfluous.push(sequence),
            }
        }
        // The oldest are removed: nobody follows so many.
        superfluous.extend(turns.iter().take(turns.len().saturating_sub(MAX_KEPT)));
        Ok(superfluous)
    }

    /// Returns the sequences of the bundles, in ascending order.
    fn sequences(&self) -> Result<Vec<i64>, PublishError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(self.failed())?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(self.failed())?.path();
            let is_bundle = path.extension().is_some_and(|extension| extension == EXTENSION);
            let sequence = path.file_stem().and_then(|stem| stem.to_str()?.parse::<i64>().ok());
            found.extend(sequence.filter(|sequence| is_bundle && *sequence > 0));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn read(&self, sequence: i64) -> Result<SignedBundle, PublishError> {
        let path = self.path(sequence);
        let bytes = fs::read(&path).map_err(failed(&path))?;
        Ok(SignedBundle::from_bytes(&bytes)?)
    }

    fn path(&self, sequence: i64) -> PathBuf {
        self.dir.join(format!("{sequence:0DIGITS$}.{EXTENSION}"))
    }

    fn failed(&self) -> impl Fn(io::Error) -> PublishError {
        failed(&self.dir)
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::File { path: path.clone(), source }
}

/// Why a bundle can't be published or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file can't be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// It is not a trust bundle, or can't be signed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

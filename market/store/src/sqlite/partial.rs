//! A file that is written under a provisional name and gets its own when it is complete.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::database_file::{FileId, lock, owner_only, remove_if_there, sync_folder};
use crate::StoreError;

/// A file that is being written. Dropping it removes the file, unless it has been published.
///
/// It is locked, so that two processes never write one file. It must be dropped after every SQLite connection to it
/// (see [`super::database_file::DatabaseFile`]).
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    is_published: bool,
}

impl Partial {
    /// Creates an empty file that only the owner can read. Replaces a leftover, but no file that is being written.
    pub(super) fn create(path: PathBuf) -> Result<Self, StoreError> {
        let failed = |error: io::Error| at_file(&path, &error);
        // Stays locked until the new file is, so that nobody takes the new one for a leftover of the same kind.
        let leftover = match File::open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        if let Some(leftover) = &leftover {
            own(leftover, &path)?;
        }
        remove_if_there(&path).map_err(failed)?;
        let file = owner_only().create_new(true).open(&path).map_err(failed)?;
        own(&file, &path)?;
        drop(leftover);
        Ok(Self { path, file, is_published: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the finished file and gives it its name, durably.
    pub(super) fn publish(mut self, to: &Path) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|error| at_file(&self.path, &error))?;
        if !is_at(&self.file, &self.path) {
            return Err(in_use(&self.path));
        }
        fs::rename(&self.path, to).map_err(|error| at_file(to, &error))?;
        self.is_published = true;
        sync_folder(to).map_err(|error| at_file(to, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_published && is_at(&self.file, &self.path) {
            // The error that led here matters more than a leftover, which the next attempt replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Locks a file, and makes sure that the path still leads to it.
fn own(file: &File, path: &Path) -> Result<(), StoreError> {
    lock(file, path, in_use)?;
    if is_at(file, path) { Ok(()) } else { Err(in_use(path)) }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
    FileId::of(&open) == FileId::of(&named)
}

fn in_use(path: &Path) -> StoreError {
    StoreError::unavailable(format!(
        "another process is writing {}; wait until it is done, or choose another file",
        path.display()
    ))
}

pub(super) fn at_file(path: &Path, error: &io::Error) -> StoreError {
    StoreError::unavailable(format!(
        "can't write {}: {error}; check that its folder exists, that you may write there and that there is space",
        path.display()
    ))
}

//! The operator's synonyms: from the settings, or from a file that is read again when it changes.

use std::{fs, io, path::PathBuf};

use souk_search::{SynonymError, Synonyms, Wording};
use tokio_util::sync::CancellationToken;

use super::{OpenError, rotate::Changes};
use crate::config::{SearchConfig, SynonymSource, read_synonyms};

/// A file of synonyms that is followed.
pub(super) struct SynonymFile {
    path: PathBuf,
    changes: Changes,
    wording: Wording,
}

/// Why a file of synonyms can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SynonymFileError {
    /// It can't be read.
    #[error("can't read the synonyms in {path}: {source}; check the setting search.synonyms")]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// A line is wrong.
    #[error("can't use the synonyms in {path}: {source}")]
    Wrong {
        /// The path of the file.
        path: PathBuf,
        /// The line, and what is wrong with it.
        source: SynonymError,
    },
}

/// Reads languages and synonyms, and returns them with the file to follow, if there is one.
pub(super) fn open(config: &SearchConfig) -> Result<(Wording, Option<SynonymFile>), OpenError> {
    let languages = config.languages()?;
    let path = match &config.synonyms {
        SynonymSource::Lines(lines) => {
            return Ok((Wording::new(languages, read_synonyms(lines)?), None));
        }
        SynonymSource::File(path) => path.clone(),
    };
    // Watched before it is read for the first time, so that a change in between is not missed.
    let changes = Changes::watch([path.clone()])?;
    let wording = Wording::new(languages, read(path.clone())?);
    Ok((wording.clone(), Some(SynonymFile { path, changes, wording })))
}

/// Follows a file, if there is one, until the market shuts down.
pub(super) fn follow(file: Option<SynonymFile>, closing: &CancellationToken) {
    if let Some(file) = file {
        tokio::spawn(file.run(closing.clone()));
    }
}

impl SynonymFile {
    async fn run(mut self, closing: CancellationToken) {
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = self.changes.next() => self.take_over().await,
            }
        }
    }

    async fn take_over(&self) {
        let (path, shown) = (self.path.clone(), self.path.display());
        // Off the runtime's threads, because the file system may hang.
        match tokio::task::spawn_blocking(move || read(path)).await {
            Ok(Ok(synonyms)) => {
                tracing::info!(path = %shown, words = synonyms.len(), "reloaded the synonyms");
                self.wording.replace_synonyms(synonyms);
            }
            Ok(Err(error)) => tracing::error!("{error}; the previous ones remain in use"),
            Err(error) => tracing::error!(%error, "the synonyms could not be read"),
        }
    }
}

/// Reads a file of synonyms, up to its maximum length.
fn read(path: PathBuf) -> Result<Synonyms, SynonymFileError> {
    let text = fs::File::open(&path).and_then(|file| {
        // One more byte than allowed, so that a longer file is noticed, and not read as a whole.
        io::read_to_string(io::Read::take(file, Synonyms::MAX_BYTES as u64 + 1))
    });
    match text {
        Ok(text) => Synonyms::parse(&text).map_err(|source| SynonymFileError::Wrong { path, source }),
        Err(source) => Err(SynonymFileError::Unreadable { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_the_line_and_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("synonyms.txt");
        let error = read(path.clone()).unwrap_err().to_string();
        assert!(
            error.starts_with("can't read the synonyms in ") && error.ends_with("search.synonyms"),
            "{error}"
        );
        fs::write(&path, "sofa, couch\ntv").unwrap();
        let error = read(path.clone()).unwrap_err().to_string();
        assert!(error.contains("synonyms.txt: line 2 has a single word; write"), "{error}");
        fs::write(&path, "#".repeat(Synonyms::MAX_BYTES + 2)).unwrap();
        let error = read(path.clone()).unwrap_err().to_string();
        assert!(error.contains("shorten it"), "{error}");
        fs::write(&path, "sofa, couch").unwrap();
        assert_eq!(read(path).unwrap().len(), 2);
    }
}

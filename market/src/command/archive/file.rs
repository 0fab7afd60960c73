//! Archive files: written under another name, and on disk before they get their own.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use souk_cli::Failure;

/// Access for the owner only: orders name buyers.
const MODE: u32 = 0o600;

/// A file that is being written. Removed if it is dropped before it is finished.
pub(super) struct ArchiveFile {
    folder: PathBuf,
    partial: PathBuf,
    path: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl ArchiveFile {
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self, Failure> {
        let path = folder.join(name);
        let partial = folder.join(format!("{name}.partial"));
        let opened = if path.exists() {
            Err(io::ErrorKind::AlreadyExists.into())
        } else {
            OpenOptions::new().write(true).create_new(true).mode(MODE).open(&partial)
        };
        let file = opened.map_err(|error| Failure::io(format!("create {}", path.display()), error))?;
        Ok(Self { folder: folder.to_owned(), partial, path, writer: Some(BufWriter::new(file)) })
    }

    pub(super) fn write(&mut self, line: &str) -> Result<(), Failure> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let written = writer.write_all(line.as_bytes()).and_then(|()| writer.write_all(b"\n"));
        written.map_err(|error| Failure::io(format!("write {}", self.partial.display()), error))
    }

    /// Puts the file on disk under its name, and returns its path.
    pub(super) fn finish(mut self) -> Result<PathBuf, Failure> {
        let at = |error| Failure::io(format!("put {} on disk", self.path.display()), error);
        if let Some(writer) = self.writer.take() {
            let file = writer.into_inner().map_err(|error| at(error.into_error()))?;
            file.sync_all().map_err(at)?;
        }
        fs::rename(&self.partial, &self.path).map_err(at)?;
        // The name is on disk only when its folder is.
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(at)?;
        Ok(self.path.clone())
    }
}

impl Drop for ArchiveFile {
    fn drop(&mut self) {
        // Nothing was removed from the market for it. Fails if the file was finished.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Reads a file's lines.
pub(super) fn lines(path: &Path) -> Result<impl Iterator<Item = Result<String, Failure>>, Failure> {
    let read = format!("read {}", path.display());
    let file = File::open(path).map_err(|error| Failure::io(read.clone(), error))?;
    Ok(BufReader::new(file).lines().map(move |line| line.map_err(|error| Failure::io(read.clone(), error))))
}

/// Returns the error for a file that does not have what was written to it.
pub(super) fn unreadable(path: &Path) -> Failure {
    Failure::io(format!("read back {}", path.display()), io::ErrorKind::InvalidData.into())
}

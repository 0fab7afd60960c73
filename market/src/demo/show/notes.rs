//! The folder in which a user's demos leave a note each, for the user's other terminals.
//!
//! What is in a note ends up in a shell, so only the user's own notes count: the folder and the notes must belong to the user
//! and be accessible to nobody else. In a folder that all users share (`/tmp`), anybody can create a folder of this name
//! first, or a link. The folder is therefore opened without following a link, and examined after it was opened.

use std::{
    env,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, renameat, unlinkat},
    io::Errno,
    process::{Pid, geteuid, test_kill_process},
};

/// The maximum size of a note in bytes.
const NOTE_BYTES: u64 = 16 * 1024;

/// The maximum number of attempts to leave a note: a demo that ends in between removes the empty folder.
const ATTEMPTS: usize = 3;

pub(super) struct Notes {
    folder: PathBuf,
}

impl Notes {
    /// Returns the notes of the user: in XDG_RUNTIME_DIR or else in the folder for temporary files.
    pub(super) fn own() -> Self {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let name = || format!("souk-demo-{}", geteuid().as_raw());
        let folder = runtime.map_or_else(|| env::temp_dir().join(name()), |path| path.join("souk-demo"));
        Self { folder }
    }

    #[cfg(test)]
    fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(super) fn place(&self) -> std::path::Display<'_> {
        self.folder.display()
    }

    /// Leaves the note of a process.
    pub(super) fn put(&self, process: u32, note: &[u8]) -> io::Result<()> {
        for _ in 1..ATTEMPTS {
            match self.try_put(process, note) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                put => return put,
            }
        }
        self.try_put(process, note)
    }

    fn try_put(&self, process: u32, note: &[u8]) -> io::Result<()> {
        match mkdirat(CWD, &self.folder, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let folder = self.open()?;
        let name = process.to_string();
        // It was left by an earlier process with the same number.
        match unlinkat(&folder, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        // Written under another name, so that a reader never finds half of it.
        let unfinished = format!("{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&folder, &unfinished, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(note)?;
        Ok(renameat(&folder, &unfinished, &folder, &name)?)
    }

    /// Removes the note of a process, and the folder if that was the last one.
    pub(super) fn remove(&self, process: u32) -> io::Result<()> {
        unlinkat(self.open()?, process.to_string(), AtFlags::empty())?;
        match unlinkat(CWD, &self.folder, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the notes of the processes that are running, with their numbers, in the order in which they were written.
    pub(super) fn running(&self) -> io::Result<Vec<(u32, Vec<u8>)>> {
        let folder = match self.open() {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut notes = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let process = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
            let Some(process) = process.filter(|process| is_running(*process)) else { continue };
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match openat(&folder, entry.file_name(), flags, Mode::empty()) {
                Ok(file) => file,
                // Its demo has just ended.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            let stat = fstat(&file)?;
            check(&stat, FileType::RegularFile, &self.folder.join(process.to_string()))?;
            let mut note = Vec::new();
            File::from(file).take(NOTE_BYTES).read_to_end(&mut note)?;
            let written = Duration::new(stat.st_mtime.cast_unsigned(), stat.st_mtime_nsec as u32);
            notes.push((written, process, note));
        }
        notes.sort();
        Ok(notes.into_iter().map(|(_, process, note)| (process, note)).collect())
    }

    /// Opens the folder, if it is the user's alone.
    fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(CWD, &self.folder, flags, Mode::empty())?;
        check(&fstat(&folder)?, FileType::Directory, &self.folder)?;
        Ok(folder)
    }
}

/// Checks that an open file or folder is of the expected kind, belongs to the user, and is accessible to nobody else.
fn check(stat: &Stat, kind: FileType, path: &Path) -> io::Result<()> {
    let is_kind = FileType::from_raw_mode(stat.st_mode) == kind;
    let is_own = stat.st_uid == geteuid().as_raw();
    let is_private = Mode::from_raw_mode(stat.st_mode).intersection(Mode::RWXG | Mode::RWXO).is_empty();
    if is_kind && is_own && is_private {
        return Ok(());
    }
    let message = format!(
        "{} is not yours alone, so it may be another user's trap; remove it, or set XDG_RUNTIME_DIR to a folder of yours",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

fn is_running(process: u32) -> bool {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    process.is_some_and(|process| test_kill_process(process).is_ok())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn own() -> u32 {
        std::process::id()
    }

    #[test]
    fn notes_of_running_processes_are_found_and_the_folder_goes_with_the_last() {
        let temporary = tempfile::tempdir().unwrap();
        let notes = Notes::at(&temporary.path().join("souk-demo"));
        assert!(notes.running().unwrap().is_empty());
        // A number that no process has (the kernel's limit is 2^22).
        notes.put(1 << 30, b"gone").unwrap();
        notes.put(own(), b"earlier").unwrap();
        notes.put(own(), b"here").unwrap();
        assert_eq!(notes.running().unwrap(), [(own(), b"here".to_vec())]);
        assert_eq!(mode(&notes.folder), 0o700);
        assert_eq!(mode(&notes.folder.join(own().to_string())), 0o600);
        notes.remove(own()).unwrap();
        notes.remove(1 << 30).unwrap();
        assert!(!notes.folder.exists());
    }

    #[test]
    fn folder_that_others_can_write_to_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let notes = Notes::at(&temporary.path().join("souk-demo"));
        notes.put(own(), b"here").unwrap();
        for open in [0o770, 0o701, 0o777] {
            fs::set_permissions(&notes.folder, fs::Permissions::from_mode(open)).unwrap();
            assert_eq!(notes.running().unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{open:o}");
            assert!(notes.put(own(), b"again").is_err(), "{open:o}");
        }
    }

    #[test]
    fn links_are_not_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let target = Notes::at(&temporary.path().join("target"));
        target.put(own(), b"here").unwrap();
        let link = temporary.path().join("link");
        std::os::unix::fs::symlink(&target.folder, &link).unwrap();
        assert!(Notes::at(&link).running().is_err());
        assert!(Notes::at(&link).put(own(), b"there").is_err());
        // A note that is a link.
        let notes = Notes::at(&temporary.path().join("souk-demo"));
        notes.put(1 << 30, b"gone").unwrap();
        let note = notes.folder.join(own().to_string());
        std::os::unix::fs::symlink(target.folder.join(own().to_string()), note).unwrap();
        assert!(notes.running().is_err());
    }
}

//! A disk that can fail: the library in `bench/shim`, which takes the place of libc's file functions in a process.

mod names;
mod power;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;

/// The sources, which are compiled when a driver starts, with the machine's C compiler: the workspace forbids unsafe
/// code, without which no function of libc can be replaced.
const SOURCES: [(&str, &str); 3] = [
    ("libc.c", include_str!("../../shim/libc.c")),
    ("disk.c", include_str!("../../shim/disk.c")),
    ("rules.c", include_str!("../../shim/rules.c")),
];

/// The disk of a folder.
#[derive(Clone)]
pub(crate) struct Disk {
    /// The folder whose files are on the disk.
    folder: PathBuf,
    /// What the library keeps about them: see `shim/disk.c`.
    undo: PathBuf,
    rules: PathBuf,
    library: PathBuf,
}

/// What a power cut took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cut {
    /// Bytes in sectors whose contents differ from those before the cut.
    pub(crate) dropped_bytes: u64,
    /// Syncs that failed since the last cut.
    pub(crate) failed_syncs: u64,
}

impl Disk {
    /// Compiles the library into `parent`, and prepares the disk of the folder `parent/data`, which is created.
    pub(crate) fn new(parent: &Path) -> anyhow::Result<Self> {
        let parent = parent.canonicalize()?;
        let (folder, undo) = (parent.join("data"), parent.join("undo"));
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(&undo)?;
        let sources = parent.join("shim");
        fs::create_dir_all(&sources)?;
        for (name, text) in SOURCES {
            fs::write(sources.join(name), text)?;
        }
        let library = parent.join("disk.so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(sources.join("libc.c")).arg("-lpthread");
        let built = cc.output().context("a C compiler is needed: install cc (Debian: gcc)")?;
        ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let disk = Self { folder, undo, rules: parent.join("rules"), library };
        disk.obey("")?;
        Ok(disk)
    }

    /// Returns the folder whose files are on the disk.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the variables that put a process on the disk.
    pub(crate) fn variables(&self) -> [(&'static str, &Path); 4] {
        [
            ("LD_PRELOAD", &self.library),
            ("SOUK_DISK_ROOT", &self.folder),
            ("SOUK_DISK_UNDO", &self.undo),
            ("SOUK_DISK_CONTROL", &self.rules),
        ]
    }

    /// Replaces the rules by which the disk fails, which `shim/rules.c` lists. None is a disk that works.
    pub(crate) fn obey(&self, rules: &str) -> io::Result<()> {
        let new = self.rules.with_extension("new");
        fs::write(&new, rules)?;
        fs::rename(new, &self.rules)
    }

    /// Returns how often a process killed itself by a rule since the last cut.
    pub(crate) fn kills(&self) -> io::Result<usize> {
        Ok(self.notes()?.lines().filter(|line| line.starts_with("killed\t")).count())
    }

    /// Returns how many syncs have failed since the last cut.
    pub(crate) fn failed_syncs(&self) -> io::Result<u64> {
        Ok(self.notes()?.lines().filter(|line| line.starts_with("failed\t")).count() as u64)
    }

    /// Cuts the power: leaves a state on the disk that a real one could have. The processes must have ended.
    pub(crate) fn cut(&self, random: &mut StdRng) -> anyhow::Result<Cut> {
        let notes = self.notes()?;
        let failed_syncs = self.failed_syncs()?;
        let dropped_bytes = power::drop_unsynced(&self.folder, &self.undo, random)?;
        names::undo(&self.folder, &notes, random)?;
        self.forget()?;
        Ok(Cut { dropped_bytes, failed_syncs })
    }

    /// Makes everything durable, as if it had been synced. The processes must have ended.
    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.undo)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Gives the folder in which the library writes to another account.
    pub(crate) fn give_to(&self, chown: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        chown(&self.undo)
    }

    fn notes(&self) -> io::Result<String> {
        match fs::read_to_string(self.undo.join("names")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            notes => notes,
        }
    }
}

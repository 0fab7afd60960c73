//! Backups that are made while the market trades and dies.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{process::Child, time::timeout};

use crate::site::Site;

/// Deadline for a backup to end by itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// A backup under way.
pub(crate) struct Backup {
    process: Child,
    file: PathBuf,
}

impl Backup {
    /// Starts `market backup` to a file in `folder`.
    pub(crate) fn start(site: &Site, folder: &Path) -> anyhow::Result<Self> {
        let store = site.disk.folder().join("souk.db").display().to_string();
        let name = uuid::Uuid::from_bytes(souk_certs::random::bytes());
        let file = folder.join(format!("backup-{name}.db"));
        let process =
            site.command(&["backup", "--quiet", "--store", &store, &file.display().to_string()]).spawn()?;
        Ok(Self { process, file })
    }

    /// Kills the backup, as a power cut does.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        // It may have ended.
        Ok(self.process.kill().await?)
    }

    /// Returns whether the backup has kept its promise, after waiting until it has ended: a file under its name is
    /// complete, and it is there if the program said so. Removes the file.
    pub(crate) async fn ends_whole(mut self, site: &Site) -> anyhow::Result<bool> {
        let ended = timeout(PATIENCE, self.process.wait()).await.context("a backup does not end")??;
        if !self.file.exists() {
            return Ok(!ended.success());
        }
        let file = self.file.display().to_string();
        let checked = site.command(&["check", "--without-index", "--store", &file]).output().await?;
        if !checked.status.success() {
            eprintln!("market check of a backup: {}", String::from_utf8_lossy(&checked.stdout));
        }
        for file in std::fs::read_dir(self.file.parent().context("a folder")?)? {
            let file = file?.path();
            if file.to_string_lossy().contains("backup-") {
                std::fs::remove_file(file)?;
            }
        }
        Ok(checked.status.success())
    }
}

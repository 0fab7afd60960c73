//! How each fault begins and ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use tokio::process::{Child, Command};

use super::Fault;
use crate::site::Site;

/// 40 days in seconds: longer than anything is kept.
const FORTY_DAYS: i64 = 40 * 86_400;
/// The files of a SQLite database.
const FILES: [&str; 3] = ["souk.db", "souk.db-wal", "souk.db-shm"];
/// Holds a transaction of the kind that is its second argument on the database that is its first.
const HOLD: &str = include_str!("../../sql/hold.py");

/// A fault that has begun.
pub(super) struct Injected {
    /// The database's files, if they were moved away.
    aside: Option<PathBuf>,
    /// The process that holds a lock.
    holder: Option<Child>,
    /// Whether the market has to be started again with a working disk and clock.
    is_wrong_from_start: bool,
}

/// Begins a fault.
pub(super) async fn begin(fault: Fault, site: &mut Site, duration: Duration) -> anyhow::Result<Injected> {
    let mut injected = Injected { aside: None, holder: None, is_wrong_from_start: false };
    let rules = match fault {
        Fault::SyncError => "fail sync souk.db-wal 0 1".to_owned(),
        Fault::DiskFull => "space 20000".to_owned(),
        Fault::ReadOnly => "readonly".to_owned(),
        Fault::ReadError => "fail read souk.db 0 0".to_owned(),
        Fault::ClockAhead => format!("clock {FORTY_DAYS}"),
        Fault::ClockBehind => format!("clock -{FORTY_DAYS}"),
        Fault::SlowDisk => "slow sync * 100 0".to_owned(),
        Fault::StartedAhead => {
            site.kill().await?;
            site.disk.obey(&format!("clock {FORTY_DAYS}"))?;
            injected.is_wrong_from_start = true;
            site.start().await?;
            return Ok(injected);
        }
        Fault::Deleted | Fault::Replaced => {
            let aside = site.path().join("aside");
            fs::create_dir(&aside)?;
            exchange(site.disk.folder(), &aside)?;
            if fault == Fault::Replaced {
                // An empty file is an empty database.
                fs::write(site.disk.folder().join(FILES[0]), "")?;
            }
            injected.aside = Some(aside);
            return Ok(injected);
        }
        Fault::HeldLock | Fault::OpenReader => {
            let kind = if fault == Fault::HeldLock { "write" } else { "read" };
            let mut python = Command::new("python3");
            python.args(["-c", HOLD]).arg(site.disk.folder().join(FILES[0])).arg(kind);
            python.arg(duration.as_secs().to_string()).stdin(Stdio::null()).kill_on_drop(true);
            injected.holder = Some(python.spawn().context("python3 is needed to hold a lock: install it")?);
            return Ok(injected);
        }
    };
    site.disk.obey(&rules)?;
    Ok(injected)
}

/// Moves the database's files.
fn exchange(from: &Path, to: &Path) -> anyhow::Result<()> {
    for name in FILES {
        if from.join(name).exists() {
            fs::rename(from.join(name), to.join(name))?;
        }
    }
    Ok(())
}

impl Injected {
    /// Ends the fault.
    pub(super) async fn end(&mut self, site: &mut Site) -> anyhow::Result<()> {
        site.disk.obey("")?;
        if let Some(holder) = &mut self.holder {
            let held = holder.wait().await?;
            anyhow::ensure!(held.success(), "the lock could not be held");
        }
        if let Some(aside) = &self.aside {
            for name in FILES {
                // What took the place of the database goes.
                let _ = fs::remove_file(site.disk.folder().join(name));
            }
            exchange(aside, site.disk.folder())?;
        }
        if self.is_wrong_from_start {
            site.kill().await?;
            site.start().await?;
        }
        Ok(())
    }
}

//! The attacker's process, as `hostile` sees it.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::case::Case;
use crate::{process::cpu_seconds, site::until};

/// Time for the first hit.
const BEGIN_PATIENCE: Duration = Duration::from_secs(10);

/// An attack that goes on until it is dropped.
pub(super) struct Assault {
    child: Child,
    began: Instant,
    reports: Reports,
}

/// What the attacker has reported.
#[derive(Clone, Default)]
struct Reports {
    hits: Arc<AtomicU64>,
    /// The first thing that the market let through although it must not.
    breach: Arc<Mutex<Option<String>>>,
    /// Why the last session failed before it did anything.
    failure: Arc<Mutex<Option<String>>>,
}

impl Reports {
    fn take(&self, line: &str) {
        let Some((kind, rest)) = line.split_once(' ') else { return };
        let set = |text: &Mutex<Option<String>>| {
            *text.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest.to_owned());
        };
        match kind {
            "hits" => self.hits.store(rest.parse().unwrap_or_default(), Ordering::Relaxed),
            "breach" => set(&self.breach),
            _ => set(&self.failure),
        }
    }
}

impl Assault {
    /// Begins an attack with the passes in `dir`, and waits for the first hit. At a sink, it uses only this share of a
    /// core.
    pub(super) async fn begin(
        case: &Case,
        dir: &Path,
        target: SocketAddr,
        share: Option<f64>,
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["hostile-attack", "--case", case.name, "--target", &target.to_string(), "--dir"])
            .arg(dir)
            .args(share.map(|share| format!("--share={share}")))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("the child has no standard output")?;
        let reports = Reports::default();
        let taken = reports.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                taken.take(&line);
            }
        });
        let assault = Self { child, began: Instant::now(), reports };
        if !until(BEGIN_PATIENCE, || assault.hits() > 0).await {
            let failure = assault.reports.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
            bail!("the attack did not begin: {}", failure.unwrap_or_default());
        }
        Ok(assault)
    }

    pub(super) fn hits(&self) -> u64 {
        self.reports.hits.load(Ordering::Relaxed)
    }

    pub(super) fn breach(&self) -> Option<String> {
        self.reports.breach.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the share of a core that the attacker has used.
    pub(super) fn share(&self) -> anyhow::Result<f64> {
        let used = cpu_seconds(self.child.id().context("the attacker has ended")?)?;
        Ok(used / self.began.elapsed().as_secs_f64())
    }

    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

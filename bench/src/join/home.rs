//! A machine with the programs and an empty home folder: a folder and an environment of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Maximum duration of a command.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
/// Maximum time until a service is open.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);

/// A machine.
pub(super) struct Home {
    folder: TempDir,
}

/// A program that serves until it is dropped.
pub(super) struct Service {
    child: Child,
}

impl Home {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::Builder::new().prefix("souk-home-").tempdir()? })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Prepares a program, without any variable of this process.
    fn command(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Command> {
        let program = std::env::current_exe()?.with_file_name(program);
        ensure!(
            program.exists(),
            "{} is missing; build it first: cargo build -p market -p seller -p buyer -p souk-authority",
            program.display()
        );
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).env_clear().env("HOME", self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// Runs a program to its end.
    pub(super) async fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        let ended = timeout(COMMAND_PATIENCE, self.command(program, arguments)?.output());
        Ok(ended.await.with_context(|| format!("{program} did not end within {COMMAND_PATIENCE:?}"))??)
    }

    /// Runs a program that must succeed, and returns its standard output.
    pub(super) async fn ok(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(program, arguments).await?;
        if !output.status.success() {
            // Not the arguments, which may be a code.
            bail!("{program} {} ended with {}: {}", arguments[0], output.status, said(&output));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs a program that must be refused with this exit code and text.
    pub(super) async fn refused(
        &self,
        program: &str,
        arguments: &[&str],
        (code, text): (i32, &str),
    ) -> anyhow::Result<String> {
        let output = self.run(program, arguments).await?;
        let said = said(&output);
        let is_refused = output.status.code() == Some(code) && said.contains(text);
        ensure!(is_refused, "{program} ended with {} instead of {code} and '{text}': {said}", output.status);
        Ok(said)
    }

    /// Starts a program, and waits until a line of its output contains `opened`.
    pub(super) async fn serve(
        &self,
        program: &str,
        arguments: &[&str],
        opened: &'static str,
    ) -> anyhow::Result<Service> {
        let mut child = self.command(program, arguments)?.spawn()?;
        let (out, err) = (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
        let (mut out, mut err) = (BufReader::new(out).lines(), BufReader::new(err).lines());
        let mut last = String::new();
        let waited = timeout(OPEN_PATIENCE, async {
            loop {
                let line = tokio::select! {
                    Ok(Some(line)) = out.next_line() => line,
                    Ok(Some(line)) = err.next_line() => line,
                    else => return false,
                };
                if line.contains(opened) {
                    return true;
                }
                last = line;
            }
        });
        let is_open =
            waited.await.with_context(|| format!("{program} is not open within {OPEN_PATIENCE:?}"))?;
        ensure!(is_open, "{program} ended: {last}");
        // Read on, so that the program never waits for a reader.
        tokio::spawn(async move {
            while tokio::select! {
                line = out.next_line() => matches!(line, Ok(Some(_))),
                line = err.next_line() => matches!(line, Ok(Some(_))),
            } {}
        });
        Ok(Service { child })
    }

    /// Returns the folder of a party's context.
    pub(super) fn context(&self, name: &str) -> PathBuf {
        self.path().join(".config/souk/contexts").join(name)
    }
}

impl Service {
    /// Kills the program with SIGKILL.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the argument for an address.
pub(super) fn text(address: SocketAddr) -> String {
    address.to_string()
}

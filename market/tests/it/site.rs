//! `market serve` as a child process, on a folder with certificates and a store.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use souk_authority::pki::{InitOptions, IssueOptions, Pki};
use souk_certs::{clock, identity::Role};
use souk_client::{ClientConfig, Connection};
use tempfile::TempDir;

use crate::fixture::{PATIENCE, Party};

/// A folder with certificates and a store, and a market process on it.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) pki: Pki,
}

pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    log: Option<thread::JoinHandle<String>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if the process has already ended, as in most tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Returns what the market wrote to stderr after it had opened. Waits until it has ended.
    pub(crate) fn log(&mut self) -> String {
        self.log.take().expect("not read before").join().unwrap()
    }

    /// Stops the market with a signal, as an operator does, and waits until it has ended.
    pub(crate) async fn end(mut self) {
        self.signal("-TERM");
        let ended = tokio::task::spawn_blocking(move || self.child.wait().unwrap());
        let status = tokio::time::timeout(PATIENCE, ended).await.expect("it ends in time").unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), clock::now()).unwrap();
        Self { folder, pki }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn serve(&self) -> Command {
        self.serve_with(&self.path("pki/market.pem"))
    }

    pub(crate) fn serve_with(&self, cert: &Path) -> Command {
        self.serve_at("127.0.0.1:0", cert)
    }

    fn serve_at(&self, listen: &str, cert: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_market"));
        command
            .args(["serve", "--listen", listen, "--log-format", "json"])
            .arg("--cert")
            .arg(cert)
            .arg("--store")
            .arg(self.path("souk.db"))
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self) -> Process {
        Self::start_as(&mut self.serve())
    }

    /// Starts a market at the address of an earlier one.
    pub(crate) fn start_at(&self, address: SocketAddr) -> Process {
        Self::start_as(&mut self.serve_at(&address.to_string(), &self.path("pki/market.pem")))
    }

    /// Starts a market with the given command, and waits until it is open.
    pub(crate) fn start_as(command: &mut Command) -> Process {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the market prints where it listens").unwrap();
            if let Some(address) = listening(&line) {
                break address;
            }
        };
        // Keep reading, or the market would block when its log fills the pipe.
        let log = thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
        Process { child, address, log: Some(log) }
    }

    pub(crate) async fn party(&mut self, name: &str, role: Role, process: &Process) -> Party {
        let party = match self.pki.find(name) {
            Ok(party) => party,
            Err(_) => self.pki.issue(name, role, &IssueOptions::default(), clock::now()).unwrap(),
        };
        let market = process.address.to_string().parse().unwrap();
        let config = ClientConfig::new(market, party.files());
        Party { connection: Connection::open(&config).await.unwrap() }
    }
}

/// Returns the address from the log line that reports that the market is open.
fn listening(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    line["fields"]["listen"].as_str()?.parse().ok()
}

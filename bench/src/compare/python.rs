//! A classic in-memory market in Python (`bench/peers/python`), under the same load as the market.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use souk_authority::pki::{InitOptions, Pki};
use souk_certs::{clock, identity::Role};
use souk_client::Connection;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    fixture::{connect, issue, list_items, registered_buyers},
    load::{self, Measurement},
    process::ServerProcess,
    workload,
};

/// What the interpreter must be able to import; see `clients/python/requirements.txt`.
const IMPORTS: &str = "import grpc, grpc_tools";
/// The environment that `clients/test.sh` makes, as seen from the folder with the programs.
const OF_CLIENTS: &str = "../clients/python/bin/python";

/// The running server, and buyers connected to it.
pub(super) struct PythonMarket {
    _server: ServerProcess,
    buyers: Vec<Connection>,
    items: Vec<i64>,
    _folder: TempDir,
}

impl PythonMarket {
    /// Starts the market and lists items there. `None` if there is no Python with grpcio.
    pub(super) async fn start(python: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let Some(python) = interpreter(python).await? else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let dir = folder.path();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        generate_stubs(&python, &sources.join("../proto"), dir).await?;
        let mut pki = Pki::init(&dir.join("pki"), &InitOptions::default(), clock::now())?;
        let mut program = Command::new(&python);
        program.arg(sources.join("peers/python/market.py")).arg(dir.join("pki")).env("PYTHONPATH", dir);
        let server = ServerProcess::launch(program, "python", dir).await?;
        let buyers = registered_buyers(&mut pki, &server).await?;
        let seller = connect(&issue(&mut pki, "seller-1", Role::Seller)?, &server).await?;
        let items = list_items(&seller).await?;
        Ok(Some(Self { _server: server, buyers, items, _folder: folder }))
    }

    /// Buys, spread over all items.
    pub(super) async fn buy(&self, duration: std::time::Duration) -> anyhow::Result<Measurement> {
        let items = self.items.clone();
        load::run(&self.buyers, duration, move |buyer, number| {
            workload::buy(buyer, items[workload::spread(number) % items.len()])
        })
        .await
    }
}

/// Returns the given interpreter, or the first of the usual ones that has grpcio.
async fn interpreter(given: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(given) = given {
        ensure!(has_grpcio(given).await, "{} can't import grpcio and grpcio-tools", given.display());
        return Ok(Some(given.to_owned()));
    }
    let programs = std::env::current_exe()?.parent().context("the folder of the programs")?.to_owned();
    for python in [programs.join(OF_CLIENTS), "python3".into()] {
        if has_grpcio(&python).await {
            return Ok(Some(python));
        }
    }
    Ok(None)
}

async fn has_grpcio(python: &Path) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", IMPORTS]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

async fn generate_stubs(python: &Path, proto: &Path, to: &Path) -> anyhow::Result<()> {
    let files = std::fs::read_dir(proto.join("shopping/v1"))?;
    let mut files: Vec<PathBuf> = files.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.sort();
    let output = Command::new(python)
        .args(["-m", "grpc_tools.protoc", "-I"])
        .arg(proto)
        .arg(format!("--python_out={}", to.display()))
        .arg(format!("--grpc_python_out={}", to.display()))
        .args(files)
        .output()
        .await?;
    ensure!(output.status.success(), "can't generate stubs: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

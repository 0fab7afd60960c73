//! `bench import`: imports many rows into a market with the real `seller` program, and checks the market's memory.
//!
//! Resident memory alone says little, because it includes the parts of the database that happen to be mapped.
//! Therefore anonymous memory is measured and compared with a bound.

mod rows;
mod samples;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::Value;
use souk_authority::pki::{InitOptions, Party, Pki};
use souk_certs::{clock, identity::Role};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::{fixture, process::ServerProcess};
use samples::Samples;

/// Rows imported before memory is measured. They fill the bounded caches: the pages of five connections to the store,
/// 32 MiB each, and the buffer of the index writer.
const WARM_UP_ROWS: u64 = 300_000;
/// Maximum number of rejected rows that are printed per file. All are counted.
const PRINTED_PROBLEMS: usize = 20;

/// Import many rows, and verify that the market's memory stays flat
///
/// Fails if memory grows with the rows, or if the rows reported as invalid are not exactly the invalid ones.
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// Number of generated rows; ten of them are invalid.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(rows::MIN_ROWS..))]
    rows: u64,
    /// CSV file of real orders (columns StockCode, Description, UnitPrice), whose catalogue is imported first.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Number of server threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// The arguments for the `seller` program.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct SellerArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl SellerArgs {
    pub(crate) async fn run(self) -> ExitCode {
        seller::run(std::iter::once("seller".into()).chain(self.arguments)).await
    }
}

pub(crate) async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path();
    let mut pki = Pki::init(&dir.join("pki"), &InitOptions::default(), clock::now())?;
    let market = ServerProcess::start("serve-market", dir, args.threads, "warn").await?;
    let importer = fixture::issue(&mut pki, "importer", Role::Seller)?;
    fixture::register_seller(&fixture::connect(&importer, &market).await?).await?;
    if let Some(file) = &args.file {
        let columns =
            ["sku=StockCode", "name=Description", "price=UnitPrice"].map(|field| ["--column", field]);
        let defaults = ["category=gifts", "quantity=100"].map(|value| ["--default", value]);
        let flags = columns.into_iter().chain(defaults).flatten();
        let flags = flags.chain(["--currency", "GBP", "--duplicates", "skip"]).map(OsString::from);
        let done = import(&market, &importer, file, flags.collect()).await?;
        done.print(&file.display().to_string());
    }
    let warm_up = dir.join("warm-up.csv");
    rows::write(&warm_up, WARM_UP_ROWS, "W")?;
    let done = import(&market, &importer, &warm_up, Vec::new()).await?;
    ensure!(done.number("created_count") > 0, "the warm-up rows were not imported: {:?}", done.problems);
    let made_up = dir.join("made-up.csv");
    let dirty = rows::write(&made_up, args.rows, "G")?;
    let stop = CancellationToken::new();
    let (done, samples) = tokio::join!(
        async {
            let done = import(&market, &importer, &made_up, Vec::new()).await;
            stop.cancel();
            done
        },
        Samples::take(&market, stop.clone()),
    );
    let (done, samples) = (done?, samples?);
    done.print("made up");
    ensure!(done.lines() == dirty, "the invalid rows are {dirty:?}, but others were reported");
    let listed = done.number("created_count");
    ensure!(listed == args.rows - dirty.len() as u64, "only {listed} rows were imported");
    ensure!(samples.print(), "the market's memory grows with the number of rows");
    Ok(())
}

/// What the `seller import` process printed.
struct Done {
    tally: Value,
    /// One error message per rejected row.
    problems: Vec<String>,
}

/// Imports a file with the `seller` program, in a separate process.
async fn import(
    market: &ServerProcess,
    importer: &Party,
    file: &Path,
    flags: Vec<OsString>,
) -> anyhow::Result<Done> {
    let address = market.address.to_string();
    let output = Command::new(std::env::current_exe()?)
        .args(["seller", "--market", &address, "--output", "json", "--cert"])
        .arg(importer.files().cert)
        .arg("import")
        .arg(file)
        .args(flags)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let tally =
        serde_json::from_slice(&output.stdout).with_context(|| format!("the import failed: {stderr}"))?;
    let problems = stderr.lines().filter(|line| line.starts_with("line ")).map(str::to_owned).collect();
    Ok(Done { tally, problems })
}

impl Done {
    fn number(&self, field: &str) -> u64 {
        self.tally[field].as_u64().unwrap_or(0)
    }

    fn print(&self, name: &str) {
        let number = |field| self.number(field);
        println!(
            "\n{name}: {} rows, {} listed, {} skipped, {} rejected; {:.1} s, {:.0} rows/s",
            number("rows"),
            number("created_count"),
            number("skipped_count"),
            number("failed_count"),
            self.tally["seconds"].as_f64().unwrap_or(f64::NAN),
            self.tally["rows_per_second"].as_f64().unwrap_or(f64::NAN),
        );
        for problem in self.problems.iter().take(PRINTED_PROBLEMS) {
            println!("  {problem}");
        }
        if self.problems.len() > PRINTED_PROBLEMS {
            println!("  and {} more", self.problems.len() - PRINTED_PROBLEMS);
        }
    }

    /// Returns the line numbers of the rejected rows.
    fn lines(&self) -> Vec<u64> {
        let line = |problem: &String| {
            let digits = problem.strip_prefix("line ")?;
            let end = digits.find(|c: char| !c.is_ascii_digit())?;
            digits[..end].parse().ok()
        };
        self.problems.iter().filter_map(line).collect()
    }
}

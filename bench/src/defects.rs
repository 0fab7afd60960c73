//! `bench defects`: mutation testing with known defects. Applies one defect at a time and verifies that a test fails.
//!
//! A defect is a patch that removes one check. It is applied to a copy of the sources, so that the product itself has
//! no switch by which a check could be disabled. If no test fails with a defect, the tests do not cover that check.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};

/// Apply known defects to a copy of the sources, one at a time, and verify that a test fails for each
#[derive(Args)]
pub(crate) struct DefectArgs {
    /// The tests to verify.
    suite: Suite,
    /// Apply only defects whose names contain this text.
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    /// Tests with hostile clients and callback servers.
    Security,
    /// Tests of inventory synchronization with tills.
    Sync,
    /// Tests of clients of a market with several addresses.
    Failover,
    /// Tests of several markets on one PostgreSQL database.
    Postgres,
    /// Tests that count what a call costs: statements planned again, TLS records.
    Speed,
    /// Tests of what searches find.
    Search,
    /// Tests of what survives crashes, failing disks and wrong clocks.
    Durability,
    /// Tests of mailboxes, listeners and callbacks.
    Delivery,
    /// Tests of what the command lines print.
    Output,
    /// Tests of the rules of trade.
    Trade,
    /// Tests of files of items.
    Imports,
    /// Tests of the shell, its menu and the demo's screen, and of settings files, help texts and error messages.
    Terminal,
    /// Tests of enrolment, trust and token keys.
    Join,
}

impl Suite {
    fn folder(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Sync => "sync",
            Self::Failover => "failover",
            Self::Postgres => "postgres",
            Self::Speed => "speed",
            Self::Search => "search",
            Self::Durability => "durability",
            Self::Delivery => "delivery",
            Self::Output => "output",
            Self::Trade => "trade",
            Self::Imports => "imports",
            Self::Terminal => "terminal",
            Self::Join => "join",
        }
    }

    /// Returns the arguments for `cargo test`, for defects that name no tests of their own.
    fn tests(self) -> &'static [&'static str] {
        match self {
            Self::Security => &["-p", "market", "--test", "security"],
            Self::Sync | Self::Postgres | Self::Durability | Self::Delivery | Self::Trade => &[
                "-p",
                "souk-domain",
                "-p",
                "souk-store",
                "-p",
                "souk-server",
                "-p",
                "market",
                "--lib",
                "--test",
                "it",
            ],
            Self::Speed => &["-p", "souk-store", "-p", "souk-certs", "-p", "market", "--lib", "--test", "it"],
            Self::Search => &["-p", "souk-search", "--lib"],
            Self::Failover => &["-p", "souk-client", "--lib", "--test", "it"],
            Self::Output => &["-p", "souk-cli", "-p", "buyer", "-p", "seller"],
            Self::Imports => &["-p", "seller", "--lib", "--test", "cli"],
            Self::Terminal => &["-p", "souk-cli", "-p", "seller", "--lib", "--test", "shell"],
            Self::Join => &["-p", "souk-enrolment", "-p", "souk-authority", "--lib", "--test", "enrolment"],
        }
    }

    /// Returns the test filters: parts of the names of the tests to run. Empty means all.
    fn cases(self) -> &'static [&'static str] {
        match self {
            Self::Security
            | Self::Search
            | Self::Durability
            | Self::Delivery
            | Self::Trade
            | Self::Output
            | Self::Terminal
            | Self::Join => &[],
            Self::Imports => &["import", "export"],
            Self::Sync => &["till", "syncing"],
            Self::Failover => &["several", "balance"],
            Self::Postgres => &["postgres", "held_up", "ledger", "observing"],
            Self::Speed => &["replans", "records", "write_buffer"],
        }
    }

    /// Returns the tests to skip: they are unrelated to the defects and would take most of the time.
    fn left_out(self) -> &'static [&'static str] {
        match self {
            Self::Security => &["mutations_10_000", "silent_sockets_500"],
            // A single market behaves the same on every store.
            Self::Postgres => &["trade::"],
            _ => &[],
        }
    }
}

struct Defect {
    name: String,
    /// The description of the defect: the text before the first `diff` of the patch.
    about: String,
    /// What has to fail with it, from lines such as `Tests: -p souk-store --test it -- deliveries` and
    /// `Driver: crash --kills 3` in that text.
    trials: Vec<Trial>,
    patch: PathBuf,
}

/// What is run on the sources with a defect.
#[derive(Clone, PartialEq, Eq)]
enum Trial {
    Tests(Tests),
    /// A command of this program with its arguments, run on the real programs.
    Driver(Vec<String>),
}

/// What `cargo test` is to run.
#[derive(Clone, PartialEq, Eq)]
struct Tests {
    /// The packages and test programs.
    programs: Vec<String>,
    /// The arguments of the test programs: filters and tests to skip.
    cases: Vec<String>,
}

impl Tests {
    /// Returns a suite's tests.
    fn of(suite: Suite) -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut cases = owned(suite.cases());
        cases.extend(suite.left_out().iter().flat_map(|case| ["--skip".to_owned(), (*case).to_owned()]));
        Self { programs: owned(suite.tests()), cases }
    }

    /// Reads the arguments of a `Tests:` line.
    fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace().map(str::to_owned);
        let programs = words.by_ref().take_while(|word| word != "--").collect();
        Self { programs, cases: words.collect() }
    }
}

pub(crate) fn run(args: &DefectArgs) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("defects").join(args.suite.folder());
    let mut defects = find(&folder, args.suite)?;
    defects.retain(|defect| defect.name.contains(&args.only));
    ensure!(
        !defects.is_empty(),
        "no defect in {} has '{}' in its name; change --only",
        folder.display(),
        args.only
    );
    let copy = Copy::of(root)?;
    println!("building without a defect (the first build includes all dependencies)");
    let mut seen_to_pass: Vec<&Trial> = Vec::new();
    let mut caught = 0;
    for defect in &defects {
        let begun = Instant::now();
        for trial in &defect.trials {
            if !seen_to_pass.contains(&trial) {
                copy.build(trial)?;
                let clean = copy.run(trial)?;
                ensure!(
                    clean.status.success(),
                    "fails even without a defect; fix it first:\n{}",
                    text(&clean)
                );
                ensure!(
                    trial.has_run(&text(&clean)),
                    "{}: its tests do not exist; correct its patch",
                    defect.name
                );
                seen_to_pass.push(trial);
            }
        }
        copy.patch(&defect.patch, &[])?;
        let found =
            defect.trials.iter().map(|trial| copy.failures(trial)).collect::<anyhow::Result<Vec<_>>>();
        let found = found.with_context(|| format!("{} can't be built", defect.name))?;
        copy.patch(&defect.patch, &["--reverse"])?;
        let is_caught = found.iter().all(|failures| !failures.is_empty());
        let verdict = if is_caught { "caught" } else { "NOT CAUGHT" };
        caught += usize::from(is_caught);
        println!("{verdict}: {} ({:.0} s) {}", defect.name, begun.elapsed().as_secs_f64(), defect.about);
        for case in found.iter().flatten() {
            println!("    by {case}");
        }
    }
    println!("{caught} of {} caught", defects.len());
    ensure!(caught == defects.len(), "some defects are not caught by any test");
    Ok(())
}

fn find(folder: &Path, suite: Suite) -> anyhow::Result<Vec<Defect>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no defects in {}", folder.display()))?;
    let mut defects = Vec::new();
    for entry in entries {
        let patch = entry?.path();
        let (Some(stem), true) = (patch.file_stem(), patch.extension().is_some_and(|e| e == "patch")) else {
            continue;
        };
        let name = stem.to_string_lossy().into_owned();
        let content = fs::read_to_string(&patch)?;
        let header = content.split("\ndiff ").next().unwrap_or_default();
        let mut trials: Vec<_> = header.lines().filter_map(Trial::parse).collect();
        if trials.is_empty() {
            trials.push(Trial::Tests(Tests::of(suite)));
        }
        let about = header.lines().filter(|line| Trial::parse(line).is_none());
        let about = about.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
        defects.push(Defect { name, about, trials, patch });
    }
    defects.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(defects)
}

/// A copy of the sources in a temporary folder, which is deleted on drop. The build output is kept for the
/// next run, in a separate target folder, so that a program with a defect can't be started by mistake.
struct Copy {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Copy {
    fn of(root: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("souk-defects-").tempdir()?;
        let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output();
        let listed = listed.context("git is needed to list the sources")?;
        ensure!(listed.status.success(), "git can't list the sources: {}", text(&listed));
        for file in String::from_utf8(listed.stdout)?.split_terminator('\0') {
            let to = folder.path().join(file);
            fs::create_dir_all(to.parent().context("a folder")?)?;
            fs::copy(root.join(file), &to).with_context(|| format!("can't copy {file}"))?;
        }
        Ok(Self { folder, target: root.join("target/defects") })
    }

    fn patch(&self, patch: &Path, more: &[&str]) -> anyhow::Result<()> {
        let mut apply = Command::new("git");
        apply.args(["apply", "--unsafe-paths"]).args(more).arg(patch).current_dir(self.folder.path());
        // Keeps git from finding a repository in a parent folder, relative to which it would apply the patch.
        let applied = apply.env("GIT_CEILING_DIRECTORIES", self.folder.path()).output()?;
        if !applied.status.success() {
            bail!("{} no longer applies to the sources; update it: {}", patch.display(), text(&applied));
        }
        Ok(())
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).current_dir(self.folder.path());
        cargo.env("CARGO_TARGET_DIR", &self.target).env("RUST_BACKTRACE", "0");
        cargo
    }

    fn build(&self, trial: &Trial) -> anyhow::Result<()> {
        let built = match trial {
            Trial::Tests(tests) => {
                self.cargo(&["test"]).args(&tests.programs).args(["--no-run", "--quiet"]).output()?
            }
            // Both packages at once: singly, cargo would choose other features and compile everything again.
            Trial::Driver(_) => self.cargo(&["build", "--quiet", "-p", "market", "-p", "bench"]).output()?,
        };
        ensure!(built.status.success(), "the build fails:\n{}", text(&built));
        Ok(())
    }

    fn run(&self, trial: &Trial) -> anyhow::Result<Output> {
        Ok(match trial {
            // Run all test binaries even if the first one fails, to list every test that catches the defect.
            Trial::Tests(tests) => {
                let mut cargo = self.cargo(&["test"]);
                cargo.args(&tests.programs).args(["--no-fail-fast", "--"]).args(&tests.cases).output()?
            }
            Trial::Driver(arguments) => {
                Command::new(self.target.join("debug/bench")).args(arguments).output()?
            }
        })
    }

    /// Runs a trial on the sources as they are now. Returns what failed.
    fn failures(&self, trial: &Trial) -> anyhow::Result<Vec<String>> {
        self.build(trial)?;
        let output = self.run(trial)?;
        Ok(match trial {
            Trial::Tests(_) => failed_cases(&text(&output)),
            Trial::Driver(_) if output.status.success() => Vec::new(),
            Trial::Driver(arguments) => {
                let said = String::from_utf8_lossy(&output.stdout);
                let figures = said.lines().rfind(|line| line.contains('=')).unwrap_or("no figures");
                vec![format!("bench {}: {figures}", arguments.join(" "))]
            }
        })
    }
}

impl Trial {
    /// Reads a `Tests:` or `Driver:` line.
    fn parse(line: &str) -> Option<Self> {
        let tests = line.strip_prefix("Tests: ").map(|line| Self::Tests(Tests::parse(line)));
        tests.or_else(|| {
            let arguments = line.strip_prefix("Driver: ")?;
            Some(Self::Driver(arguments.split_whitespace().map(str::to_owned).collect()))
        })
    }

    /// Returns whether anything was run: a filter that matches no test would pass with and without the defect.
    fn has_run(&self, output: &str) -> bool {
        match self {
            Self::Tests(_) => has_run_any(output),
            Self::Driver(_) => true,
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Whether at least one test was run.
fn has_run_any(output: &str) -> bool {
    output.lines().any(|line| line.starts_with("test ") && line.ends_with(" ... ok"))
}

/// Returns the names in lines such as `test tokens::attack::payload_exchanged ... FAILED`.
fn failed_cases(output: &str) -> Vec<String> {
    let failed = output.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    failed.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_cases_are_read_from_what_the_tests_say() {
        let output =
            "test a::b ... ok\ntest c::d ... FAILED\n\nfailures:\n    c::d\ntest result: FAILED. 1 passed";
        assert_eq!(failed_cases(output), ["c::d"]);
    }

    /// A change of the sources that breaks a patch must be noticed at once, not at the next run of `bench defects`.
    #[test]
    fn every_defect_fits_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("defects");
        for suite in Suite::value_variants() {
            for defect in find(&folder.join(suite.folder()), *suite).unwrap() {
                check_defect(root, &defect);
            }
        }
    }

    fn check_defect(root: &Path, defect: &Defect) {
        let mut check = Command::new("git");
        let checked = check.args(["apply", "--check"]).arg(&defect.patch).current_dir(root).output().unwrap();
        assert!(checked.status.success(), "{}: {}", defect.name, text(&checked));
        assert!(!defect.about.is_empty());
    }
}

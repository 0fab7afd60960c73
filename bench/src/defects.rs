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
    /// Tests of what survives crashes, failing disks and wrong clocks.
    Durability,
    /// Tests of mailboxes, listeners and callbacks.
    Delivery,
}

impl Suite {
    fn folder(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Sync => "sync",
            Self::Failover => "failover",
            Self::Postgres => "postgres",
            Self::Speed => "speed",
            Self::Durability => "durability",
            Self::Delivery => "delivery",
        }
    }

    /// Returns the arguments for `cargo test`, for defects that name no tests of their own.
    fn tests(self) -> &'static [&'static str] {
        match self {
            Self::Security => &["-p", "market", "--test", "security"],
            Self::Sync | Self::Postgres | Self::Durability | Self::Delivery => &[
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
            Self::Failover => &["-p", "souk-client", "--lib", "--test", "it"],
        }
    }

    /// Returns the test filters: parts of the names of the tests to run. Empty means all.
    fn cases(self) -> &'static [&'static str] {
        match self {
            Self::Security | Self::Durability | Self::Delivery => &[],
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
            Self::Sync | Self::Failover | Self::Speed | Self::Durability | Self::Delivery => &[],
        }
    }
}

struct Defect {
    name: String,
    /// The description of the defect: the text before the first `diff` of the patch.
    about: String,
    /// The tests to run, from a line such as `Tests: -p souk-store --test it -- deliveries` in that text.
    tests: Tests,
    patch: PathBuf,
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
    let mut seen_to_pass: Vec<&Tests> = Vec::new();
    let mut caught = 0;
    for defect in &defects {
        let (begun, tests) = (Instant::now(), &defect.tests);
        if !seen_to_pass.contains(&tests) {
            copy.build(tests)?;
            let clean = copy.test(tests)?;
            ensure!(
                clean.status.success(),
                "tests fail even without a defect; fix them first:\n{}",
                text(&clean)
            );
            ensure!(has_run_any(&text(&clean)), "{}: its tests do not exist; correct its patch", defect.name);
            seen_to_pass.push(tests);
        }
        copy.patch(&defect.patch, &[])?;
        copy.build(tests).with_context(|| format!("{} can't be built", defect.name))?;
        let tested = copy.test(tests)?;
        copy.patch(&defect.patch, &["--reverse"])?;
        let failed = failed_cases(&text(&tested));
        let verdict = if failed.is_empty() { "NOT CAUGHT" } else { "caught" };
        caught += usize::from(!failed.is_empty());
        println!("{verdict}: {} ({:.0} s) {}", defect.name, begun.elapsed().as_secs_f64(), defect.about);
        for case in &failed {
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
        let tests = header.lines().find_map(|line| line.strip_prefix("Tests: "));
        let tests = tests.map_or_else(|| Tests::of(suite), Tests::parse);
        let about = header.lines().filter(|line| !line.starts_with("Tests: "));
        let about = about.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
        defects.push(Defect { name, about, tests, patch });
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

    fn cargo(&self, tests: &Tests) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.arg("test").args(&tests.programs).current_dir(self.folder.path());
        cargo.env("CARGO_TARGET_DIR", &self.target).env("RUST_BACKTRACE", "0");
        cargo
    }

    fn build(&self, tests: &Tests) -> anyhow::Result<()> {
        let built = self.cargo(tests).args(["--no-run", "--quiet"]).output()?;
        ensure!(built.status.success(), "the build fails:\n{}", text(&built));
        Ok(())
    }

    fn test(&self, tests: &Tests) -> anyhow::Result<Output> {
        let mut cargo = self.cargo(tests);
        // Run all test binaries even if the first one fails, to list every test that catches the defect.
        cargo.args(["--no-fail-fast", "--"]).args(&tests.cases);
        Ok(cargo.output()?)
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Whether at least one test was run: a filter that matches nothing would pass with and without the defect.
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

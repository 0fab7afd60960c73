//! The rows of the threat table in docs/authority.md, each with the tests that carry it out. The table itself is read, so
//! that a row without a test, or with one that does not exist, is noticed.

use std::path::Path;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::row;

const DOCUMENT: &str = include_str!("../../../docs/authority.md");
/// What the table follows.
const HEADING: &str = "## Threats";
/// The test programs that have the cases, and what their names have in common where a program has many others. Of the whole
/// workspace: for a single package cargo would choose other features, and so compile everything again.
const PROGRAMS: [&[&str]; 3] = [
    &["--workspace", "--test", "enrolment"],
    &["--workspace", "--test", "security", "--", "trust::", "token_keys::"],
    &["--workspace", "--lib", "--", "invitation::"],
];

/// A row of the table.
struct Threat<'a> {
    /// What the attacker does.
    attack: &'a str,
    /// The names of its cases. One that ends with `*` stands for all that begin with the rest.
    cases: Vec<&'a str>,
}

/// Runs the tests of all rows.
pub(super) async fn run() -> anyhow::Result<()> {
    let mut tests = Vec::new();
    for program in PROGRAMS {
        tests.extend(tests_in(&test(program).await?).map(|(name, has_passed)| (name.to_owned(), has_passed)));
    }
    for threat in table() {
        row(&format!("the attacker {}", threat.attack), threat.judge(&tests))?;
    }
    Ok(())
}

/// Runs tests as `cargo test` does, and returns what they print, also if some of them fail.
async fn test(arguments: &[&str]) -> anyhow::Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = cargo.args(["test", "--no-fail-fast"]).args(arguments).current_dir(root).output().await?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        tests_in(&printed).next().is_some(),
        "cargo test {} runs no test: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(printed)
}

/// Returns the tests in lines such as `test guessing::guess_locks ... ok`: the name without its modules, and whether the test
/// has passed.
fn tests_in(printed: &str) -> impl Iterator<Item = (&str, bool)> {
    printed.lines().filter_map(|line| {
        let (path, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
        Some((path.rsplit("::").next()?, outcome == "ok"))
    })
}

fn table() -> impl Iterator<Item = Threat<'static>> {
    let table = DOCUMENT.split_once(HEADING).map_or("", |(_, table)| table);
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    // After the heads of the columns.
    rows.skip(1).filter_map(|line| {
        let (attack, others) = line.split_once(" | ")?;
        let (_, cases) = others.rsplit_once(" | ")?;
        let cases = cases.split(", ").map(|case| case.trim_matches('`')).collect();
        Some(Threat { attack, cases })
    })
}

impl Threat<'_> {
    /// Returns how many tests of each case have passed, or which have not.
    fn judge(&self, tests: &[(String, bool)]) -> anyhow::Result<String> {
        let mut passed = 0;
        for case in &self.cases {
            let mut found = tests.iter().filter(|(name, _)| is_of(case, name)).peekable();
            ensure!(found.peek().is_some(), "no test is called {case}");
            for (name, has_passed) in found {
                ensure!(has_passed, "{name} fails");
                passed += 1;
            }
        }
        Ok(format!("{passed} tests: {}", self.cases.join(", ")))
    }
}

fn is_of(case: &str, test: &str) -> bool {
    case.strip_suffix('*').map_or(case == test, |begin| test.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The rows of the specification.
    const ROWS: usize = 16;

    /// Returns the names of the test functions below a folder.
    fn functions(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                functions(&path, found);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let names = text.lines().filter_map(|line| {
                    let line = line.trim_start().trim_start_matches("async ").strip_prefix("fn ")?;
                    Some(line.split_once("()")?.0.to_owned())
                });
                found.extend(names);
            }
        }
    }

    #[test]
    fn every_case_of_the_table_is_a_test() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut names = Vec::new();
        for folder in
            ["certs/authority/tests/enrolment", "certs/authority/src/invitation", "market/tests/security"]
        {
            functions(&root.join(folder), &mut names);
        }
        let threats: Vec<_> = table().collect();
        assert!(threats.len() >= ROWS, "{} rows", threats.len());
        for case in threats.iter().flat_map(|threat| &threat.cases) {
            assert!(names.iter().any(|name| is_of(case, name)), "no test is called {case}");
        }
    }

    #[test]
    fn tests_are_judged_by_what_they_print() {
        let printed = "running 3 tests\ntest a::one ... ok\ntest two_more ... FAILED\ntest b::two_less ... ok\n\nfailures:";
        let tests: Vec<_> = tests_in(printed).map(|(name, passed)| (name.to_owned(), passed)).collect();
        assert_eq!(tests.len(), 3);
        let judge =
            |cases: &[&'static str]| Threat { attack: "attacks", cases: cases.to_vec() }.judge(&tests);
        assert_eq!(judge(&["one", "two_l*"]).unwrap(), "2 tests: one, two_l*");
        assert_eq!(judge(&["one", "two_*"]).unwrap_err().to_string(), "two_more fails");
        assert_eq!(judge(&["on"]).unwrap_err().to_string(), "no test is called on");
    }
}

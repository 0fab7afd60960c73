//! Tidy tests: layering, file sizes, and nothing in the repository that must not be there. They are a
//! separate test program because they need no market, so it builds in seconds.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod crates;
mod documents;
mod manifests;
mod metrics;
mod modules;
mod supply;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The maximum number of lines in a Rust file.
const MAX_LINES: usize = 400;

/// How the lines of a private key in PEM continue after the first: at least this many characters of base64.
const KEY_LINE: usize = 40;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn is_below(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns all text files of the repository, with paths relative to its root.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                // Skip build output, git's own files, minted certificates and packages.
                let is_skipped = ["target", ".git", "node_modules"].contains(&name.as_str());
                if !is_skipped && !path.ends_with("certs/pki") {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push(Source { path: path.strip_prefix(root()).unwrap().to_owned(), text });
            }
        }
    }
    found
}

fn rust_sources() -> Vec<Source> {
    sources().into_iter().filter(|source| source.path.extension().is_some_and(|e| e == "rs")).collect()
}

/// Returns the manifest in a folder, which is relative to the root.
fn manifest(folder: &str) -> toml::Table {
    fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap().parse().unwrap()
}

/// Returns the folders of the workspace's crates, relative to the root.
fn members() -> Vec<String> {
    let manifest = manifest("");
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

fn assert_none(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

fn offences_of<'a>(
    sources: impl Iterator<Item = &'a Source>,
    is_wrong: impl Fn(&str) -> Option<&'static str>,
) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(why) = is_wrong(line) {
                offences.push(format!("{}:{}: {why}", source.path.display(), number + 1));
            }
        }
    }
    offences
}

#[test]
fn rules_use_no_network_no_store_and_no_clock() {
    let sources = rust_sources();
    let rules = sources.iter().filter(|source| source.is_below("market/domain"));
    let foreign = ["tonic", "tokio", "rusqlite", "souk_proto", "SystemTime", "now_utc"];
    assert_none(offences_of(rules, |line| {
        foreign.iter().any(|word| line.contains(word)).then_some("the rules are pure")
    }));
}

#[test]
fn sql_is_only_in_the_store() {
    let sources = rust_sources();
    // The peers of `bench search` are databases, not parts of the market.
    let allowed = ["market/store", "market/tests", "bench/src/search/peers"];
    let others = sources.iter().filter(|source| !allowed.iter().any(|folder| source.is_below(folder)));
    let sql = ["SELECT ", "INSERT INTO", "DELETE FROM", "UPDATE item", "rusqlite"];
    assert_none(offences_of(others, |line| {
        sql.iter().any(|word| line.contains(word)).then_some("SQL belongs into market/store")
    }));
}

#[test]
fn files_are_short() {
    let sources = rust_sources();
    let long = sources.iter().filter(|source| source.text.lines().count() > MAX_LINES);
    assert_none(
        long.map(|source| format!("{} has more than {MAX_LINES} lines", source.path.display())).collect(),
    );
}

#[test]
fn no_todo_is_left_and_no_lint_is_allowed_silently() {
    let sources = rust_sources();
    let marks = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("#[", "allow("),
        concat!("#![", "allow("),
    ];
    assert_none(offences_of(sources.iter(), |line| {
        marks.iter().any(|mark| line.contains(mark)).then_some("finish it, or use #[expect(…, reason)]")
    }));
}

/// `println!` and `eprintln!` panic if their reader has left.
#[test]
fn programs_print_through_souk_stdio() {
    let programs = ["buyer/src", "seller/src", "client/cli/src", "market/src", "certs/authority/src"];
    let marks = [concat!("print", "ln!("), concat!("print", "!("), concat!("stdout", "().lock")];
    let sources = rust_sources();
    let of_programs = sources.iter().filter(|source| programs.iter().any(|folder| source.is_below(folder)));
    assert_none(offences_of(of_programs, |line| {
        let is_code = !line.trim_start().starts_with("//");
        (is_code && marks.iter().any(|mark| line.contains(mark)))
            .then_some("use outln! or errln! of souk_stdio")
    }));
}

#[test]
fn modules_have_meaningful_names() {
    let nothing = ["util", "utils", "common", "helper", "helpers", "misc", "shared"];
    let sources = rust_sources();
    let offences = sources.iter().filter(|source| {
        source.path.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            nothing.contains(&name.trim_end_matches(".rs"))
        })
    });
    assert_none(offences.map(|source| source.path.display().to_string()).collect());
}

#[test]
fn no_private_key_is_in_the_repository() {
    let offences = sources().into_iter().filter(|source| {
        let keys = source.text.split("PRIVATE KEY-----\n").skip(1);
        let mut first_lines = keys.map(|key| key.lines().next().unwrap_or_default());
        source.path.extension().is_some_and(|e| e == "key")
            || first_lines.any(|line| line.len() >= KEY_LINE && !line.contains(' '))
    });
    assert_none(offences.map(|source| source.path.display().to_string()).collect());
}

//! Checks that documents agree with the code that they describe.

use std::{env, fmt::Write as _, fs};

use souk_proto::{Reason, reason::code_name};

use super::root;

/// Set to write the documents instead of comparing them.
const UPDATE: &str = "SOUK_UPDATE_DOCS";

/// Compares the part of a document between two marker lines with the expected text, or updates it.
fn hold(document: &str, begin: &str, end: &str, expected: &str) {
    let path = root().join(document);
    let text = fs::read_to_string(&path).unwrap();
    let from = text.find(begin).unwrap_or_else(|| panic!("{document} has no line {begin}")) + begin.len();
    let to = from + text[from..].find(end).unwrap_or_else(|| panic!("{document} has no line {end}"));
    let expected = format!("\n{}\n", expected.trim_end());
    if env::var_os(UPDATE).is_some() {
        fs::write(&path, format!("{}{expected}{}", &text[..from], &text[to..])).unwrap();
    } else if text[from..to] != expected {
        panic!("{document} differs from the code; run this test with {UPDATE}=1 and commit the result");
    }
}

#[test]
fn errors_md_has_the_table_of_reasons() {
    let mut table =
        String::from("\n| reason | gRPC status | exit | meaning | what to do |\n|---|---|---|---|---|\n");
    for reason in Reason::ALL {
        let (status, exit) = (code_name(reason.code()), souk_cli::exit::of_reason(*reason));
        let (meaning, hint) = (reason.meaning(), reason.hint());
        writeln!(table, "| `{reason}` | {status} | {exit} | {meaning} | {hint} |").unwrap();
    }
    let begin = "<!-- reasons: generated from proto/src/reason.rs -->";
    hold("docs/errors.md", begin, "<!-- end of reasons -->", &(table + "\n"));
}

#[test]
fn settings_md_shows_the_default_file() {
    let defaults = souk_server::config::Config::DEFAULTS;
    hold("docs/settings.md", "```toml", "```", defaults);
}

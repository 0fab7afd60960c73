//! Where other people's code comes from and under which licences, as `cargo metadata` shows it. The rules are those of
//! `deny.toml`, which `cargo deny` checks too, together with advisories.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::Value;

use super::{assert_none, root};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Crates of which two versions would be two TLS or crypto libraries in one program.
const ONCE: [&str; 5] = ["aws-lc-rs", "aws-lc-sys", "rustls", "rustls-webpki", "rustls-pki-types"];

/// Runs cargo without the network and returns its output.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns all packages of the lock file.
fn packages() -> Vec<Value> {
    let text = cargo(&["metadata", "--format-version", "1", "--locked", "--offline"]);
    let mut metadata: Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

fn name_of(package: &Value) -> String {
    let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
    format!("{} {}", text("name"), text("version"))
}

/// Returns a list of `deny.toml`.
fn rules(section: &str, key: &str) -> Vec<toml::Value> {
    let rules: toml::Table = fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    rules[section][key].as_array().unwrap().clone()
}

/// Returns whether a licence expression (SPDX, or with the slash of old manifests) can be met with these licences.
fn is_permitted(expression: &str, permitted: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let (is_met, rest) = any(&words, permitted);
    is_met && rest.is_empty()
}

/// Evaluates alternatives, and returns what follows them.
fn any<'a>(words: &'a [&'a str], permitted: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut is_met, mut rest) = all(words, permitted);
    while let ["OR", more @ ..] = rest {
        let (other, after) = all(more, permitted);
        (is_met, rest) = (is_met | other, after);
    }
    (is_met, rest)
}

fn all<'a>(words: &'a [&'a str], permitted: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut is_met, mut rest) = one(words, permitted);
    while let ["AND", more @ ..] = rest {
        let (other, after) = one(more, permitted);
        (is_met, rest) = (is_met & other, after);
    }
    (is_met, rest)
}

fn one<'a>(words: &'a [&'a str], permitted: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inner @ ..] => match any(inner, permitted) {
            (is_met, [")", rest @ ..]) => (is_met, rest),
            (_, rest) => (false, rest),
        },
        [licence, "WITH", exception, rest @ ..] => {
            (permitted.contains(&format!("{licence} WITH {exception}")), rest)
        }
        [licence, rest @ ..] => (permitted.contains(*licence), rest),
        [] => (false, words),
    }
}

#[test]
fn every_licence_is_permitted() {
    let permitted: BTreeSet<_> =
        rules("licenses", "allow").iter().map(|licence| licence.as_str().unwrap().to_owned()).collect();
    let packages = packages();
    let offences = packages.iter().filter(|package| {
        package["source"].is_string()
            && !is_permitted(package["license"].as_str().unwrap_or_default(), &permitted)
    });
    assert_none(offences.map(|package| format!("{}: {}", name_of(package), package["license"])).collect());
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let packages = packages();
    let offences = packages.iter().filter(|package| {
        // Without a source, it is a path: one of ours.
        let is_ours = package["source"].is_null()
            && package["manifest_path"]
                .as_str()
                .is_some_and(|path| path.starts_with(&*root().to_string_lossy()));
        !is_ours && package["source"] != REGISTRY
    });
    assert_none(
        offences.map(|package| format!("{} comes from {}", name_of(package), package["source"])).collect(),
    );
}

#[test]
fn there_is_one_crypto_back_end() {
    // Not from the metadata: it also lists optional dependencies that no feature enables.
    let tree =
        cargo(&["tree", "--workspace", "--prefix", "none", "--target", "all", "--locked", "--offline"]);
    let mut versions = BTreeMap::<_, BTreeSet<_>>::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name).or_default().insert(version);
        }
    }
    let mut offences = Vec::new();
    for rule in rules("bans", "deny") {
        let banned = rule["crate"].as_str().unwrap().to_owned();
        if versions.contains_key(banned.as_str()) {
            offences.push(format!("{banned} is in the tree: cargo tree --workspace --invert {banned}"));
        }
    }
    for name in ONCE {
        let found = &versions[name];
        if found.len() > 1 {
            offences.push(format!("{name} is there in several versions: {found:?}"));
        }
    }
    assert_none(offences);
}

#[test]
fn licence_expressions_are_read_as_spdx_says() {
    let permitted = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    for met in ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "MIT AND ISC", "(GPL-3.0 OR ISC) AND MIT"] {
        assert!(is_permitted(met, &permitted), "{met}");
    }
    assert!(is_permitted("Apache-2.0 WITH LLVM-exception OR GPL-3.0", &permitted));
    for unmet in ["", "GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "(MIT", "MIT)", "MIT ISC"] {
        assert!(!is_permitted(unmet, &permitted), "{unmet}");
    }
}

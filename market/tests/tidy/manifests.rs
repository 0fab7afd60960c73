//! No manifest names a dependency that its crate does not use.

use std::{collections::BTreeSet, path::Path};

use super::{Source, assert_none, manifest, members, rust_sources};

/// Dependencies that no source file names, each with the reason why it is needed.
const UNNAMED: [(&str, &str, &str); 3] = [
    ("certs", "rustls-webpki", "keeps rustls at a version that checks revocation lists correctly"),
    ("proto", "prost", "named by the generated code"),
    ("proto", "tonic-prost", "named by the generated code"),
];

/// Returns whether a path, a macro or an import in `text` begins with the crate's name.
fn names(text: &str, dependency: &str) -> bool {
    let name = dependency.replace('-', "_");
    text.match_indices(&name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = &text[at + name.len()..];
        let begins = before.is_none_or(|c| !c.is_alphanumeric() && !"_:".contains(c));
        begins && ["::", "!", ";", " as "].iter().any(|end| after.starts_with(end))
    })
}

/// Returns the code of a crate, without comments and without crates nested in its folder.
fn code_of(member: &str, sources: &[Source]) -> String {
    let nested: Vec<_> = members()
        .into_iter()
        .filter(|other| other != member && Path::new(other).starts_with(member))
        .collect();
    let own = sources
        .iter()
        .filter(|source| source.is_below(member) && !nested.iter().any(|nested| source.is_below(nested)));
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    own.flat_map(|source| source.text.lines()).filter(is_code).collect::<Vec<_>>().join("\n")
}

/// Returns the dependencies that a member's manifest names, each with its section.
fn dependencies_of(member: &str) -> Vec<(&'static str, String)> {
    let manifest = manifest(member);
    let named = |section: &'static str| {
        let table = manifest.get(section).and_then(toml::Value::as_table);
        table.into_iter().flat_map(toml::Table::keys).map(move |name| (section, name.clone()))
    };
    ["dependencies", "dev-dependencies", "build-dependencies"].into_iter().flat_map(named).collect()
}

#[test]
fn every_dependency_is_used() {
    let sources = rust_sources();
    let mut offences = Vec::new();
    for member in members() {
        let code = code_of(&member, &sources);
        for (section, dependency) in dependencies_of(&member) {
            let is_excused = UNNAMED.iter().any(|(of, name, _)| *of == member && *name == dependency);
            if !is_excused && !names(&code, &dependency) {
                offences.push(format!("{member}/Cargo.toml: {dependency} ({section}) is not used"));
            }
        }
    }
    assert_none(offences);
}

#[test]
fn every_dependency_of_the_workspace_is_used_by_a_member() {
    let used: BTreeSet<_> =
        members().iter().flat_map(|member| dependencies_of(member)).map(|(_, name)| name).collect();
    let manifest = manifest("");
    let dependencies = manifest["workspace"]["dependencies"].as_table().unwrap();
    let unused = dependencies.keys().filter(|name| !used.contains(*name));
    assert_none(unused.map(|name| format!("Cargo.toml: no member uses {name}")).collect());
}

#[test]
fn a_name_counts_only_where_a_path_begins_with_it() {
    assert!(names("use time::Duration;", "time") && names("toml::from_str(x)", "toml"));
    assert!(names("pin_project! {", "pin-project") && names("use bytes as b;", "bytes"));
    assert!(!names("use std::time::Duration;", "time") && !names("my_time::now()", "time"));
}

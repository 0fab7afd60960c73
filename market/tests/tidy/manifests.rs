//! No manifest names a dependency that its crate does not use.

use std::{fs, path::Path};

use super::{Source, assert_none, members, root, rust_sources};

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

#[test]
fn every_dependency_is_used() {
    let sources = rust_sources();
    let mut offences = Vec::new();
    for member in members() {
        let manifest = fs::read_to_string(root().join(&member).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let code = code_of(&member, &sources);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let table = manifest.get(section).and_then(toml::Value::as_table);
            for dependency in table.into_iter().flat_map(toml::Table::keys) {
                let is_excused = UNNAMED.iter().any(|(of, name, _)| *of == member && name == dependency);
                if !is_excused && !names(&code, dependency) {
                    offences.push(format!("{member}/Cargo.toml: {dependency} ({section}) is not used"));
                }
            }
        }
    }
    assert_none(offences);
}

#[test]
fn every_dependency_of_the_workspace_is_used_by_a_member() {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members: Vec<_> = members()
        .iter()
        .map(|member| fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap())
        .collect();
    let is_used = |name: &str| {
        let forms = [format!("{name}.workspace"), format!("{name} = ")];
        members
            .iter()
            .any(|manifest| manifest.lines().any(|line| forms.iter().any(|form| line.starts_with(form))))
    };
    let dependencies = manifest["workspace"]["dependencies"].as_table().unwrap();
    let unused = dependencies.keys().filter(|name| !is_used(name));
    assert_none(unused.map(|name| format!("Cargo.toml: no member uses {name}")).collect());
}

#[test]
fn a_name_counts_only_where_a_path_begins_with_it() {
    assert!(names("use time::Duration;", "time") && names("toml::from_str(x)", "toml"));
    assert!(names("pin_project! {", "pin-project") && names("use bytes as b;", "bytes"));
    assert!(!names("use std::time::Duration;", "time") && !names("my_time::now()", "time"));
}

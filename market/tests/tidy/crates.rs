//! The layering of crates, as `cargo tree` shows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    process::Command,
};

use super::{assert_none, manifest, members, root};

/// What each crate must not depend on, directly or through others. `*` means every other crate of the
/// workspace.
const MUST_NOT: [(&str, &[&str]); 7] = [
    ("souk-proto", &["*"]),
    ("souk-certs", &["rcgen", "tar", "clap", "anyhow"]),
    ("souk-client", &["clap", "reedline", "indicatif", "anstream", "souk-stdio", "souk-cli"]),
    ("souk-domain", &["*", "tokio", "tonic", "rusqlite", "tokio-postgres"]),
    ("souk-store", &["souk-server", "souk-search", "tonic"]),
    ("souk-search", &["souk-server", "tonic"]),
    ("souk-server", &["souk-cli", "souk-testkit", "reedline"]),
];

/// Returns the name of the crate in a member's folder.
fn name_of(member: &str) -> String {
    manifest(member)["package"]["name"].as_str().unwrap().to_owned()
}

/// Returns every crate that `name` depends on through normal dependencies, directly or indirectly.
fn below(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", name, "--edges", "normal", "--prefix", "none", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|below| *below != name).map(str::to_owned).collect()
}

#[test]
fn crates_depend_on_nothing_that_their_layer_forbids() {
    let ours: BTreeSet<_> = members().iter().map(|member| name_of(member)).collect();
    let tree: BTreeMap<_, _> = ours.iter().map(|name| (name.as_str(), below(name))).collect();
    let mut offences = Vec::new();
    for (name, forbidden) in MUST_NOT {
        for below in &tree[name] {
            let is_other = ours.contains(below) && forbidden.contains(&"*");
            if is_other || forbidden.contains(&below.as_str()) {
                offences.push(format!("{name} depends on {below}"));
            }
        }
    }
    assert_none(offences);
    // Cargo permits no cycle, so counting the crates below each one orders them.
    let mut order: Vec<_> = tree.keys().copied().collect();
    order.sort_by_key(|name| tree[name].intersection(&ours).count());
    // Not through `println!`, which the test runner captures.
    writeln!(io::stdout(), "crates: {}", order.join(" < ")).unwrap();
}

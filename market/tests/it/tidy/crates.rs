//! The layering of crates, from `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    process::Command,
};

use serde_json::Value;

use super::root;

/// What each crate must not depend on, directly or through others. `*` stands for every other crate of the workspace.
const MUST_NOT: [(&str, &[&str]); 7] = [
    ("souk-certs", &["rcgen", "tar", "clap", "anyhow"]),
    ("souk-client", &["clap", "reedline", "comfy-table", "indicatif", "nu-ansi-term", "souk-cli"]),
    ("souk-domain", &["*", "tokio", "tonic", "rusqlite", "tokio-postgres"]),
    ("souk-store", &["souk-server", "souk-search", "tonic"]),
    ("souk-search", &["souk-server", "tonic"]),
    ("souk-server", &["souk-cli", "souk-testkit", "reedline"]),
    ("souk-proto", &["souk-certs", "souk-client", "souk-domain"]),
];

/// Crates by name, each with the names of those that it depends on in a normal build.
struct Graph {
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn load() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let names: BTreeMap<_, _> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let members = list(&metadata["workspace_members"]).iter().map(|id| names[&text(id)].clone());
        let is_normal =
            |dependency: &Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let normal = list(&node["deps"]).into_iter().filter(is_normal);
            let found = normal.map(|dependency| names[&text(&dependency["pkg"])].clone());
            edges.entry(names[&text(&node["id"])].clone()).or_default().extend(found);
        }
        Self { members: members.collect(), edges }
    }

    /// Everything that a crate depends on.
    fn below(&self, name: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut next = vec![name];
        while let Some(name) = next.pop() {
            for below in self.edges.get(name).into_iter().flatten() {
                if found.insert(below.as_str()) {
                    next.push(below);
                }
            }
        }
        found
    }
}

#[test]
fn crates_depend_on_nothing_that_their_layer_forbids() {
    let graph = Graph::load();
    let mut offences = Vec::new();
    for (name, forbidden) in MUST_NOT {
        assert!(graph.members.contains(name), "{name} is not in the workspace");
        for below in graph.below(name) {
            let is_ours = graph.members.contains(below);
            if forbidden.contains(&below) || (is_ours && forbidden.contains(&"*")) {
                offences.push(format!("{name} depends on {below}"));
            }
        }
    }
    super::assert_none(offences);
    // Cargo refuses cycles, so counting what is below orders the crates.
    let mut order: Vec<_> = graph.members.iter().collect();
    order
        .sort_by_key(|name| graph.below(name).iter().filter(|below| graph.members.contains(**below)).count());
    let order: Vec<_> = order.into_iter().map(String::as_str).collect();
    // Not through `println!`, which the test runner keeps to itself.
    writeln!(io::stdout(), "crates: {}", order.join(" < ")).unwrap();
}

//! Checks that alert rules and the dashboard use only metrics that docs/operating.md describes. That the description is
//! true of a running market is tested in `it::metrics`.

use std::{collections::BTreeSet, fs};

use super::{assert_none, root};

/// How the names of metrics begin.
const PREFIXES: [&str; 3] = ["souk_", "rpc_server_", "process_"];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Returns the names that may be used in a query.
fn described() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let text = read("docs/operating.md");
    for row in text.lines().filter_map(|line| line.strip_prefix("| `")) {
        let Some((name, rest)) = row.split_once("` | ") else { continue };
        if !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        if rest.starts_with("histogram") {
            names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        } else {
            assert!(names.insert(name.to_owned()), "{name} is described twice");
        }
    }
    assert!(names.len() > 50, "{names:?}");
    names
}

/// Returns the names of metrics in a text.
fn used(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix))).collect()
}

fn assert_described(path: &str, text: &str) {
    let described = described();
    let unknown = used(text).into_iter().filter(|name| !described.contains(*name));
    assert_none(unknown.map(|name| format!("{path}: docs/operating.md has no metric {name}")).collect());
}

/// Returns the anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

#[test]
fn alerts_use_described_metrics_and_say_what_to_do() {
    let path = "deploy/prometheus/alerts.yaml";
    let text = read(path);
    assert_described(path, &text);
    let mut offences = Vec::new();
    for rule in text.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let value = |key: &str| {
            let key = format!("{key}: ");
            rule.lines().find_map(|line| line.trim_start().strip_prefix(key.as_str()))
        };
        for key in ["expr", "for", "severity", "summary", "description", "runbook"] {
            if value(key).is_none_or(str::is_empty) {
                offences.push(format!("{path}: {name} has no {key}"));
            }
        }
        if !matches!(value("severity"), Some("critical" | "warning")) {
            offences.push(format!("{path}: the severity of {name} is neither critical nor warning"));
        }
        let (document, section) = value("runbook").and_then(|book| book.split_once('#')).unwrap_or_default();
        let document_text = fs::read_to_string(root().join(document)).unwrap_or_default();
        let mut headings = document_text.lines().filter(|line| line.starts_with('#'));
        if !headings.any(|line| anchor(line.trim_start_matches('#').trim()) == section) {
            offences.push(format!("{path}: the runbook of {name} does not exist: {document}#{section}"));
        }
    }
    assert_none(offences);
}

#[test]
fn dashboard_uses_described_metrics_and_shows_all_of_them() {
    let path = "deploy/grafana/souk.json";
    let text = read(path);
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    let queries = queries.join("\n");
    assert_described(path, &queries);
    let shown = used(&queries);
    let missing = described().into_iter().filter(|name| !shown.contains(name.as_str()));
    assert_none(missing.map(|name| format!("{path} does not show {name}")).collect());
    let rows = panels.iter().filter(|panel| panel["type"] == "row");
    let rows: Vec<_> = rows.map(|row| row["title"].as_str().unwrap()).collect();
    let wanted =
        ["State", "Traffic", "Latency", "Errors", "Ledger", "Delivery", "Store", "Search", "TLS", "Process"];
    assert_eq!(rows, wanted);
}

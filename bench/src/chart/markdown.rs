//! The results as tables in Markdown.

use std::fmt::Write as _;

use anyhow::Context as _;

use super::Results;
use crate::figures::number;

const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- end of figures -->";

/// Returns a document in which a chart and the tables of these results are between the marks.
pub(super) fn replaced(document: &str, chart: &str, results: &[Results]) -> anyhow::Result<String> {
    let missing = || format!("the document has no part between {} and {END}", BEGIN.trim_end());
    let (before, rest) = document.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    let tables: String = results.iter().map(tables).collect();
    let picture = format!("![Server times of searches, and by number of items]({chart})");
    Ok(format!("{before}{BEGIN}\n{picture}\n\n{tables}{END}{after}"))
}

fn tables(results: &Results) -> String {
    let mut text = format!("### `bench {}`\n\n{}.\n\n", results.command, results.machine);
    for table in &results.tables {
        // Writing to a string can't fail.
        let _ = writeln!(text, "| {} | {} |", table.caption, table.columns.join(" | "));
        let _ = writeln!(text, "|---|{}", "---:|".repeat(table.columns.len()));
        for (label, values) in &table.rows {
            let values: Vec<_> = values.iter().map(|value| value.map_or("–".to_owned(), number)).collect();
            let _ = writeln!(text, "| {label} | {} |", values.join(" | "));
        }
        text.push('\n');
    }
    if !results.figures.is_empty() {
        text.push_str("| figure | median (min to max) | target (at best) | |\n|---|---:|---:|---|\n");
    }
    for figure in &results.figures {
        let sign = if figure.is_at_most { "≤" } else { "≥" };
        let verdict = if figure.is_reached { "reached" } else { "**missed**" };
        let (median, target) = (number(figure.median), number(figure.target));
        let range = if figure.least < figure.most {
            format!(" ({} to {})", number(figure.least), number(figure.most))
        } else {
            String::new()
        };
        let best = figure.stretch.map_or(String::new(), |stretch| format!(" ({})", number(stretch)));
        let _ = writeln!(text, "| {} | {median}{range} | {sign} {target}{best} | {verdict} |", figure.name);
    }
    let reached = results.figures.iter().filter(|figure| figure.is_reached).count();
    let _ = writeln!(text, "\n{reached} of {} reached.\n", results.figures.len());
    for skipped in &results.skipped {
        let _ = writeln!(text, "Skipped: {skipped}.\n");
    }
    text
}

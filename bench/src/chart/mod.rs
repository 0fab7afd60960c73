//! `bench chart`: draws the results of `bench search` and `bench growth`, and writes the tables of all commands into
//! the documentation. The same results always give the same files.

mod draw;
mod markdown;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

/// Draw results that were written by --json, and write them into the documentation
#[derive(Args)]
pub(crate) struct ChartArgs {
    /// Results of compare, search and growth, in the order in which their tables are written.
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// File for the chart.
    #[arg(long, value_name = "FILE", default_value = "docs/performance.svg")]
    svg: PathBuf,
    /// Document whose part between the lines “<!-- figures -->” and “<!-- end of figures -->” is replaced by the tables.
    #[arg(long, value_name = "FILE", default_value = "docs/performance.md")]
    document: PathBuf,
}

pub(crate) fn run(args: &ChartArgs) -> anyhow::Result<()> {
    let results: Vec<_> = args.results.iter().map(|file| Results::read(file)).collect::<Result<_, _>>()?;
    let document = fs::read_to_string(&args.document)
        .with_context(|| format!("can't read {}", args.document.display()))?;
    let name = args.svg.file_name().context("the chart needs a file name")?.to_string_lossy();
    fs::write(&args.document, markdown::replaced(&document, &name, &results)?)?;
    fs::write(&args.svg, draw::chart(&results))?;
    println!("wrote {} and {}", args.svg.display(), args.document.display());
    Ok(())
}

/// What one command has measured.
struct Results {
    command: String,
    machine: String,
    tables: Vec<Measured>,
    figures: Vec<Judged>,
    skipped: Vec<String>,
}

/// A table of values.
struct Measured {
    name: String,
    caption: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<Option<f64>>)>,
}

/// A figure with its target.
struct Judged {
    name: String,
    median: f64,
    least: f64,
    most: f64,
    is_at_most: bool,
    target: f64,
    stretch: Option<f64>,
    is_reached: bool,
}

impl Results {
    fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
        let result: Value = serde_json::from_slice(&text)
            .with_context(|| format!("{} was not written by --json", file.display()))?;
        Self::parse(&result).with_context(|| format!("{} has no results", file.display()))
    }

    fn parse(result: &Value) -> Option<Self> {
        let machine = &result["machine"];
        let known = ["processor", "memory", "build"].map(|key| machine[key].as_str());
        let cores = machine["cores"].as_u64().map(|cores| format!("{cores} cores"));
        let known = known.into_iter().flatten().map(str::to_owned);
        Some(Self {
            command: result["command"].as_str()?.to_owned(),
            machine: cores.into_iter().chain(known).collect::<Vec<_>>().join(", "),
            tables: result["tables"].as_array()?.iter().map(Measured::parse).collect::<Option<_>>()?,
            figures: result["figures"].as_array()?.iter().map(Judged::parse).collect::<Option<_>>()?,
            skipped: texts(&result["skipped"])?,
        })
    }
}

impl Measured {
    fn parse(table: &Value) -> Option<Self> {
        let rows = table["rows"].as_array()?.iter().map(|row| {
            let values = row["values"].as_array()?.iter().map(Value::as_f64).collect();
            Some((row["label"].as_str()?.to_owned(), values))
        });
        Some(Self {
            name: table["name"].as_str()?.to_owned(),
            caption: table["caption"].as_str()?.to_owned(),
            columns: texts(&table["columns"])?,
            rows: rows.collect::<Option<_>>()?,
        })
    }

    /// Returns the values of a column, by row.
    fn column(&self, name: &str) -> Option<Vec<Option<f64>>> {
        let column = self.columns.iter().position(|column| column == name)?;
        Some(self.rows.iter().map(|(_, values)| values.get(column).copied().flatten()).collect())
    }
}

impl Judged {
    fn parse(figure: &Value) -> Option<Self> {
        // What could not be computed is null.
        let number = |key: &str| figure[key].as_f64().unwrap_or(f64::NAN);
        Some(Self {
            name: figure["name"].as_str()?.to_owned(),
            median: number("median"),
            least: number("min"),
            most: number("max"),
            is_at_most: figure["bound"].as_str()? == "at most",
            target: number("target"),
            stretch: figure["stretch"].as_f64(),
            is_reached: figure["reached"].as_bool()?,
        })
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| Some(text.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results() -> Vec<Results> {
        let table = |name: &str, columns: &[&str], rows: Value| json!({ "name": name, "caption": "in ms", "columns": columns, "rows": rows });
        let search = json!([
            { "label": "rare <word>", "values": [0.02, 0.01, 0.06] },
            { "label": "misspelt", "values": [0.4, 0.1, null] },
        ]);
        let growth = json!([{ "label": "search, page 1, server ms", "values": [0.1, 0.2] }]);
        let result = json!({
            "command": "search",
            "machine": { "cores": 2, "build": "release" },
            "tables": [
                table("search", &["first p50", "known p50", "fts5"], search),
                table("growth", &["10000", "100000"], growth),
            ],
            "figures": [{
                "name": "memory, MB", "median": 12.5, "min": 12.0, "max": 13.0,
                "bound": "at most", "target": 600.0, "stretch": 400.0, "reached": true,
            }],
            "skipped": ["peers: none was asked for"],
        });
        vec![Results::parse(&result).unwrap()]
    }

    #[test]
    fn a_chart_depends_on_the_results_alone() {
        let svg = draw::chart(&results());
        assert_eq!(svg, draw::chart(&results()));
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("rare &lt;word&gt;"), "texts are escaped");
        assert!(svg.contains("search, page 1"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn tables_replace_what_is_between_the_marks() {
        let document = "before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n";
        let text = markdown::replaced(document, "c.svg", &results()).unwrap();
        assert!(
            text.starts_with("before\n<!-- figures -->\n")
                && text.ends_with("<!-- end of figures -->\nafter\n")
        );
        assert!(
            !text.contains("old")
                && text.contains("| memory, MB | 12.5 (12 to 13) | ≤ 600 (400) | reached |"),
            "{text}"
        );
        assert!(
            text.contains("1 of 1 reached") && text.contains("| misspelt | 0.400 | 0.100 | – |"),
            "{text}"
        );
        assert_eq!(markdown::replaced(&text, "c.svg", &results()).unwrap(), text, "again");
        assert!(markdown::replaced("no marks", "c.svg", &results()).is_err());
    }

    #[test]
    fn the_documentation_shows_the_results_beside_it() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let document = fs::read_to_string(docs.join("performance.md")).unwrap();
        assert!(markdown::replaced(&document, "c.svg", &results()).is_ok(), "it has the marks");
        let Ok(files) = fs::read_dir(docs.join("measured")) else { return };
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        let results: Vec<_> = files.iter().map(|file| Results::read(file).unwrap()).collect();
        let again = "run `bench chart docs/measured/*.json` again";
        assert_eq!(
            fs::read_to_string(docs.join("performance.svg")).unwrap(),
            draw::chart(&results),
            "{again}"
        );
        assert_eq!(markdown::replaced(&document, "performance.svg", &results).unwrap(), document, "{again}");
    }
}

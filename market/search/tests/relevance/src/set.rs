//! The judged queries.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use souk_domain::Category;

use super::{goods::Goods, table};

/// The grade of an item that is exactly what the query asks for.
pub const BEST: u8 = 3;
/// The least grade of an item with which a shopper would be content.
pub const RIGHT: u8 = 2;
/// The kind of queries with a typing or spelling mistake.
pub const MISSPELT: &str = "misspelt";

/// The columns of `queries-*.tsv`.
const COLUMNS: [&str; 5] = ["goods", "query", "within", "item", "grade"];

macro_rules! kinds {
    ($($kind:literal,)+) => {
        /// The kinds of queries, each with its file.
        pub const KINDS: [(&str, &str); [$($kind),+].len()] =
            [$(($kind, include_str!(concat!("../queries-", $kind, ".tsv")))),+];
    };
}

kinds! {
    "one-word",
    "two-words",
    "three-words",
    "whole-name",
    "beginnings",
    "joined",
    "plurals",
    "unspaced",
    "compounds",
    "points",
    "sigma",
    "digits",
    "width",
    "sku",
    "misspelt",
    "too-many",
    "small-words",
    "descriptions",
    "symbols",
    "foreign",
    "categories",
    "ties",
}

/// A query and the judgement of every item that is not wrong.
#[derive(Clone, Debug)]
pub struct Query {
    /// The kind, which is one of [`KINDS`].
    pub kind: &'static str,
    /// What the shopper types.
    pub text: String,
    /// The category to which the shopper has restricted the search.
    pub within: Option<Category>,
    /// The grades by the item's place in the catalogue, 1 to [`BEST`]. Items that are left out are wrong. If there is none,
    /// nothing should be found.
    pub grades: HashMap<usize, u8>,
}

/// Returns the queries over a catalogue, whose items have these places.
pub(super) fn queries(goods: Goods, places: &HashMap<String, usize>) -> anyhow::Result<Vec<Query>> {
    let mut queries: Vec<Query> = Vec::new();
    for (kind, text) in KINDS {
        let rows = table::rows(text, &COLUMNS, b'\t').with_context(|| format!("queries-{kind}.tsv"))?;
        for row in rows.iter().filter(|row| row[0] == goods.name()) {
            add(&mut queries, kind, row, places).with_context(|| format!("{kind}: {row:?}"))?;
        }
    }
    Ok(queries)
}

fn add(
    queries: &mut Vec<Query>,
    kind: &'static str,
    row: &[String],
    places: &HashMap<String, usize>,
) -> anyhow::Result<()> {
    let [_, text, within, item, grade] = row else {
        anyhow::bail!("has {} fields", row.len());
    };
    let within = (!within.is_empty()).then(|| Category::parse(within)).transpose()?;
    let is_next = |query: &Query| query.kind == kind && query.text == *text && query.within == within;
    if !queries.last().is_some_and(is_next) {
        ensure!(!queries.iter().any(is_next), "the rows of a query must stand together");
        queries.push(Query { kind, text: text.clone(), within, grades: HashMap::new() });
    }
    let query = queries.last_mut().context("a query")?;
    if item == "-" {
        ensure!(grade == "0" && query.grades.is_empty(), "where nothing should be found, write - and 0");
        return Ok(());
    }
    let grade: u8 = grade.parse()?;
    ensure!((1..=BEST).contains(&grade), "grades are 1 to {BEST}; leave out what is wrong");
    let place = *places.get(item).with_context(|| format!("there is no item {item}"))?;
    ensure!(query.grades.insert(place, grade).is_none(), "judged twice");
    Ok(())
}

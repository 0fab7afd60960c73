//! Checks the statements of the hot path against the shard plan (docs/design.md): for every table that a
//! statement touches, it must name a column that determines the shard.

use super::{consumers, mailboxes, reads, schema, statements};

/// The tables, and the columns that determine a row's shard. Item and order numbers are planned to contain
/// their seller's shard, so that the number alone is enough.
const KEYS: &[(&str, &[&str])] = &[
    ("party", &["id"]),
    ("mailbox", &["party"]),
    ("delivery", &["recipient"]),
    ("consumer", &["party"]),
    ("dead_letter", &["recipient", "id"]),
    ("item", &["id", "seller"]),
    ("orders", &["id", "item", "seller"]),
    ("sales", &["seller"]),
    ("rating", &["item"]),
    ("bought", &["item"]),
    ("wish", &["item"]),
    ("event", &["seq", "item"]),
    ("ride", &["id", "seller"]),
    ("till", &["id", "seller"]),
    ("request", &["party"]),
    ("replay", &["lane"]),
    ("audit_line", &["place"]),
];

/// Splits a statement into words, without punctuation except the dots in names.
fn words(sql: &str) -> Vec<&str> {
    sql.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
        .filter(|word| !word.is_empty())
        .collect()
}

/// Returns the tables that a statement reads or writes.
fn tables(sql: &str) -> Vec<&'static str> {
    let words = words(sql);
    let named = words.windows(2).filter(|pair| ["FROM", "JOIN", "INTO", "UPDATE"].contains(&pair[0]));
    let mut found: Vec<_> = named
        .filter_map(|pair| KEYS.iter().map(|(table, _)| *table).find(|table| *table == pair[1]))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Returns how a statement violates the plan, if it does.
fn offence(sql: &str) -> Option<String> {
    let tables = tables(sql);
    let is_only = tables.len() == 1;
    for table in tables {
        let keys = KEYS.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, keys)| keys);
        let inserted =
            sql.split(&format!("INSERT INTO {table} (")).nth(1).and_then(|rest| rest.split(')').next());
        let conditions = match inserted {
            Some(columns) => columns.to_owned(),
            None => {
                let after = |word: &str| sql.split(word).skip(1).collect::<Vec<_>>().join(" ");
                [after(" WHERE "), after(" ON "), after(" USING (")].join(" ")
            }
        };
        let words = words(&conditions);
        // A name without its table is unambiguous if there is only one table, or in a list of columns.
        let is_bare_clear = is_only || inserted.is_some() || sql.contains(" USING (");
        let names = |key: &&&str| {
            words.contains(&format!("{table}.{key}").as_str()) || (is_bare_clear && words.contains(*key))
        };
        if !keys.iter().any(|key| names(&key)) {
            return Some(format!("{table} is not asked by any of {keys:?}: {sql}"));
        }
    }
    None
}

#[test]
fn every_statement_of_the_hot_path_determines_its_shard() {
    // Who has a name is asked of all parties, but only when one registers or is renamed.
    let lane = statements::LANE.iter().filter(|sql| **sql != statements::LOAD_NAMES);
    let all = lane.chain(reads::HOT).chain(mailboxes::HOT).chain(consumers::HOT);
    let offences: Vec<_> = all.filter_map(|sql| offence(sql)).collect();
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn statement_without_a_shard_key_is_detected() {
    for wrong in [
        "SELECT name FROM item WHERE quantity > $1",
        "UPDATE orders SET status = $1 WHERE buyer = $2",
        "INSERT INTO delivery (sequence, body) VALUES ($1, $2)",
        "SELECT 1 FROM item JOIN party ON party.id = item.category WHERE version = $1",
        "DELETE FROM request WHERE done_at < $1",
    ] {
        assert!(offence(wrong).is_some(), "{wrong}");
    }
    for right in
        ["SELECT name FROM item WHERE id = ANY($1)", "INSERT INTO delivery (recipient, body) VALUES ($1, $2)"]
    {
        assert_eq!(offence(right), None);
    }
}

#[test]
fn every_table_has_a_shard_key_or_is_known_to_need_none() {
    let schema: String = schema::all().collect();
    // Single rows; written only when the chain is linked; not part of any trade; written only when an operator prunes; a few
    // rows, written once a month.
    let apart =
        ["place_base", "clock", "rank_sweep", "audit", "track", "archived", "audit_base", "token_key"];
    for table in schema.split("CREATE TABLE ").skip(1).filter_map(|rest| rest.split(' ').next()) {
        let is_planned = KEYS.iter().any(|(name, _)| *name == table) || apart.contains(&table);
        assert!(is_planned, "{table} is not in the shard plan");
    }
}

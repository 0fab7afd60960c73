//! Migration 0020: the keys of display names. Of several parties whose names look alike, the one with the lowest number has
//! the key.

use rusqlite::{Connection, Error, params};
use souk_domain::{DisplayName, NameKey};

use super::migrate::Steps;

pub(super) const NAME_KEYS: Steps = Steps {
    begin: include_str!("migrations/0020_name_keys.sql"),
    step: add_keys,
    last: "SELECT max(number) FROM party WHERE number IS NOT NULL",
    finish: &[],
};

/// Computes the keys of the next parties, in the order of their numbers.
fn add_keys(connection: &Connection, after: i64) -> Result<Option<i64>, Error> {
    let next = "SELECT number, display_name FROM party WHERE number > ? ORDER BY number LIMIT ?";
    let mut next = connection.prepare(next)?;
    // OR IGNORE: a key that another party has.
    let mut put = connection.prepare("UPDATE OR IGNORE party SET name_key = ? WHERE number = ?")?;
    let mut last = None;
    let mut rows = next.query([after, Steps::ROWS])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let key = NameKey::of(&DisplayName::trusted(row.get(1)?));
        put.execute(params![key.as_str(), number])?;
        last = Some(number);
    }
    Ok(last)
}

//! Migration 0016: numbers of parties. An order and its indexes refer to a party by its number, which takes two or three
//! bytes where its id takes 16.

use rusqlite::{Connection, Error};

use super::migrate::Steps;

pub(super) const PARTY_NUMBERS: Steps = Steps {
    begin: include_str!("migrations/0016_party_numbers.sql"),
    step: number,
    last: "SELECT nullif(parties, 0) FROM total",
    finish: &[],
};

/// Numbers the next parties, in the order of their ids.
fn number(connection: &Connection, after: i64) -> Result<Option<i64>, Error> {
    let sql = "UPDATE party SET number = ?1 + next.place FROM (SELECT id, row_number() OVER (ORDER BY id) AS place \
               FROM party WHERE id > coalesce((SELECT id FROM party WHERE number = ?1), x'') ORDER BY id LIMIT ?2) \
               AS next WHERE party.id = next.id";
    match connection.prepare(sql)?.execute([after, Steps::ROWS])? {
        0 => Ok(None),
        numbered => Ok(Some(after.saturating_add(i64::try_from(numbered).unwrap_or(i64::MAX)))),
    }
}

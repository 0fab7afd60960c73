//! Migration 0022: requests and deliveries refer to new orders instead of repeating them, and tables to which few rows are
//! added replace two indexes of which each purchase changed a page.

use rusqlite::{Connection, Error, params};

use super::{migrate::Steps, requests};

pub(super) const REFERENCES: Steps = Steps {
    begin: include_str!("migrations/0022_references.sql"),
    step: note,
    last: "SELECT max(done_at) FROM request",
    finish: &[
        // Both read an index from end to end, which takes about as long as building one.
        "INSERT INTO purchase SELECT buyer, item, count(*) FROM orders WHERE status <> 'cancelled' GROUP BY buyer, item",
        "INSERT INTO purchase_through SELECT buyer, max(id) FROM orders GROUP BY buyer",
        "DROP INDEX order_standing",
        "DROP INDEX request_by_time",
    ],
};

/// Notes the next requests by the time at which they were carried out.
fn note(connection: &Connection, after: i64) -> Result<Option<i64>, Error> {
    // 0: from the beginning, wherever that is.
    let after = if after == 0 { i64::MIN } else { after };
    let bound =
        "SELECT max(done_at) FROM (SELECT done_at FROM request WHERE done_at > ? ORDER BY done_at LIMIT ?)";
    let bound: Option<i64> = connection.query_row(bound, [after, Steps::ROWS], |row| row.get(0))?;
    let Some(bound) = bound else { return Ok(None) };
    let next = "SELECT done_at, id, party FROM request WHERE done_at > ? AND done_at <= ? ORDER BY done_at";
    let mut next = connection.prepare(next)?;
    let mut rows = next.query(params![after, bound])?;
    let mut batch: (i64, Vec<u8>) = (i64::MIN, Vec::new());
    while let Some(row) = rows.next()? {
        let done_at = row.get(0)?;
        if done_at != batch.0 && !batch.1.is_empty() {
            requests::note(connection, batch.0, &batch.1)?;
            batch.1.clear();
        }
        batch.0 = done_at;
        for column in [1, 2] {
            batch.1.extend_from_slice(&row.get::<_, [u8; 16]>(column)?);
        }
    }
    requests::note(connection, batch.0, &batch.1)?;
    connection.flush_prepared_statement_cache();
    Ok(Some(bound))
}

//! What waits in the store, for metrics. Each figure is one look into an index, or a count with a bound.

use rusqlite::{Connection, Error, OptionalExtension as _, params};
use souk_domain::Timestamp;

use crate::{Backlogs, MOST_COUNTED, Reliability};

const FAN_OUTS: &str = "SELECT count(*) FROM (SELECT 1 FROM fan_out LIMIT ?)";
const OLDEST_FAN_OUT: &str = "SELECT occurred_at FROM fan_out JOIN event ON event.seq = fan_out.event \
     ORDER BY fan_out.event LIMIT 1";
const DELIVERIES: &str = "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE is_order = ? LIMIT ?)";
const OLDEST_DELIVERY: &str =
    "SELECT occurred_at FROM delivery WHERE is_order = ? ORDER BY occurred_at LIMIT 1";
/// The mailboxes under a lease are passed over one by one, as in a claim.
const OVERDUE: &str = "SELECT next_attempt FROM mailbox WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL \
     AND reliability = ?1 AND quiet = ?2 AND next_attempt <= ?3 AND lease_until <= ?3 ORDER BY next_attempt LIMIT 1";
const DEAD_LETTERS: &str = "SELECT count(*) FROM (SELECT 1 FROM dead_letter LIMIT ?)";
const CONSUMERS: &str = "SELECT count(*) FROM (SELECT 1 FROM consumer LIMIT ?)";
/// In two parts, because SQLite uses the key for one of them only.
const AUDIT_ROWS: &str =
    "SELECT coalesce((SELECT max(sequence) FROM audit) - (SELECT min(sequence) FROM audit) + 1, 0)";

/// Reads the backlogs. Of the audit log, `rows_kept` rows are not meant to be compressed.
pub(super) fn read(connection: &Connection, now: Timestamp, rows_kept: i64) -> Result<Backlogs, Error> {
    let number = |sql: &str| connection.prepare_cached(sql)?.query_row([MOST_COUNTED], |row| row.get(0));
    let deliveries = |is_order: bool| {
        connection.prepare_cached(DELIVERIES)?.query_row(params![is_order, MOST_COUNTED], |row| row.get(0))
    };
    let oldest = |is_order: bool| time(connection, OLDEST_DELIVERY, params![is_order]);
    let overdue =
        |is_quiet: bool| time(connection, OVERDUE, params![Reliability::Proven as i64, is_quiet, now.0]);
    let audit_rows: i64 = connection.prepare_cached(AUDIT_ROWS)?.query_row([], |row| row.get(0))?;
    Ok(Backlogs {
        fan_outs: number(FAN_OUTS)?,
        oldest_fan_out: time(connection, OLDEST_FAN_OUT, [])?,
        orders: deliveries(true)?,
        oldest_order: oldest(true)?,
        updates: deliveries(false)?,
        oldest_update: oldest(false)?,
        overdue_since: overdue(false)?.into_iter().chain(overdue(true)?).min(),
        dead_letters: number(DEAD_LETTERS)?,
        consumers: number(CONSUMERS)?,
        audit_entries: (audit_rows - rows_kept).max(0),
    })
}

fn time(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Option<Timestamp>, Error> {
    connection.prepare_cached(sql)?.query_row(params, |row| row.get(0).map(Timestamp)).optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpeningProgress, sqlite::schema};

    /// A scan would take seconds with a million rows, every few seconds.
    #[test]
    fn no_figure_reads_more_than_it_counts() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(schema::migrate(&mut connection, &OpeningProgress::default()).is_ok());
        for sql in [OLDEST_FAN_OUT, DELIVERIES, OLDEST_DELIVERY, OVERDUE, AUDIT_ROWS] {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let nothing = vec![rusqlite::types::Null; plan.parameter_count()];
            let steps = plan.query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3));
            let steps: Vec<_> = steps.unwrap().map(Result::unwrap).collect();
            let is_sorted = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            // The oldest event to expand comes first in the order of the key, and the scan ends at it.
            let is_whole = |step: &String| {
                ["SCAN delivery", "SCAN mailbox", "SCAN audit", "SCAN event"]
                    .iter()
                    .any(|scan| step.contains(scan))
            };
            assert!(!is_sorted && !steps.iter().any(is_whole), "{sql}: {steps:?}");
        }
    }
}

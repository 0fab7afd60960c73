//! Checks a file: its pages, and what must hold of its rows.

use std::path::Path;

use rusqlite::Connection;

use super::{beside, error::named};
use crate::{
    StoreError,
    check::{CONDITIONS, Condition, Finding},
};

/// The conditions on tables that only this back end has.
const OWN_CONDITIONS: &[Condition] = &[
    Condition {
        invariant: "I1",
        holds: "the totals are those of the rows",
        violators: "SELECT 1 AS violator FROM total WHERE parties <> (SELECT count(*) FROM party) \
                    OR items <> (SELECT count(*) FROM item) OR orders <> (SELECT count(*) FROM orders) + \
                    (SELECT coalesce(sum(archived.orders + archived.cancelled), 0) FROM archived) \
                    OR (supplied, sold, remaining, withdrawn) <> (SELECT coalesce(sum(supplied), 0), \
                    coalesce(sum(sold), 0), coalesce(sum(quantity), 0), coalesce(sum(withdrawn), 0) FROM item) \
                    OR ordered <> (SELECT coalesce(sum(quantity), 0) FROM orders WHERE status <> 'cancelled') \
                    + (SELECT coalesce(sum(units), 0) FROM archived)",
    },
    Condition {
        invariant: "I1",
        holds: "each order is by a party, of the seller of its item",
        violators: "SELECT orders.id AS violator FROM orders LEFT JOIN party AS buyer ON buyer.number = orders.buyer \
                    LEFT JOIN item ON item.id = orders.item LEFT JOIN party AS seller ON seller.id = item.seller \
                    WHERE buyer.id IS NULL OR orders.seller IS NOT seller.number",
    },
    Condition {
        invariant: "I1",
        holds: "each party has a number of its own",
        violators: "SELECT {id:max(id)} AS violator FROM party GROUP BY number HAVING count(*) > 1 OR number IS NULL",
    },
    Condition {
        invariant: "I3",
        holds: "no number of an order or item lies beyond the last one assigned",
        violators: "SELECT id AS violator FROM orders WHERE id > (SELECT value FROM counter WHERE name = 'order') \
                    UNION ALL SELECT id FROM item WHERE id > (SELECT value FROM counter WHERE name = 'item')",
    },
    Condition {
        invariant: "I13",
        holds: "no feed position lies beyond the end of the feed",
        violators: "SELECT id AS violator FROM item WHERE feed_position > (SELECT value FROM counter WHERE name = 'feed')",
    },
];

/// Checks a file, also while a market has it open, and returns a finding for each condition. `begin` is called with
/// the words of each condition before it is checked.
///
/// # Errors
///
/// Fails if the file can't be read at all, or its schema is not up to date.
pub fn check(path: &Path, mut begin: impl FnMut(&'static str)) -> Result<Vec<Finding>, StoreError> {
    let at = |error: rusqlite::Error| named(path, &error);
    let connection = beside::open(path)?;
    // One snapshot for all conditions, because a market may be trading.
    connection.execute_batch("BEGIN").map_err(at)?;
    let mut findings = Vec::new();
    for (holds, pragma) in [
        ("the pages of the file are intact", "integrity_check(100)"),
        ("no row refers to a missing one", "foreign_key_check"),
    ] {
        begin(holds);
        findings.push(examine(&connection, holds, pragma).map_err(at)?);
    }
    for condition in CONDITIONS.iter().chain(OWN_CONDITIONS) {
        begin(condition.holds);
        let statement = condition.statement(|column| format!("lower(hex({column}))"));
        let (violations, example) =
            connection.query_row(&statement, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(at)?;
        findings.push(Finding {
            invariant: condition.invariant,
            holds: condition.holds,
            violations,
            example,
        });
    }
    Ok(findings)
}

/// Runs one of SQLite's own checks. Each of its rows is a violation, except a single "ok".
fn examine(connection: &Connection, holds: &'static str, pragma: &str) -> Result<Finding, rusqlite::Error> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
    let problems: Vec<String> =
        statement.query_map([], |row| row.get(0))?.collect::<Result<_, rusqlite::Error>>()?;
    let problems: Vec<_> = problems.into_iter().filter(|problem| problem != "ok").collect();
    Ok(Finding {
        invariant: "file",
        holds,
        violations: i64::try_from(problems.len()).unwrap_or(i64::MAX),
        example: problems.into_iter().next().unwrap_or_default(),
    })
}

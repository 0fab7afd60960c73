//! Checks a file: its pages, and what must hold of its rows.

use std::path::Path;

use rusqlite::{Connection, Error, ErrorCode};

use super::{
    beside::{self, Unopened},
    error::{Class, classify, named},
    migrate::SchemaProblem,
};
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
        invariant: "I1",
        holds: "the purchases of each buyer are those of its orders",
        violators: "SELECT coalesce(placed.item, kept.item) AS violator FROM (SELECT orders.buyer, item, count(*) AS orders \
                    FROM orders JOIN purchase_through ON purchase_through.buyer = orders.buyer WHERE id <= through \
                    AND status <> 'cancelled' GROUP BY orders.buyer, item) AS placed \
                    FULL JOIN purchase AS kept ON (kept.buyer, kept.item) = (placed.buyer, placed.item) \
                    WHERE coalesce(placed.orders, 0) <> coalesce(kept.orders, 0)",
    },
    Condition {
        invariant: "I3",
        holds: "each stored outcome is noted with its batch, and its orders are there",
        violators: "SELECT 0 AS violator WHERE (SELECT count(*) FROM request) \
                    <> (SELECT coalesce(sum(length(keys)), 0) FROM request_batch) / 32 \
                    UNION ALL SELECT placed.value FROM request, json_each(request.outcome, '$.placed') AS placed \
                    LEFT JOIN orders ON orders.id = placed.value WHERE orders.id IS NULL",
    },
    Condition {
        invariant: "I5",
        holds: "each delivery that refers to an order has it",
        violators: "SELECT delivery.sequence AS violator FROM delivery LEFT JOIN orders ON orders.id = delivery.placed \
                    WHERE (delivery.event = 0) <> (delivery.placed IS NOT NULL) \
                    OR (delivery.placed IS NOT NULL AND orders.id IS NULL)",
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

/// The first condition, without which the others may not be readable.
const INTACT: &str = "the pages of the file are intact";

/// Checks a file, also while a market has it open, and returns a finding for each condition. `begin` is called with
/// the words of each condition before it is checked.
///
/// A file that is too damaged to be opened violates the first condition, and no other is checked. So does a condition
/// that can't be checked because of damage.
///
/// # Errors
///
/// Fails if the file can't be read at all, is another program's, or its schema is not up to date.
pub fn check(path: &Path, mut begin: impl FnMut(&'static str)) -> Result<Vec<Finding>, StoreError> {
    let connection = match beside::attempt(path) {
        Ok(connection) => connection,
        Err(Unopened::Problem(SchemaProblem::Sqlite(error))) if shows_damage(&error) => {
            return Ok(vec![damaged("file", INTACT, &error.to_string())]);
        }
        Err(Unopened::Problem(SchemaProblem::Empty)) => {
            return Ok(vec![damaged("file", INTACT, "the file is empty")]);
        }
        Err(unopened) => return Err(unopened.at(path)),
    };
    // One snapshot for all conditions, because a market may be trading.
    connection.execute_batch("BEGIN").map_err(|error| named(path, &error))?;
    let mut findings = Vec::new();
    let mut add = |invariant, holds, checked| {
        let finding = match checked {
            Ok((violations, example)) => Finding { invariant, holds, violations, example },
            Err(error) if shows_damage(&error) => damaged(invariant, holds, &error.to_string()),
            Err(error) => return Err(named(path, &error)),
        };
        findings.push(finding);
        Ok(())
    };
    for (holds, pragma) in
        [(INTACT, "integrity_check(100)"), ("no row refers to a missing one", "foreign_key_check")]
    {
        begin(holds);
        add("file", holds, examine(&connection, pragma))?;
    }
    for condition in CONDITIONS.iter().chain(OWN_CONDITIONS) {
        begin(condition.holds);
        let statement = condition.statement(|column| format!("lower(hex({column}))"));
        let checked = connection.query_row(&statement, [], |row| Ok((row.get(0)?, row.get(1)?)));
        add(condition.invariant, condition.holds, checked)?;
    }
    Ok(findings)
}

/// Returns whether an error means that the file is damaged. SQLite reports a statement as wrong (`SQLITE_ERROR`) if a table or
/// column is missing, and the schema as unreadable if its rows make no sense.
fn shows_damage(error: &Error) -> bool {
    let is_wrong = error.sqlite_error_code() == Some(ErrorCode::Unknown);
    is_wrong || matches!(error, Error::SqlInputError { .. }) || classify(error) == Class::Damage
}

fn damaged(invariant: &'static str, holds: &'static str, example: &str) -> Finding {
    Finding { invariant, holds, violations: 1, example: example.to_owned() }
}

/// Runs one of SQLite's own checks. Each of its rows is a violation, except a single "ok".
fn examine(connection: &Connection, pragma: &str) -> Result<(i64, String), Error> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
    let problems: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, Error>>()?;
    let mut problems = problems.into_iter().filter(|problem| problem != "ok");
    let first = problems.next();
    let count = i64::from(first.is_some()) + i64::try_from(problems.count()).unwrap_or(i64::MAX);
    Ok((count, first.unwrap_or_default()))
}

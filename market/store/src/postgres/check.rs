//! Checks what must hold of the rows of a database.

use std::time::Duration;

use super::{
    address::{Address, PostgresOptions},
    connection::{Connection, Session},
    convert::get,
    schema,
};
use crate::{
    StoreError,
    check::{CONDITIONS, Condition, Finding},
};

/// The conditions on what only this back end stores in this way.
const OWN_CONDITIONS: &[Condition] = &[Condition {
    invariant: "I1",
    holds: "each order is of the seller of its item",
    violators: "SELECT orders.id AS violator FROM orders JOIN item ON item.id = orders.item \
                WHERE orders.seller <> item.seller",
}];

/// The time limit of one condition, which may read whole tables.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// The conditions are checked on one snapshot, because markets may be trading.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Checks a database, also while markets use it, and returns a finding for each condition. `begin` is called with the
/// words of each condition before it is checked.
///
/// # Errors
///
/// Fails if no host of the address can be used, or if the schema is not up to date.
pub async fn check(
    address: &str,
    options: &PostgresOptions,
    mut begin: impl FnMut(&'static str),
) -> Result<Vec<Finding>, StoreError> {
    let address = Address::read(address, options)?;
    schema::check(&address).await?;
    let session = Session { prepare: &[], durable: false, gives_up: false };
    let connection = Connection::open(&address, &session, &tokio::runtime::Handle::current()).await?;
    connection.batch(BEGIN).await?;
    let mut findings = Vec::new();
    for condition in CONDITIONS.iter().chain(OWN_CONDITIONS) {
        begin(condition.holds);
        let statement = condition.statement(|column| format!("{column}::TEXT"));
        let row = connection.scan(PATIENCE, &statement).await?;
        findings.push(Finding {
            invariant: condition.invariant,
            holds: condition.holds,
            violations: get(&row, 0)?,
            example: get(&row, 1)?,
        });
    }
    Ok(findings)
}

//! What waits in the store, for metrics. Each figure is one look into an index, or a count with a bound.

use async_trait::async_trait;
use souk_domain::Timestamp;

use super::{
    connection::params,
    convert::{self, first, get},
    mailboxes::PostgresMailboxes,
};
use crate::{Backlogs, MOST_COUNTED, StoreError, Upkeep};

/// One statement for all of them, so that they cost one round trip. A condition that always holds makes a count
/// use an index that is narrower than the table.
const BACKLOGS: &str = "SELECT \
     (SELECT count(*) FROM (SELECT 1 FROM event WHERE NOT is_done LIMIT $2) AS counted), \
     (SELECT occurred_at FROM event WHERE NOT is_done ORDER BY seq LIMIT 1), \
     (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE is_order LIMIT $2) AS counted), \
     (SELECT occurred_at FROM delivery WHERE is_order ORDER BY occurred_at LIMIT 1), \
     (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE NOT is_order LIMIT $2) AS counted), \
     (SELECT occurred_at FROM delivery WHERE NOT is_order ORDER BY occurred_at LIMIT 1), \
     least((SELECT next_attempt FROM mailbox WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL \
     AND reliability = 0 AND NOT quiet AND next_attempt <= $1 AND lease_until <= $1 ORDER BY next_attempt LIMIT 1), \
     (SELECT next_attempt FROM mailbox WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL \
     AND reliability = 0 AND quiet AND next_attempt <= $1 AND lease_until <= $1 ORDER BY next_attempt LIMIT 1)), \
     (SELECT count(*) FROM (SELECT 1 FROM dead_letter WHERE died_at >= 0 LIMIT $2) AS counted), \
     (SELECT count(*) FROM (SELECT 1 FROM consumer WHERE seen_at >= 0 LIMIT $2) AS counted), \
     (SELECT count(*) FROM (SELECT 1 FROM audit_line WHERE place > \
     coalesce((SELECT place FROM audit ORDER BY sequence DESC LIMIT 1), 0) LIMIT $2) AS counted)";

/// The statement, whose plan is checked for scans.
#[cfg(test)]
pub(super) const PLANNED: &[&str] = &[BACKLOGS];

#[async_trait]
impl Upkeep for PostgresMailboxes {
    async fn backlogs(&self, now: Timestamp) -> Result<Backlogs, StoreError> {
        let rows = self.pool().query(BACKLOGS, || params![now.0, MOST_COUNTED]).await?;
        let backlogs = first(&rows, |row| {
            Ok(Backlogs {
                fan_outs: get(row, 0)?,
                oldest_fan_out: convert::optional_time(row, 1)?,
                orders: get(row, 2)?,
                oldest_order: convert::optional_time(row, 3)?,
                updates: get(row, 4)?,
                oldest_update: convert::optional_time(row, 5)?,
                overdue_since: convert::optional_time(row, 6)?,
                dead_letters: get(row, 7)?,
                consumers: get(row, 8)?,
                audit_entries: get(row, 9)?,
            })
        })?;
        Ok(backlogs.unwrap_or_default())
    }
}

//! Claims of mailboxes.

use rusqlite::{Connection, Error, params};
use souk_domain::{PartyId, Sequence, Timestamp};

use super::{
    convert::{self, blob},
    deliveries,
    rows::at_most,
    settle,
};
use crate::{Claim, DueQuery, LeaseEpoch, LeaseOwner, Reliability, mailbox::OVERDUE_AFTER};

/// Returns mailboxes that are due: for each kind of callback as many as are asked for, those with orders and those that
/// are long overdue first.
pub(super) fn due(connection: &Connection, query: &DueQuery) -> Result<Vec<PartyId>, Error> {
    let sql = "SELECT party, next_attempt FROM mailbox WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL \
               AND reliability = ?1 AND quiet = ?2 AND next_attempt <= ?3 AND lease_until <= ?3 \
               ORDER BY next_attempt LIMIT ?4";
    let mut of_kind = connection.prepare_cached(sql)?;
    let overdue = query.now.minus(OVERDUE_AFTER).0;
    let mut due = Vec::new();
    for kind in query.mailboxes.kinds() {
        let slots = query.mailboxes.of(kind);
        let mut found = Vec::new();
        for quiet in [false, true] {
            let params = params![kind as i64, quiet, query.now.0, at_most(slots)];
            let rows = of_kind.query_map(params, |row| {
                let next: i64 = row.get(1)?;
                // The time 0 stands for at once, whenever that was.
                let is_last = quiet && (next == 0 || next >= overdue);
                Ok((is_last, next, convert::party_id(row, 0)?))
            })?;
            for row in rows {
                found.push(row?);
            }
        }
        found.sort_unstable();
        due.extend(found.into_iter().take(slots).map(|(.., party)| party));
    }
    Ok(due)
}

/// Claims the mailboxes that are still due.
pub(super) fn claim_all(
    transaction: &Connection,
    due: &[PartyId],
    query: &DueQuery,
) -> Result<Vec<Claim>, Error> {
    let sql = "SELECT 1 FROM mailbox WHERE party = ?1 AND next_attempt <= ?2 AND lease_until <= ?2 \
               AND callback_port IS NOT NULL";
    let mut still_due = transaction.prepare_cached(sql)?;
    let until = query.now.plus(query.lease);
    let mut claims = Vec::with_capacity(due.len());
    for recipient in due.iter().copied() {
        if !still_due.exists(params![blob(recipient), query.now.0])? {
            continue;
        }
        let mut claim = claim(transaction, recipient, query.owner, until)?;
        claim.deliveries =
            deliveries::hand_out(transaction, recipient, claim.acknowledged, query.deliveries)?;
        if claim.deliveries.is_empty() {
            // The pending deliveries have expired in the meantime.
            settle::give_back(transaction, recipient)?;
        } else {
            claims.push(claim);
        }
    }
    Ok(claims)
}

pub(super) fn claim(
    transaction: &Connection,
    recipient: PartyId,
    owner: LeaseOwner,
    until: Timestamp,
) -> Result<Claim, Error> {
    let sql = "UPDATE mailbox SET lease_owner = ?2, lease_epoch = lease_epoch + 1, lease_until = ?3, \
               is_probed = 0, latest_attempt = NULL WHERE party = ?1 \
               RETURNING role, callback_host, callback_port, lease_epoch, failures, last_sequence, reliability, \
               acknowledged, refusals, refused_since, regular_attempt IS NOT NULL";
    transaction.prepare_cached(sql)?.query_row(
        params![blob(recipient), owner.0.into_bytes(), until.0],
        |row| {
            Ok(Claim {
                recipient,
                role: convert::role(row, 0)?,
                callback: convert::callback(row, 1, 2)?,
                epoch: LeaseEpoch(row.get(3)?),
                failures: row.get(4)?,
                refusals: row.get(8)?,
                refused_since: row.get::<_, Option<i64>>(9)?.map(Timestamp),
                is_probe: row.get(10)?,
                last_sequence: Sequence(row.get(5)?),
                reliability: Reliability::of(row.get(6)?),
                acknowledged: Sequence(row.get(7)?),
                deliveries: Vec::new(),
            })
        },
    )
}

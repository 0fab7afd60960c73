//! The outcomes of requests that were carried out, for replays.
//!
//! They are found by the ids that clients have chosen, and expire in the order in which the market carried them out: each
//! batch notes the requests that it recorded, under a sequence and with the market's steady time. One such row takes the
//! place of an index entry for each request.

use rusqlite::{Connection, Error, OptionalExtension as _, Row, ffi, params};
use souk_domain::{Fingerprint, Keys, PartyId, Recorded, RequestId, Timestamp, WorkingSet};

use super::{convert::blob, placed};

/// The size of a request's key in a batch's row: its id and its party.
const KEY_BYTES: usize = 32;

pub(super) fn load(connection: &Connection, keys: &Keys, rows: &mut WorkingSet) -> Result<(), Error> {
    for (party, id) in keys.requests.iter().copied() {
        if let Some(recorded) = request(connection, party, id)? {
            rows.requests.load((party, id), recorded);
        }
    }
    Ok(())
}

/// Loads the record of a request that was carried out.
pub(super) fn request(
    connection: &Connection,
    party: PartyId,
    id: RequestId,
) -> Result<Option<Recorded>, Error> {
    let sql = "SELECT fingerprint, outcome FROM request WHERE id = ? AND party = ?";
    let read = |row: &Row<'_>| {
        let outcome = placed::outcome(connection, row.get_ref(1)?.as_str()?)?;
        Ok(Recorded { fingerprint: Fingerprint(row.get(0)?), outcome })
    };
    connection.prepare_cached(sql)?.query_row(params![id.0.into_bytes(), blob(party)], read).optional()
}

/// Returns whether one of the requests was carried out.
pub(super) fn any(connection: &Connection, requests: &[(PartyId, RequestId)]) -> Result<bool, Error> {
    let mut one = connection.prepare_cached("SELECT 1 FROM request WHERE id = ? AND party = ?")?;
    for (party, id) in requests {
        if one.exists(params![id.0.into_bytes(), blob(*party)])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether [`save`] has failed because a request was carried out before.
pub(super) fn is_repeated(error: &Error) -> bool {
    matches!(error, Error::SqliteFailure(failure, Some(message))
        if failure.extended_code == ffi::SQLITE_CONSTRAINT_PRIMARYKEY && message.contains("request.id"))
}

/// Saves the requests of a batch. Must run before the last number of an order is saved, which [`note`] reads.
pub(super) fn save(connection: &Connection, rows: &WorkingSet) -> Result<(), Error> {
    let mut put = connection.prepare_cached(
        "INSERT INTO request (id, party, fingerprint, outcome, done_at) VALUES (?, ?, ?, ?, ?)",
    )?;
    let mut keys = Vec::new();
    for ((party, request), recorded) in rows.requests.changes() {
        let Some(recorded) = recorded else { continue };
        let outcome = placed::outcome_text(&recorded.outcome)?;
        let (id, party) = (request.0.into_bytes(), blob(party));
        put.execute(params![id, party, recorded.fingerprint.0, outcome, rows.decided_at.0])?;
        keys.extend_from_slice(&id);
        keys.extend_from_slice(&party);
    }
    if !keys.is_empty() {
        note(connection, rows.decided_at.0, &keys)?;
    }
    Ok(())
}

/// Notes the keys of requests that were recorded at a time.
pub(super) fn note(connection: &Connection, done_at: i64, keys: &[u8]) -> Result<(), Error> {
    let note = "INSERT INTO request_batch (done_at, first_order, keys) \
                VALUES (?1, (SELECT value + 1 FROM counter WHERE name = 'order'), ?2)";
    connection.prepare_cached(note)?.execute(params![done_at, keys])?;
    Ok(())
}

/// Forgets up to `limit` requests from before a time, and returns how many.
pub(super) fn forget(transaction: &Connection, before: Timestamp, limit: usize) -> Result<usize, Error> {
    let oldest = "SELECT sequence, done_at, keys FROM request_batch ORDER BY sequence LIMIT 1";
    let mut oldest = transaction.prepare_cached(oldest)?;
    let mut one = transaction.prepare_cached("DELETE FROM request WHERE id = ? AND party = ?")?;
    let mut batch = transaction.prepare_cached("DELETE FROM request_batch WHERE sequence = ?")?;
    let mut rest = transaction.prepare_cached("UPDATE request_batch SET keys = ? WHERE sequence = ?")?;
    let mut forgotten = 0;
    while forgotten < limit {
        let next = oldest.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((sequence, done_at, keys)): Option<(i64, i64, Vec<u8>)> = next else { break };
        if done_at >= before.0 {
            break;
        }
        let bytes = keys.len().min((limit - forgotten).saturating_mul(KEY_BYTES));
        let (now, later) = keys.split_at(bytes);
        for key in now.chunks_exact(KEY_BYTES) {
            let (id, party) = key.split_at(KEY_BYTES / 2);
            one.execute([id, party])?;
            forgotten += 1;
        }
        match later {
            [] => batch.execute([sequence])?,
            later => rest.execute(params![later, sequence])?,
        };
    }
    Ok(forgotten)
}

/// What the stored requests still refer to.
pub(super) struct Oldest {
    /// The steady time of the oldest request.
    pub(super) done_at: i64,
    /// The lowest number of an order that one can refer to.
    pub(super) first_order: i64,
}

/// Returns what they refer to; `None` if there are none.
pub(super) fn oldest(connection: &Connection) -> Result<Option<Oldest>, Error> {
    let sql = "SELECT done_at, first_order FROM request_batch ORDER BY sequence LIMIT 1";
    let read = |row: &Row<'_>| Ok(Oldest { done_at: row.get(0)?, first_order: row.get(1)? });
    connection.prepare_cached(sql)?.query_row([], read).optional()
}

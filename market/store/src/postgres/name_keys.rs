//! Migration 0012: the keys of display names, which are computed here and not by the server. Of several parties whose
//! names look alike, the one with the lowest id has the key.

use std::collections::BTreeMap;

use souk_domain::{DisplayName, NameKey};
use uuid::Uuid;

use super::{
    connection::{Connection, params},
    convert::get,
    error::Failure,
};
use crate::StoreError;

/// The maximum number of parties in a step.
const ROWS: i64 = 5_000;
/// The bits of an id that are not in the number of a step, which is positive.
const LOWER_BITS: u32 = 65;

const NEXT: &str = "SELECT id, display_name FROM party WHERE id >= $1 ORDER BY id LIMIT $2";

/// Leaves out a key that another party has.
const PUT: &str = "UPDATE party SET name_key = new.name_key FROM unnest($1::UUID[], $2::TEXT[]) AS new (id, name_key) \
     WHERE party.id = new.id AND party.name_key IS NULL \
     AND NOT EXISTS (SELECT FROM party AS other WHERE other.name_key = new.name_key)";

/// Adds the keys of the next parties after a step, in the order of their ids, and returns the number of this step: the upper
/// 63 bits of the last id. Parties that share these bits with it are looked at again.
pub(super) async fn add_keys(connection: &mut Connection, after: i64) -> Result<Option<i64>, StoreError> {
    let from = Uuid::from_u128(u128::from(after.cast_unsigned()) << LOWER_BITS);
    let (mut last, mut new) = (None, BTreeMap::new());
    for row in connection.query(NEXT, params![from, ROWS]).await? {
        let id: Uuid = get(&row, 0).map_err(Failure::into_store_error)?;
        let name = DisplayName::trusted(get(&row, 1).map_err(Failure::into_store_error)?);
        new.entry(NameKey::of(&name)).or_insert(id);
        last = Some(i64::try_from(id.as_u128() >> LOWER_BITS).unwrap_or(i64::MAX));
    }
    let (keys, ids): (Vec<String>, Vec<Uuid>) =
        new.into_iter().map(|(key, id)| (key.as_str().to_owned(), id)).unzip();
    connection.query(PUT, params![ids, keys]).await?;
    Ok(last.filter(|last| *last > after))
}

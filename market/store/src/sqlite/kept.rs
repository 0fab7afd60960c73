//! Rows of items and parties that the lane keeps from the last batches, so that most purchases read neither.
//!
//! While the market runs, only the lane writes these rows, so what it keeps is what the file has. It keeps what it has read,
//! and what a commit has written; when loading or saving fails, it forgets everything.

use std::{collections::HashMap, hash::Hash, mem};

use rusqlite::{Connection, Error, OptionalExtension as _};
use souk_domain::{Item, ItemId, Party, PartyId, Role, WorkingSet};

use super::convert::blob;

/// The maximum number of rows in a generation of [`Recent`], so that at most twice as many of a kind are kept.
const ROWS: usize = 4_096;
/// The maximum size of a description in bytes, which is by far the largest part of a row. An item with a longer one is not
/// kept, so that the items take 16 MiB at most.
const DESCRIPTION_BYTES: usize = 1_024;

#[derive(Default)]
pub(super) struct Kept {
    items: Recent<ItemId, Item>,
    parties: Recent<PartyId, Party>,
    /// The numbers by which orders refer to parties. They never change.
    numbers: Recent<PartyId, i64>,
}

impl Kept {
    pub(super) fn item(&mut self, id: ItemId) -> Option<&Item> {
        self.items.get(id)
    }

    pub(super) fn party(&mut self, id: PartyId) -> Option<&Party> {
        self.parties.get(id)
    }

    pub(super) fn keep_item(&mut self, item: &Item) {
        if item.description.as_str().len() <= DESCRIPTION_BYTES {
            self.items.put(item.id, item.clone());
        } else {
            self.items.remove(item.id);
        }
    }

    pub(super) fn keep_party(&mut self, party: &Party) {
        self.parties.put(party.id, party.clone());
    }

    /// Returns the number of a party that exists.
    pub(super) fn number(&mut self, connection: &Connection, id: PartyId) -> Result<Option<i64>, Error> {
        if let Some(number) = self.numbers.get(id) {
            return Ok(Some(*number));
        }
        let mut one = connection.prepare_cached("SELECT number FROM party WHERE id = ?")?;
        let number = one.query_row([blob(id)], |row| row.get(0)).optional()?.flatten();
        if let Some(number) = number {
            self.numbers.put(id, number);
        }
        Ok(number)
    }

    /// Keeps what a commit has written.
    pub(super) fn committed(&mut self, rows: &WorkingSet) {
        for party in rows.parties.changes().filter_map(|(_, party)| party) {
            self.keep_party(party);
            // Items come with the names of their sellers.
            if party.role == Role::Seller {
                self.items.forget();
            }
        }
        rows.items.changes().filter_map(|(_, item)| item).for_each(|item| self.keep_item(item));
    }

    /// Forgets all rows: a batch has failed, and it is not known what the file has.
    pub(super) fn forget(&mut self) {
        self.items.forget();
        self.parties.forget();
        self.numbers.forget();
    }
}

/// A map of the last rows in use, in two generations. When the younger one is full, the older one is dropped.
struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    fn get(&mut self, key: K) -> Option<&V> {
        if !self.young.contains_key(&key) {
            let value = self.old.remove(&key)?;
            self.put(key, value);
        }
        self.young.get(&key)
    }

    fn put(&mut self, key: K, value: V) {
        if self.young.len() >= ROWS && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    fn remove(&mut self, key: K) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    fn forget(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_use_stay_and_the_number_of_others_is_bounded() {
        let mut recent = Recent::default();
        for key in 0..10 * ROWS {
            recent.put(key, key);
            assert_eq!(recent.get(7), (key >= 7).then_some(&7), "in use all the time");
            assert!(recent.young.len() + recent.old.len() <= 2 * ROWS);
        }
        assert_eq!(recent.get(8), None);
        recent.put(7, 8);
        assert_eq!(recent.get(7), Some(&8));
        recent.remove(7);
        assert_eq!(recent.get(7), None);
    }
}

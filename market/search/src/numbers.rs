//! A set of item numbers, which are dense: a bit each.

use std::collections::HashMap;

/// The number of bits in a chunk.
const CHUNK: i64 = 65_536;
const WORD: i64 = u64::BITS as i64;
const WORDS: usize = (CHUNK / WORD) as usize;

/// The set. It takes 8 KiB for each 65,536 numbers of which it holds any.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    chunks: HashMap<i64, Box<[u64; WORDS]>>,
}

impl Numbers {
    /// Adds a number, and returns whether it is new.
    pub(super) fn insert(&mut self, number: i64) -> bool {
        let chunk = self.chunks.entry(number.div_euclid(CHUNK));
        let (word, bit) = place(number);
        let word = &mut chunk.or_insert_with(|| Box::new([0; WORDS]))[word];
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Removes a number, and returns whether it was there.
    pub(super) fn remove(&mut self, number: i64) -> bool {
        let (word, bit) = place(number);
        let Some(chunk) = self.chunks.get_mut(&number.div_euclid(CHUNK)) else { return false };
        let was_there = chunk[word] & bit != 0;
        chunk[word] &= !bit;
        was_there
    }

    pub(super) fn contains(&self, number: i64) -> bool {
        let (word, bit) = place(number);
        self.chunks.get(&number.div_euclid(CHUNK)).is_some_and(|chunk| chunk[word] & bit != 0)
    }
}

/// Returns the word of a number in its chunk, and its bit in the word.
fn place(number: i64) -> (usize, u64) {
    let place = number.rem_euclid(CHUNK);
    ((place / WORD) as usize, 1 << (place % WORD))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn set_holds_what_was_added_and_not_removed(
            changes in prop::collection::vec((any::<bool>(), prop_oneof![0..200i64, 65_500..65_600i64, any::<i64>()]), 1..200),
        ) {
            let (mut numbers, mut expected) = (Numbers::default(), BTreeSet::new());
            for (is_added, number) in &changes {
                if *is_added {
                    prop_assert_eq!(numbers.insert(*number), expected.insert(*number));
                } else {
                    prop_assert_eq!(numbers.remove(*number), expected.remove(number));
                }
            }
            for (_, number) in changes {
                prop_assert_eq!(numbers.contains(number), expected.contains(&number));
            }
        }
    }
}

//! Sets of a segment's documents, one bit for each.

use tantivy::{DocId, TERMINATED};

/// A set of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits(Box<[u64]>);

const WORD: u32 = u64::BITS;

impl Bits {
    /// Creates an empty set for a segment of this many documents.
    pub(super) fn none(documents: u32) -> Self {
        Self(vec![0; documents.div_ceil(WORD) as usize].into_boxed_slice())
    }

    /// Creates the set of these documents.
    pub(super) fn of(documents: u32, members: impl Iterator<Item = DocId>) -> Self {
        let mut bits = Self::none(documents);
        members.for_each(|document| bits.insert(document));
        bits
    }

    /// Adds a document.
    pub(super) fn insert(&mut self, document: DocId) {
        self.0[(document / WORD) as usize] |= 1 << (document % WORD);
    }

    /// Adds a document if it is in `others`, too.
    pub(super) fn insert_if(&mut self, document: DocId, others: &Self) {
        let word = (document / WORD) as usize;
        self.0[word] |= others.0[word] & 1 << (document % WORD);
    }

    /// Adds a document or removes it.
    pub(super) fn set(&mut self, document: DocId, is_member: bool) {
        let (word, bit) = ((document / WORD) as usize, 1 << (document % WORD));
        if is_member {
            self.0[word] |= bit;
        } else {
            self.0[word] &= !bit;
        }
    }

    /// Returns whether a document is in the set.
    pub(super) fn has(&self, document: DocId) -> bool {
        self.0.get((document / WORD) as usize).is_some_and(|word| word >> (document % WORD) & 1 == 1)
    }

    /// Keeps the documents that are in `others`, too.
    pub(super) fn keep(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(word, other)| *word &= other);
    }

    /// Removes the documents that are in `others`.
    pub(super) fn remove(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(word, other)| *word &= !other);
    }

    /// Returns the number of documents in the set.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Returns the first document from this one on; [`TERMINATED`] if there is none.
    pub(super) fn next(&self, from: DocId) -> DocId {
        let mut number = (from / WORD) as usize;
        let Some(first) = self.0.get(number) else { return TERMINATED };
        let mut word = first & (u64::MAX << (from % WORD));
        while word == 0 {
            number += 1;
            let Some(next) = self.0.get(number) else { return TERMINATED };
            word = *next;
        }
        // The number of a word is below that of its documents, which are 32 bits.
        number as u32 * WORD + word.trailing_zeros()
    }

    /// Returns the documents in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = DocId> {
        (0..).zip(&self.0).flat_map(|(number, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let document = (left != 0).then(|| number * WORD + left.trailing_zeros())?;
                left &= left - 1;
                Some(document)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_in_order() {
        let members = [0, 1, 63, 64, 127, 129];
        let bits = Bits::of(130, members.into_iter());
        assert_eq!(bits.iter().collect::<Vec<_>>(), members);
        assert_eq!(bits.count(), 6);
        let next: Vec<_> = [0, 1, 2, 63, 65, 128, 130, 500].map(|from| bits.next(from)).into();
        assert_eq!(next, [0, 1, 63, 63, 127, 129, TERMINATED, TERMINATED]);
        assert!(bits.has(64) && !bits.has(65) && !bits.has(1_000));
    }

    #[test]
    fn sets_are_combined() {
        let evens = Bits::of(200, (0..200).step_by(2));
        let threes = Bits::of(200, (0..200).step_by(3));
        let mut both = evens.clone();
        both.keep(&threes);
        assert_eq!(both.count(), 34);
        let mut inserted = Bits::none(200);
        threes.iter().for_each(|document| inserted.insert_if(document, &evens));
        assert_eq!(inserted, both);
        let mut only_evens = evens.clone();
        only_evens.remove(&threes);
        assert_eq!(only_evens.count(), 66);
    }
}

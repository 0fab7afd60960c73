//! The rank of an item: its place among items that match a query equally well.

use souk_domain::{Item, ItemId, RankClass};

/// How many bits a class of quality takes.
const CLASS_BITS: u32 = RankClass::COUNT.ilog2();
/// Names with more words rank like those with this many.
const MAX_NAME_WORDS: u64 = 63;
/// How many bits of an item's number are kept. No item has a number with more.
const NUMBER_BITS: u32 = 50;

/// The bits of the number of words in a name.
const NAME_BITS: u32 = (MAX_NAME_WORDS + 1).ilog2();

/// What of an item's rank changes while its name stays: whether it is in stock, then its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing(pub(super) u64);

impl Standing {
    /// How many bits a standing takes.
    pub(super) const BITS: u32 = 1 + CLASS_BITS;

    pub(super) fn of(item: &Item) -> Self {
        Self(u64::from(item.quantity > 0) << CLASS_BITS | u64::from(item.rank_class.get()))
    }

    pub(super) fn is_in_stock(self) -> bool {
        self.0 >> CLASS_BITS != 0
    }

    /// Returns the rank of an item that has this standing now, and had a rank before.
    pub(super) fn instead_of(self, rank: u64) -> u64 {
        const OTHERS: u64 = (1 << (NUMBER_BITS + NAME_BITS)) - 1;
        self.0 << (NUMBER_BITS + NAME_BITS) | (rank & OTHERS)
    }

    /// Returns the rank of an item with this number, whose name has this many words. Higher ones come first: in stock, then
    /// by quality, then shorter names, then newer items. No two items have the same.
    pub(super) fn rank(self, item: ItemId, name_words: usize) -> u64 {
        let brevity = MAX_NAME_WORDS - MAX_NAME_WORDS.min(name_words as u64);
        let number = item.0.unsigned_abs() & ((1 << NUMBER_BITS) - 1);
        (self.0 << NAME_BITS | brevity) << NUMBER_BITS | number
    }
}

/// Returns the rank of an item whose name has this many words.
#[cfg(test)]
pub(super) fn rank(item: &Item, name_words: usize) -> u64 {
    Standing::of(item).rank(item.id, name_words)
}

#[cfg(test)]
mod tests {
    use souk_domain::SalesLevel;

    use super::*;
    use crate::tests::{item, rated};

    #[test]
    fn stock_comes_before_quality_before_brevity_before_age() {
        let sold_out = Item {
            quantity: 0,
            rank_class: RankClass::of(rated(100, 500), SalesLevel::default()),
            ..item(9, "")
        };
        let plain = item(8, "");
        let of = |count, stars, id| Item {
            rank_class: RankClass::of(rated(count, stars), SalesLevel::default()),
            ..item(id, "")
        };
        let (good, better, bad) = (of(3, 15, 1), of(30, 150, 1), of(3, 3, 9));
        let newer = Item { id: ItemId(9), ..plain.clone() };
        let rising =
            [(&sold_out, 1), (&bad, 1), (&plain, 2), (&plain, 1), (&newer, 1), (&good, 3), (&better, 3)];
        let ranks: Vec<u64> = rising.iter().map(|(item, words)| rank(item, *words)).collect();
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    }

    #[test]
    fn rank_changes_with_the_standing() {
        let before = item(7, "");
        for (quantity, ratings, words) in [(0, 0, 0), (1, 40, 5), (9, 1_000, 500)] {
            let rank_class = RankClass::of(rated(ratings, 5 * ratings), SalesLevel::default());
            let now = Item { quantity, rank_class, ..before.clone() };
            assert_eq!(Standing::of(&now).instead_of(rank(&before, words)), rank(&now, words));
            assert_eq!(Standing::of(&now).is_in_stock(), quantity > 0);
        }
    }

    #[test]
    fn ranks_differ_for_every_item() {
        let oldest = rank(&item(1, ""), 100);
        assert!(oldest < rank(&item(1 << 40, ""), 100));
        assert!(rank(&item(1 << 40, ""), 3) < rank(&item(1, ""), 2));
    }
}

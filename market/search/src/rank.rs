//! The rank of an item: its place among items that match a query equally well.

use souk_domain::{Item, RankClass};

/// The number of classes of quality.
const CLASSES: u64 = RankClass::COUNT as u64;
/// Names with more words rank like those with this many.
const MAX_NAME_WORDS: u64 = 63;
/// How many bits of an item's number are kept. No item has a number with more.
const NUMBER_BITS: u32 = 50;

/// Returns the rank of an item whose name has this many words. Higher ones come first: in stock, then by quality, then
/// shorter names, then newer items. No two items have the same.
pub(super) fn rank(item: &Item, name_words: usize) -> u64 {
    let brevity = MAX_NAME_WORDS - MAX_NAME_WORDS.min(name_words as u64);
    let number = item.id.0.unsigned_abs() & ((1 << NUMBER_BITS) - 1);
    let class = u64::from(item.quantity > 0) * CLASSES + u64::from(item.rank_class.get());
    (class * (MAX_NAME_WORDS + 1) + brevity) << NUMBER_BITS | number
}

#[cfg(test)]
mod tests {
    use souk_domain::{ItemId, SalesLevel};

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
    fn ranks_differ_for_every_item() {
        let oldest = rank(&item(1, ""), 100);
        assert!(oldest < rank(&item(1 << 40, ""), 100));
        assert!(rank(&item(1 << 40, ""), 3) < rank(&item(1, ""), 2));
    }
}

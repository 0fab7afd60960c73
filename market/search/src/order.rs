//! The orders in which items are found.

/// The order of what is found. Ties go by item number, the lower first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchOrder {
    /// Best match first: more words as they were typed, then words in the name before those in the
    /// description, then names with fewer words. Without words as [`SearchOrder::Newest`].
    ///
    /// How well an item matches depends on nothing but the item and the query. So the pages stay exact while
    /// other items change, and all markets on one store rank alike.
    Relevance,
    /// Cheapest first. Different currencies can't be compared: they come one after the other, by code.
    PriceAscending,
    /// Dearest first; currencies as in [`SearchOrder::PriceAscending`].
    PriceDescending,
    /// Highest mean rating first, what nobody has rated last.
    Rating,
    /// Highest item number first, which is the latest listed.
    Newest,
}

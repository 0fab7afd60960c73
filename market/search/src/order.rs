//! The orders in which results can be returned.

/// The order of the results. Ties are broken by item number, lower first, except in [`SearchOrder::Relevance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchOrder {
    /// Best match first: the words as typed before other forms of them, and words in the name before those elsewhere. Of
    /// equal matches, those in stock come first, then those with better ratings and more sales, then shorter names, then
    /// newer items. Without words, the same as [`SearchOrder::Newest`].
    ///
    /// The rank of an item depends on nothing but the item and the query. So pages stay exact while other
    /// items change, and all markets on one store rank alike.
    Relevance,
    /// Cheapest first. Different currencies can't be compared and are listed one after another, ordered by
    /// code.
    PriceAscending,
    /// Most expensive first; currencies as in [`SearchOrder::PriceAscending`].
    PriceDescending,
    /// Highest mean rating first, unrated items last.
    Rating,
    /// Highest item number first, which is the latest listing.
    Newest,
}

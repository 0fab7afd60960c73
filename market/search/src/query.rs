//! Search queries and their results.

use std::{collections::HashSet, sync::Arc};

use serde::{Deserialize, Serialize};
use souk_domain::{Category, Item, PartyId};

use super::{PriceRange, SearchOrder, SearchText, place::Place};

/// A query for items. Every condition that is set must hold.
///
/// Words are matched in name and description, ignoring case and accents, and every word must match. The last
/// one may be a prefix. Typos are forgiven: one in words of 4 letters or more, two in words of 8 or more,
/// none in words with a digit, because another number means another thing, and none in words of more than 24
/// letters. In queries of many words, only the 8 longest words allow a typo, and the 4 longest two. An order
/// that does not rank by match (price, rating, newest) would mix near misses among the hits, so it forgives
/// typos only if nothing matches as typed.
#[derive(Clone, Debug)]
pub struct SearchQuery {
    /// The words to find. The first [`SearchQuery::MAX_WORDS`] distinct words count, and the rest are ignored. Without
    /// any word, everything matches.
    pub text: SearchText,
    /// Only items of this category or its subcategories.
    pub category: Option<Category>,
    /// Only items whose price lies within it.
    pub price: PriceRange,
    /// Only items whose mean rating is at least this. Excludes unrated items.
    pub min_rating: Option<f64>,
    /// Only items of this seller.
    pub seller: Option<PartyId>,
    /// Excludes items of these sellers, which are suspended.
    pub hidden_sellers: Arc<HashSet<PartyId>>,
    /// Only items that are in stock.
    pub in_stock: bool,
    /// Never forgive typos, even if nothing matches as typed.
    pub is_exact: bool,
    /// The order of the items.
    pub order: SearchOrder,
    /// The maximum number of items, clamped to 1 to [`SearchQuery::MAX_LIMIT`].
    pub limit: usize,
    /// The end of the previous page. Valid only with the same query.
    pub after: Option<SearchCursor>,
}

impl SearchQuery {
    /// The maximum number of distinct words that count.
    pub const MAX_WORDS: usize = 16;
    /// The maximum number of items on a page.
    pub const MAX_LIMIT: usize = 1_000;
}

impl Default for SearchQuery {
    /// Queries the 50 newest items.
    fn default() -> Self {
        Self {
            text: SearchText::default(),
            category: None,
            price: PriceRange::default(),
            min_rating: None,
            seller: None,
            hidden_sellers: Arc::default(),
            in_stock: false,
            is_exact: false,
            order: SearchOrder::Relevance,
            limit: 50,
            after: None,
        }
    }
}

/// A query for the categories in use.
#[derive(Clone, Debug, Default)]
pub struct CategoryQuery {
    /// Only this category and its subcategories.
    pub parent: Option<Category>,
    /// Excludes items of these sellers from the counts.
    pub hidden_sellers: Arc<HashSet<PartyId>>,
    /// Only categories whose path sorts after this one: the keyset cursor.
    pub after: Option<Category>,
    /// The maximum number of categories to return.
    pub limit: usize,
}

/// The position at which a page ended, for continuing after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SearchCursor(pub(super) Place);

/// A page of results.
#[derive(Clone, Debug)]
pub struct SearchPage {
    /// The items in their current state. Items that were deleted since they were indexed are left out, so a
    /// page may be shorter than the limit, or even empty, although more follow.
    pub items: Vec<Item>,
    /// For each of the items, the cursor of a page that begins after it.
    pub cursors: Vec<SearchCursor>,
    /// The cursor of the next page; `None` on the last one.
    pub next: Option<SearchCursor>,
    /// The number of items that match, on all pages together.
    pub total: u64,
    /// The number of matches in each category, without its subcategories: at most
    /// [`SearchPage::MAX_CATEGORIES`], largest first, then by path.
    pub categories: Vec<(Category, u64)>,
}

impl SearchPage {
    /// The maximum number of categories with a count.
    pub const MAX_CATEGORIES: usize = 50;
}

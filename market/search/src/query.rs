//! Search queries and their results.

use std::{collections::HashSet, sync::Arc};

use serde::{Deserialize, Serialize};
use souk_domain::{Category, Item, PartyId};

use super::{Leniency, PriceRange, SearchOrder, SearchText, place::Place, words};

/// A query for items. Every condition that is set must hold.
///
/// Words are matched in name, description and stock-keeping unit, ignoring case and accents, and every word must match.
/// The last one may be a prefix. If fewer than 10 items match, the search goes further, one step of [`Leniency`] after
/// another: typos are forgiven, one in words of 4 letters or more, two in words of 8 or more, and none in words with a
/// digit, because another number means another thing; and in the end one of the words may be missing. In queries of many
/// words, only the 8 longest words allow a typo, and the 4 longest two. An order that does not rank by match (price,
/// rating, newest) would mix near misses among the hits, so it goes further only if nothing matches as typed.
#[derive(Clone, Debug)]
pub struct SearchQuery {
    /// The words to find. The first [`SearchQuery::MAX_WORDS`] distinct words count, and the rest are ignored. A blank
    /// text matches everything, and one of symbols alone nothing.
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
    /// Never go beyond the words as typed, even if nothing matches them.
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
    pub const MAX_WORDS: usize = words::MAX_WORDS;
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
pub struct SearchCursor {
    pub(super) place: Place,
    /// How far the search for the first page has gone beyond the words as typed. The others go as far.
    pub(super) leniency: Leniency,
}

/// A page of results.
#[derive(Clone, Debug)]
pub struct SearchPage {
    /// The items in their current state. Items that were deleted since they were indexed are left out, so a
    /// page may be shorter than the limit, or even empty, although more follow.
    pub items: Vec<Arc<Item>>,
    /// For each of the items, the cursor of a page that begins after it.
    pub cursors: Vec<SearchCursor>,
    /// The cursor of the next page; `None` on the last one.
    pub next: Option<SearchCursor>,
    /// The number of items that match, on all pages together.
    pub total: u64,
    /// The number of matches in each category, without its subcategories: at most
    /// [`SearchPage::MAX_CATEGORIES`], largest first, then by path.
    pub categories: Vec<(Category, u64)>,
    /// How far the search went beyond the words as typed, because too little matches them.
    pub leniency: Leniency,
    /// The number of matches without that. They come first if the order is by relevance.
    pub as_typed: u64,
    /// The query's text in the spelling that was found, if only other spellings than the typed one match.
    pub did_you_mean: Option<String>,
    /// Whether the query's text has no words, but symbols. Then nothing matches.
    pub is_wordless: bool,
}

impl SearchPage {
    /// The maximum number of categories with a count.
    pub const MAX_CATEGORIES: usize = 50;
}

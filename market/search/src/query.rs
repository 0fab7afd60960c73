//! What is searched for, and what is found.

use std::{collections::HashSet, sync::Arc};

use serde::{Deserialize, Serialize};
use souk_domain::{Category, Item, ItemId, PartyId};

use super::{PriceRange, SearchOrder, SearchText, place::Place};

/// Asks for items. All that is given must hold.
///
/// Words are matched in name and description without regard to case and accents, and every word must be
/// there. The last one may be a beginning. Typos are forgiven: one in words of 4 letters or more, two in
/// words of 8 or more, none in words with a digit, because another number is another thing. An order that
/// does not rank by match (price, rating, newest) would mix near misses among the hits; it forgives only
/// when nothing matches as typed.
#[derive(Clone, Debug)]
pub struct SearchQuery {
    /// Of its words the first [`SearchQuery::MAX_WORDS`] different ones count, the rest are ignored. Without any word,
    /// everything matches.
    pub text: SearchText,
    /// Only items of this category or one below it.
    pub category: Option<Category>,
    /// Only items at a price within it.
    pub price: PriceRange,
    /// Only items whose mean rating is this or more; never one that nobody has rated.
    pub min_rating: Option<f64>,
    /// Only items of this seller.
    pub seller: Option<PartyId>,
    /// No items of these sellers.
    pub hidden_sellers: Arc<HashSet<PartyId>>,
    /// Only items that can be bought now.
    pub in_stock: bool,
    /// Only these items.
    pub among: Option<Arc<[ItemId]>>,
    /// Forgive no typos, even when nothing matches as typed.
    pub is_exact: bool,
    /// The order of the items.
    pub order: SearchOrder,
    /// How many items at most: 1 to [`SearchQuery::MAX_LIMIT`], a number outside counts as the nearest.
    pub limit: usize,
    /// Where the page before ended. Only good with the same query.
    pub after: Option<SearchCursor>,
}

impl SearchQuery {
    /// How many different words count.
    pub const MAX_WORDS: usize = 16;
    /// The largest page.
    pub const MAX_LIMIT: usize = 1_000;
}

impl Default for SearchQuery {
    /// The 50 newest items.
    fn default() -> Self {
        Self {
            text: SearchText::default(),
            category: None,
            price: PriceRange::default(),
            min_rating: None,
            seller: None,
            hidden_sellers: Arc::default(),
            in_stock: false,
            among: None,
            is_exact: false,
            order: SearchOrder::Relevance,
            limit: 50,
            after: None,
        }
    }
}

/// Asks for the categories in use.
#[derive(Clone, Debug, Default)]
pub struct CategoryQuery {
    /// Only this category and those below it.
    pub parent: Option<Category>,
    /// Not counting the items of these sellers.
    pub hidden_sellers: Arc<HashSet<PartyId>>,
    /// From after this one, by path.
    pub after: Option<Category>,
    /// How many at most.
    pub limit: usize,
}

/// The place in the order at which a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SearchCursor(pub(super) Place);

/// A page of what was found.
#[derive(Clone, Debug)]
pub struct SearchPage {
    /// The items as they are in the store now. Those that were deleted since they were indexed are left
    /// out, so a page may be shorter than its limit, or even empty, although others follow.
    pub items: Vec<Item>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<SearchCursor>,
    /// How many items match, on all pages together.
    pub total: u64,
    /// How many of all matches are in just this category; at most [`SearchPage::MAX_CATEGORIES`], most
    /// first, equal counts by path.
    pub categories: Vec<(Category, u64)>,
}

impl SearchPage {
    /// How many categories are counted out.
    pub const MAX_CATEGORIES: usize = 50;
}

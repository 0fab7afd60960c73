//! Executes a search on one snapshot of the index.

use std::collections::HashMap;

use souk_domain::Category;
use tantivy::{
    IndexReader, Searcher,
    query::{AllQuery, BooleanQuery, Occur, Query, TermQuery},
    schema::IndexRecordOption,
};

use super::{
    CategoryQuery, SearchOrder, SearchPage, SearchQuery,
    collect::{Best, BestPlaces, CountByCategory},
    matching::{Matching, hidden},
    place::Place,
    schema::Fields,
};

/// An index that is open for searching.
pub(super) struct Reader {
    pub(super) index: IndexReader,
    pub(super) fields: Fields,
}

/// A page as the index knows it, before it is completed from the store.
pub(super) struct Hits {
    /// The places of the hits, in order.
    pub(super) places: Vec<Place>,
    /// Whether there is another page.
    pub(super) more: bool,
    /// The number of matches on all pages; see [`SearchPage::total`].
    pub(super) total: u64,
    /// The number of matches by category; see [`SearchPage::categories`].
    pub(super) categories: Vec<(Category, u64)>,
}

impl Reader {
    /// Finds one page of hits, with the total and the counts per category.
    pub(super) fn find(&self, query: &SearchQuery) -> tantivy::Result<Hits> {
        let matching = Matching::new(query, self.fields);
        // One snapshot for both runs, so that hits, total and counts agree.
        let searcher = self.index.searcher();
        let limit = query.limit.clamp(1, SearchQuery::MAX_LIMIT);
        let best = BestPlaces {
            order: query.order,
            has_words: matching.has_words(),
            after: query.after.map(|cursor| cursor.0),
            // One more than requested, to find out whether there is a next page.
            limit: limit + 1,
        };
        // Only relevance orders by score. There, near misses rank below exact matches and do no harm.
        let ranks_matches = query.order == SearchOrder::Relevance && !query.is_exact;
        let mut found = run(&searcher, &*matching.query(ranks_matches), &best)?;
        if found.0.total == 0 && !ranks_matches && !query.is_exact && matching.can_forgive() {
            // An order that does not rank by match would mix near misses among the hits, so typos are
            // forgiven only if nothing matches exactly.
            found = run(&searcher, &*matching.query(true), &best)?;
        }
        let (Best { mut places, total }, counts) = found;
        let more = places.len() > limit;
        places.truncate(limit);
        Ok(Hits { places, more, total, categories: most_first(counts) })
    }

    /// Counts the items of each matching category, ordered by path.
    pub(super) fn categories(&self, asked: &CategoryQuery) -> tantivy::Result<Vec<(Category, u64)>> {
        let CategoryQuery { parent, hidden_sellers, after, limit } = asked;
        let mut query: Box<dyn Query> = match parent {
            Some(parent) => {
                Box::new(TermQuery::new(self.fields.category_term(parent), IndexRecordOption::Basic))
            }
            None => Box::new(AllQuery),
        };
        if let Some(hidden) = hidden(hidden_sellers, &self.fields) {
            // Hidden in the query rather than in the result, so that the counts leave them out too.
            query = Box::new(BooleanQuery::new(vec![(Occur::Must, query), (Occur::MustNot, hidden)]));
        }
        let counts = self.index.searcher().search(&query, &CountByCategory)?;
        let mut counts = named(counts);
        // Filtered after counting: one pass counts all categories anyway, and there are few compared with
        // items.
        counts.retain(|(category, _)| after.as_ref().is_none_or(|after| category > after));
        counts.sort_unstable();
        counts.truncate(*limit);
        Ok(counts)
    }
}

fn run(
    searcher: &Searcher,
    query: &dyn Query,
    best: &BestPlaces,
) -> tantivy::Result<(Best, HashMap<String, u64>)> {
    // At least 1, which the collector requires.
    let limit = usize::try_from(searcher.num_docs()).unwrap_or(usize::MAX).clamp(1, best.limit);
    // The collector allocates twice the limit for each segment; a small index does not need that much.
    let best = BestPlaces { limit, ..*best };
    searcher.search(query, &(best, CountByCategory))
}

fn most_first(counts: HashMap<String, u64>) -> Vec<(Category, u64)> {
    let mut counts = named(counts);
    counts.sort_unstable_by(|(category, count), (other, others)| others.cmp(count).then(category.cmp(other)));
    // The rarest are cut off, and ties go by path, so that the same search always shows the same ones.
    counts.truncate(SearchPage::MAX_CATEGORIES);
    counts
}

fn named(counts: HashMap<String, u64>) -> Vec<(Category, u64)> {
    counts.into_iter().map(|(category, count)| (Category::trusted(category), count)).collect()
}

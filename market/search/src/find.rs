//! Executes a search on one snapshot of the index.

use std::sync::Arc;

use arc_swap::ArcSwap;
use souk_domain::Category;
use tantivy::{IndexReader, Searcher};

use super::{
    CategoryQuery, Leniency, SearchCursor, SearchPage, SearchQuery,
    ask::Ask,
    counts::Counts,
    effort::{Effort, Stop},
    execute::{Execution, Found},
    hidden::{Hidden, HiddenSellers},
    place::Place,
    schema::Fields,
    segment::Snapshot,
    spelling::NearWords,
    states::State,
    suggest,
    words::{self, Wording},
};

/// An index that is open for searching.
pub(super) struct Reader {
    index: IndexReader,
    fields: Fields,
    snapshot: ArcSwap<Snapshot>,
    counts: Counts,
    near: NearWords,
    hidden: HiddenSellers,
    wording: Wording,
}

/// A page as the index knows it, before it is completed from the store.
#[derive(Default)]
pub(super) struct Hits {
    /// The places of the hits, in order.
    pub(super) places: Vec<Place>,
    /// Whether there is another page.
    pub(super) more: bool,
    /// The number of matches on all pages; see [`SearchPage::total`].
    pub(super) total: u64,
    /// The number of matches by category; see [`SearchPage::categories`].
    pub(super) categories: Vec<(Category, u64)>,
    /// How far the search went beyond the words as typed.
    pub(super) leniency: Leniency,
    /// The number of matches as typed.
    pub(super) as_typed: u64,
    /// If nothing matches as typed: the query's words for which similar ones count, each with these.
    pub(super) near: Vec<(String, Vec<String>)>,
}

impl Hits {
    /// Returns the cursors after each of the hits.
    pub(super) fn cursors(&self) -> impl DoubleEndedIterator<Item = SearchCursor> {
        let leniency = self.leniency;
        self.places.iter().map(move |place| SearchCursor { place: *place, leniency })
    }
}

impl Reader {
    pub(super) fn open(index: IndexReader, fields: Fields, wording: Wording) -> tantivy::Result<Self> {
        let (snapshot, counts) = (ArcSwap::default(), Counts::default());
        let (near, hidden) = (NearWords::default(), HiddenSellers::default());
        let reader = Self { index, fields, snapshot, counts, near, hidden, wording };
        reader.show(&[])?;
        Ok(reader)
    }

    /// Returns the segments of the latest commit that is shown.
    pub(super) fn searcher(&self) -> Searcher {
        self.index.searcher()
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(super) fn wording(&self) -> &Wording {
        &self.wording
    }

    /// Shows the latest commit to searches. `states` are those of all items about which its documents say something else.
    pub(super) fn reload(&self, states: &[(i64, State)]) -> tantivy::Result<()> {
        self.index.reload()?;
        self.show(states)
    }

    /// Shows what the states of some items have become. Must not be called by several threads at a time.
    pub(super) fn show_states(&self, states: &[(i64, State)]) {
        let snapshot = self.snapshot.load().with_states(states);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Returns the state of an item that searches see.
    #[cfg(test)]
    pub(super) fn state(&self, item: i64) -> State {
        let snapshot = self.snapshot.load();
        let of = |segment: &super::segment::Segment| {
            let document = segment.columns.of_item(item).find(|document| segment.is_alive(*document))?;
            Some(segment.state(document))
        };
        snapshot.segments.iter().find_map(of).unwrap_or_default()
    }

    fn show(&self, states: &[(i64, State)]) -> tantivy::Result<()> {
        let searcher = self.index.searcher();
        let snapshot =
            Snapshot::open(searcher.segment_readers(), &self.fields, states, &self.snapshot.load())?;
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// Finds one page of hits, with the total and the counts per category.
    pub(super) fn find(&self, query: &SearchQuery, effort: &mut Effort) -> Result<Hits, Stop> {
        if words::is_wordless(query.text.as_str()) {
            return Ok(Hits::default());
        }
        // One snapshot for everything, so that hits, total and counts agree.
        let snapshot = self.snapshot.load();
        let hidden = self.hidden.of(&query.hidden_sellers, &snapshot)?;
        let mut execution = self.execution(&snapshot, &hidden, Ask::new(query, &self.wording));
        let Found { leniency, as_typed, all } = match query.after {
            // As far as for the first page: otherwise items would be missing or repeated between pages.
            Some(cursor) => execution.up_to(cursor.leniency, effort)?,
            None => execution.as_far_as_needed(query, effort)?,
        };
        let limit = query.limit.clamp(1, SearchQuery::MAX_LIMIT);
        // One more than requested, to find out whether there is a next page.
        let most = usize::try_from(all.total).map_or(limit + 1, |total| total.min(limit + 1));
        let after = query.after.map(|cursor| cursor.place);
        let mut places = execution.places((query.order, leniency), after, most, effort)?;
        let more = places.len() > limit;
        places.truncate(limit);
        let (total, categories) = (all.total, most_first(&all.categories));
        let near = if as_typed == 0 { suggest::near_words(&execution.ask) } else { Vec::new() };
        Ok(Hits { places, more, total, categories, leniency, as_typed, near })
    }

    /// Counts the items of each matching category, ordered by path.
    pub(super) fn categories(
        &self,
        asked: &CategoryQuery,
        effort: &mut Effort,
    ) -> Result<Vec<(Category, u64)>, Stop> {
        let CategoryQuery { parent, hidden_sellers, after, limit } = asked;
        let snapshot = self.snapshot.load();
        let hidden = self.hidden.of(hidden_sellers, &snapshot)?;
        let execution = self.execution(&snapshot, &hidden, Ask::everything(parent.as_ref()));
        let counted = execution.count(Leniency::AsTyped, effort)?;
        let is_later = |(category, _): &&(Category, u64)| after.as_ref().is_none_or(|after| category > after);
        // Filtered after counting: what is counted is kept for the next page.
        let mut counts: Vec<_> = counted.categories.iter().filter(is_later).cloned().collect();
        counts.sort_unstable();
        counts.truncate(*limit);
        Ok(counts)
    }

    fn execution<'a>(&'a self, snapshot: &'a Snapshot, hidden: &'a Hidden, ask: Ask) -> Execution<'a> {
        let Self { fields, counts, near, .. } = self;
        Execution { snapshot, fields, counts, near, hidden, ask }
    }
}

fn most_first(counts: &[(Category, u64)]) -> Vec<(Category, u64)> {
    let mut counts: Vec<&(Category, u64)> = counts.iter().collect();
    // The rarest are cut off, and ties go by path, so that the same search always shows the same ones.
    let most_first = |(category, count): &&(Category, u64), (other, others): &&(Category, u64)| {
        others.cmp(count).then_with(|| category.cmp(other))
    };
    if counts.len() > SearchPage::MAX_CATEGORIES {
        counts.select_nth_unstable_by(SearchPage::MAX_CATEGORIES, most_first);
        counts.truncate(SearchPage::MAX_CATEGORIES);
    }
    counts.sort_unstable_by(most_first);
    counts.into_iter().cloned().collect()
}

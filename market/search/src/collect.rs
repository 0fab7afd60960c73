//! Collectors: one page of the matches, and the number of matches in each category.

use std::collections::HashMap;

use tantivy::{
    DocId, Score, SegmentOrdinal, SegmentReader, TantivyError,
    collector::{Collector, SegmentCollector},
    columnar::StrColumn,
};

use super::{
    SearchOrder,
    place::{Place, Places},
    schema,
};

/// Collects the first places after a cursor.
pub(super) struct BestPlaces {
    pub(super) order: SearchOrder,
    pub(super) has_words: bool,
    pub(super) after: Option<Place>,
    /// The maximum number of places; at least 1.
    pub(super) limit: usize,
}

/// The result of [`BestPlaces`].
pub(super) struct Best {
    /// The places, sorted. Those of a single segment are in any order.
    pub(super) places: Vec<Place>,
    /// The number of all documents that match, on this page or not.
    pub(super) total: u64,
}

impl Collector for BestPlaces {
    type Fruit = Best;
    type Child = BestPlacesOfSegment;

    fn for_segment(&self, _: SegmentOrdinal, segment: &SegmentReader) -> tantivy::Result<Self::Child> {
        Ok(BestPlacesOfSegment {
            places: Places::open(segment, self.order, self.has_words)?,
            after: self.after,
            limit: self.limit,
            // Twice the limit: cutting down takes linear time and then happens once per `limit` matches, so a
            // match costs constant time on average.
            best: Vec::with_capacity(2 * self.limit),
            worst: None,
            total: 0,
        })
    }

    fn requires_scoring(&self) -> bool {
        // Scoring is the expensive part of a search, and no other order uses it.
        self.order == SearchOrder::Relevance && self.has_words
    }

    fn merge_fruits(&self, segments: Vec<Best>) -> tantivy::Result<Best> {
        let total = segments.iter().map(|segment| segment.total).sum();
        let mut places: Vec<_> = segments.into_iter().flat_map(|segment| segment.places).collect();
        places.sort_unstable();
        places.truncate(self.limit);
        Ok(Best { places, total })
    }
}

/// The state of [`BestPlaces`] for one segment.
pub(super) struct BestPlacesOfSegment {
    places: Places,
    after: Option<Place>,
    limit: usize,
    /// The best so far and others, up to twice the limit; cut down to the limit when full. Unlike a heap,
    /// this stays cheap when each match is better than all before, as when sorting by newest.
    best: Vec<Place>,
    /// The last of the best when they were last cut down. Later places can be dropped at once.
    worst: Option<Place>,
    total: u64,
}

impl SegmentCollector for BestPlacesOfSegment {
    type Fruit = Best;

    fn collect(&mut self, document: DocId, score: Score) {
        // Counted before the cursor is compared: the total covers all pages.
        self.total += 1;
        let place = self.places.of(document, score);
        if self.after.is_some_and(|after| place <= after) {
            return;
        }
        // Already beaten by a full page; most matches of a broad search end here.
        if self.worst.is_some_and(|worst| place > worst) {
            return;
        }
        self.best.push(place);
        if self.best.len() >= 2 * self.limit {
            let (_, worst, _) = self.best.select_nth_unstable(self.limit - 1);
            self.worst = Some(*worst);
            self.best.truncate(self.limit);
        }
    }

    fn harvest(self) -> Best {
        Best { places: self.best, total: self.total }
    }
}

/// Counts the matches in each category.
pub(super) struct CountByCategory;

impl Collector for CountByCategory {
    type Fruit = HashMap<String, u64>;
    type Child = CountOfSegment;

    fn for_segment(&self, _: SegmentOrdinal, segment: &SegmentReader) -> tantivy::Result<Self::Child> {
        let categories = segment.fast_fields().str(schema::CATEGORY)?;
        let counts = vec![0; categories.as_ref().map_or(0, |column| column.num_terms())];
        Ok(CountOfSegment { categories, counts })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(
        &self,
        segments: Vec<tantivy::Result<Vec<(String, u64)>>>,
    ) -> tantivy::Result<Self::Fruit> {
        let mut sums = HashMap::new();
        for segment in segments {
            for (category, count) in segment? {
                *sums.entry(category).or_default() += count;
            }
        }
        Ok(sums)
    }
}

/// The state of [`CountByCategory`] for one segment.
pub(super) struct CountOfSegment {
    categories: Option<StrColumn>,
    /// Counts by the category's ordinal within the segment, which avoids a map of strings in the inner loop.
    counts: Vec<u64>,
}

impl SegmentCollector for CountOfSegment {
    type Fruit = tantivy::Result<Vec<(String, u64)>>;

    fn collect(&mut self, document: DocId, _: Score) {
        let number = self.categories.as_ref().and_then(|column| column.ords().first(document));
        if let Some(count) = number.and_then(|number| self.counts.get_mut(number as usize)) {
            *count += 1;
        }
    }

    fn harvest(self) -> Self::Fruit {
        let Some(categories) = self.categories else {
            return Ok(Vec::new());
        };
        let (numbers, counts): (Vec<u64>, Vec<u64>) =
            (0..).zip(self.counts).filter(|(_, count)| *count > 0).unzip();
        let mut names = Vec::with_capacity(numbers.len());
        let found = categories.dictionary().sorted_ords_to_term_cb(&numbers, |name| {
            names.push(String::from_utf8_lossy(name).into_owned());
        })?;
        if !found {
            return Err(TantivyError::InternalError("a category has no name in the index".into()));
        }
        Ok(names.into_iter().zip(counts).collect())
    }
}

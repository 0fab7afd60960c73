//! The number of matches of a query, in all and in each category, kept between searches.
//!
//! The count of a segment is valid as long as the segment exists, because it goes by what the documents say. Documents
//! deleted since then are subtracted, and those whose items have another stock or rating now are corrected. So repeating
//! a search after a change costs little, however many items match.

use std::{collections::HashMap, sync::Arc};

use quick_cache::{Weighter, sync::Cache};
use souk_domain::Category;
use tantivy::{DocId, index::SegmentId};

use super::{
    ask::{Degree, Key},
    effort::{Effort, Stop},
    matches::{Matches, Test, matches},
    resolve::Resolved,
    segment::Segment,
};

/// The maximum size of what is kept, in bytes.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// The expected number of counts, which only determines the size of the tables.
const USUAL_COUNTS: usize = 16_384;
/// The size of a count without its categories, in bytes.
const COUNT_BYTES: u64 = 128;
/// If more documents than this were deleted since, a segment is counted again.
const MAX_DELETED: usize = 1_024;

/// The matches of a query in one segment.
pub(super) struct Count {
    pub(super) total: u64,
    /// The number in each category that has any, by the category's number in the segment.
    categories: Box<[(u32, u64)]>,
    /// How many of the segment's deletions are counted.
    deleted: usize,
}

/// The matches of a query in all segments.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    pub(super) total: u64,
    /// The number in each category that has any.
    pub(super) categories: Vec<(Category, u64)>,
}

/// What is known of queries.
pub(super) struct Counts {
    by_segment: Cache<(Key, SegmentId), Arc<Count>, Weigh>,
    /// By snapshot.
    sums: Cache<(Key, u64), Arc<Sum>, Weigh>,
}

#[derive(Clone)]
struct Weigh;

impl<K> Weighter<K, Arc<Count>> for Weigh {
    fn weight(&self, _: &K, count: &Arc<Count>) -> u64 {
        COUNT_BYTES + 16 * count.categories.len() as u64
    }
}

impl<K> Weighter<K, Arc<Sum>> for Weigh {
    fn weight(&self, _: &K, sum: &Arc<Sum>) -> u64 {
        let name = |(category, _): &(Category, u64)| 32 + category.as_str().len() as u64;
        COUNT_BYTES + sum.categories.iter().map(name).sum::<u64>()
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            by_segment: Cache::with_weighter(USUAL_COUNTS, MAX_BYTES / 2, Weigh),
            sums: Cache::with_weighter(USUAL_COUNTS, MAX_BYTES / 2, Weigh),
        }
    }
}

impl Counts {
    /// Returns a sum that is kept.
    pub(super) fn known(&self, key: Key, snapshot: u64) -> Option<Arc<Sum>> {
        self.sums.get(&(key, snapshot))
    }

    /// Keeps a sum.
    pub(super) fn keep(&self, key: Key, snapshot: u64, sum: Arc<Sum>) {
        self.sums.insert((key, snapshot), sum);
    }

    /// Counts the matches of a query in a segment.
    pub(super) fn count(
        &self,
        of: &Resolved<'_>,
        (key, degree): (Key, Degree),
        effort: &mut Effort,
    ) -> Result<Arc<Count>, Stop> {
        let key = (key, of.scope.segment.id);
        let deleted = &of.scope.segment.deleted;
        let count = match self.by_segment.get(&key) {
            Some(kept) if kept.deleted == deleted.len() => return Ok(kept),
            // It was counted by a search of a later state.
            Some(kept) if kept.deleted > deleted.len() => {
                return Ok(Arc::new(Count::of(of, degree, effort)?));
            }
            Some(kept) if deleted.len() - kept.deleted <= MAX_DELETED => {
                kept.without_deleted(of, degree, effort)?
            }
            _ => Count::of(of, degree, effort)?,
        };
        let count = Arc::new(count);
        self.by_segment.insert(key, Arc::clone(&count));
        Ok(count)
    }
}

impl Count {
    fn of(of: &Resolved<'_>, degree: Degree, effort: &mut Effort) -> Result<Self, Stop> {
        let Segment { columns, documents, deleted, .. } = of.scope.segment;
        let (total, counts) = match matches(of, degree, effort)? {
            Matches::List(list) => columns.count(list.into_iter()),
            Matches::Bits(bits) => {
                effort.spend(bits.count())?;
                columns.count(bits.iter())
            }
            Matches::Everything => {
                effort.spend((*documents).into())?;
                columns.count((0..*documents).filter(|document| of.scope.shows(*document)))
            }
        };
        let categories = (0..).zip(counts).filter(|(_, count)| *count > 0).collect();
        Ok(Self { total, categories, deleted: deleted.len() })
    }

    /// Returns the count without the documents that were deleted since.
    fn without_deleted(&self, of: &Resolved<'_>, degree: Degree, effort: &mut Effort) -> Result<Self, Stop> {
        let Segment { columns, deleted, .. } = of.scope.segment;
        let mut since = deleted[self.deleted..].to_vec();
        since.sort_unstable();
        effort.spend(since.len() as u64)?;
        let mut test = Test::of(of, degree, effort)?;
        since.retain(|document| test.holds(*document));
        let (total, gone) = columns.count(since.into_iter());
        let left = self.categories.iter().map(|(number, count)| (*number, count - gone[*number as usize]));
        let categories = left.filter(|(_, count)| *count > 0).collect();
        Ok(Self { total: self.total - total, categories, deleted: deleted.len() })
    }
}

impl Count {
    /// Returns the count by the states that items have now. `of` goes by the documents, and so does this count.
    pub(super) fn by_present_states(
        self: Arc<Self>,
        of: &Resolved<'_>,
        degree: Degree,
        effort: &mut Effort,
    ) -> Result<Arc<Self>, Stop> {
        let Segment { columns, outdated, .. } = of.scope.segment;
        let filter = of.scope.ask.state;
        if filter.admits_all() || outdated.is_empty() {
            return Ok(self);
        }
        effort.spend(outdated.len() as u64)?;
        let mut test = Test::of(of, degree, effort)?;
        let changed = outdated.iter().filter_map(|(document, state)| {
            let (before, now) = (filter.admits(columns.state(*document)), filter.admits(*state));
            (before != now).then_some((*document, now))
        });
        let matching = changed.filter(|(document, _)| test.holds_in_some_state(*document));
        let (coming, going): (Vec<_>, Vec<_>) = matching.partition(|(_, is_coming)| *is_coming);
        let count =
            |moved: Vec<(DocId, bool)>| columns.count(moved.into_iter().map(|(document, _)| document));
        let (coming, going) = (count(coming), count(going));
        let mut counts = vec![0; columns.names.len()];
        for (number, count) in &self.categories {
            counts[*number as usize] = *count;
        }
        let categories = (0..).zip(counts).zip(coming.1).zip(going.1);
        let categories =
            categories.map(|(((number, count), coming), going)| (number, count + coming - going));
        Ok(Arc::new(Self {
            total: self.total + coming.0 - going.0,
            categories: categories.filter(|(_, count)| *count > 0).collect(),
            deleted: self.deleted,
        }))
    }
}

/// Adds up the counts of all segments.
pub(super) fn sum<'a>(counts: impl Iterator<Item = (&'a Segment, Arc<Count>)>) -> Sum {
    let (mut total, mut by_category) = (0, HashMap::<&Category, u64>::new());
    for (segment, count) in counts {
        total += count.total;
        for (number, count) in &count.categories {
            *by_category.entry(&segment.columns.names[*number as usize]).or_default() += count;
        }
    }
    let categories = by_category.into_iter().map(|(category, count)| (category.clone(), count)).collect();
    Sum { total, categories }
}

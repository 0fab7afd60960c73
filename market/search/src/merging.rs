//! Which segments of the index are merged.
//!
//! Each segment adds to the time of every search, and each merge writes its documents again, together with the
//! dictionaries of their words. So segments are merged with others of their size, which writes a document once per size;
//! small ones go first if there are too many. While many items are written at a time, more segments wait to be merged at
//! once, so that an import writes each document half as often; afterwards there are as few segments as ever.

use tantivy::{
    index::SegmentMeta,
    indexer::{MergeCandidate, MergePolicy},
};

/// Maximum number of documents in a merged segment, which bounds the time of a merge.
const MAX_DOCUMENTS: u32 = 5_000_000;
/// Up to so many documents, segments are of the smallest size.
const SMALL: u32 = 8_192;
/// From each size to the next, segments have so many times as many documents, as a power of two.
const STEP: u32 = 3;
/// Segments with a larger share of deleted documents are written again, in percent. Small ones are merged soon anyway.
const MAX_DELETED: u64 = 30;

/// Merges segments of a size, and the smallest ones if there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MergeAlike {
    /// The number of segments of a size that are merged. When there are too many segments, the smallest are merged until
    /// so many fewer than the most are left, so that the next commit does not lead to the next merge.
    alike: usize,
    /// The number of segments to stay below, as far as [`MAX_DOCUMENTS`] allows.
    most: usize,
}

impl MergeAlike {
    /// For searches.
    pub(super) const FEW: Self = Self { alike: 4, most: 12 };
    /// For writing many items.
    pub(super) const RARELY: Self = Self { alike: 8, most: 20 };

    /// Returns what is merged, by places in the given segments, which are sorted by size.
    fn merges(self, segments: &[Size]) -> Vec<Vec<usize>> {
        let Self { alike, most } = self;
        let mut merges: Vec<Vec<usize>> = Vec::new();
        let mut left: Vec<usize> = Vec::new();
        let places: Vec<usize> = (0..segments.len()).collect();
        for of_a_size in places.chunk_by(|one, other| segments[*one].level() == segments[*other].level()) {
            let merged = fitting(segments, of_a_size);
            if merged.len() >= alike {
                left.extend(&of_a_size[merged.len()..]);
                merges.push(merged);
            } else {
                left.extend(of_a_size);
            }
        }
        let count = left.len() + merges.len();
        if count > most {
            let mut merged = fitting(segments, &left);
            merged.truncate(count - most + alike);
            if merged.len() > 1 {
                left.drain(..merged.len());
                merges.push(merged);
            }
        }
        let with_many_deleted = left.into_iter().filter(|place| segments[*place].has_many_deleted);
        merges.extend(with_many_deleted.map(|place| vec![place]));
        merges
    }
}

impl MergePolicy for MergeAlike {
    fn compute_merge_candidates(&self, segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
        let mut smallest_first: Vec<&SegmentMeta> = segments.iter().collect();
        smallest_first.sort_unstable_by_key(|segment| segment.num_docs());
        let sizes: Vec<Size> = smallest_first.iter().map(|segment| Size::of(segment)).collect();
        let merges = self.merges(&sizes).into_iter();
        merges
            .map(|merge| MergeCandidate(merge.into_iter().map(|place| smallest_first[place].id()).collect()))
            .collect()
    }
}

/// What decides on a segment.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// The documents that were not deleted.
    documents: u32,
    has_many_deleted: bool,
}

impl Size {
    fn of(segment: &SegmentMeta) -> Self {
        let (all, deleted) = (segment.max_doc(), segment.num_deleted_docs());
        let has_many_deleted = u64::from(deleted) * 100 > u64::from(all) * MAX_DELETED;
        Self { documents: segment.num_docs(), has_many_deleted: has_many_deleted && all > SMALL }
    }

    fn level(self) -> u32 {
        self.documents.max(1).div_ceil(SMALL).ilog2().div_ceil(STEP)
    }
}

/// Returns the first of some segments, as many as may be one.
fn fitting(segments: &[Size], of: &[usize]) -> Vec<usize> {
    let mut documents = 0;
    let fits = |place: &&usize| {
        documents += u64::from(segments[**place].documents);
        documents <= u64::from(MAX_DOCUMENTS)
    };
    of.iter().take_while(fits).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sizes(documents: &[u32]) -> Vec<Size> {
        let mut documents = documents.to_vec();
        documents.sort_unstable();
        documents.into_iter().map(|documents| Size { documents, has_many_deleted: false }).collect()
    }

    /// Merges until nothing is left to merge, and returns how many documents were written.
    fn settle(policy: MergeAlike, segments: &mut Vec<u32>) -> u64 {
        let mut written = 0;
        loop {
            segments.sort_unstable();
            let merges = policy.merges(&sizes(segments));
            if merges.is_empty() {
                return written;
            }
            let taken: Vec<usize> = merges.iter().flatten().copied().collect();
            let merged = merges.iter().map(|merge| merge.iter().map(|place| segments[*place]).sum::<u32>());
            let merged: Vec<u32> = merged.collect();
            written += merged.iter().map(|documents| u64::from(*documents)).sum::<u64>();
            let mut place = 0;
            segments.retain(|_| {
                place += 1;
                !taken.contains(&(place - 1))
            });
            segments.extend(merged);
        }
    }

    #[test]
    fn segments_of_a_size_are_merged() {
        let merges = |documents: &[u32]| MergeAlike::FEW.merges(&sizes(documents));
        assert_eq!(merges(&[1, 10, 8_000]), Vec::<Vec<usize>>::new());
        assert_eq!(merges(&[1, 10, 8_000, 20, 9_000]), [[0, 1, 2, 3]]);
        assert_eq!(merges(&[4_000_000, 3_000_000, 2_900_000, 2_800_000]), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn segments_with_many_deletions_are_written_again() {
        let mut segments = sizes(&[10, 100_000]);
        segments[1].has_many_deleted = true;
        assert_eq!(MergeAlike::FEW.merges(&segments), [[1]]);
    }

    /// Returns how often each document of an import is written by merges.
    fn writes(policy: MergeAlike) -> f64 {
        const COMMITS: u64 = 2_000;
        const COMMIT: u32 = 2_500;
        let (mut segments, mut written) = (Vec::new(), 0);
        for _ in 0..COMMITS {
            segments.push(COMMIT);
            written += settle(policy, &mut segments);
            assert!(segments.len() <= policy.most, "{segments:?}");
        }
        written as f64 / (COMMITS * u64::from(COMMIT)) as f64
    }

    #[test]
    fn small_commits_end_in_few_segments_and_few_writes() {
        let (few, rarely) = (writes(MergeAlike::FEW), writes(MergeAlike::RARELY));
        assert!(few < 6.0 && rarely < 3.5, "{few} {rarely}");
    }

    #[test]
    fn import_ends_in_few_segments() {
        let mut segments: Vec<u32> = vec![5_000; 7];
        segments.extend([40_000; 7]);
        assert_eq!(settle(MergeAlike::RARELY, &mut segments), 0);
        settle(MergeAlike::FEW, &mut segments);
        assert!(segments.len() <= 2, "{segments:?}");
    }

    proptest! {
        #[test]
        fn segments_are_few_and_bounded(
            built in prop::collection::vec(100_000..600_000u32, 0..60),
            commits in prop::collection::vec(1..20_000u32, 0..100),
            policy in prop::sample::select(vec![MergeAlike::FEW, MergeAlike::RARELY]),
        ) {
            let documents: u64 = built.iter().chain(&commits).map(|documents| u64::from(*documents)).sum();
            let mut segments = built;
            settle(policy, &mut segments);
            for commit in commits {
                segments.push(commit);
                settle(policy, &mut segments);
                prop_assert!(segments.len() <= policy.most + 1, "{:?}", segments);
            }
            prop_assert!(segments.iter().all(|documents| *documents <= MAX_DOCUMENTS), "{:?}", segments);
            prop_assert_eq!(segments.iter().map(|documents| u64::from(*documents)).sum::<u64>(), documents);
        }
    }
}

//! Which segments of the index are merged.
//!
//! Each segment adds to the time of every search, and each merge writes its documents again. So segments are merged with
//! others of their size, which writes a document once per size; small ones go first if there are too many.

use tantivy::{
    index::SegmentMeta,
    indexer::{MergeCandidate, MergePolicy},
};

/// Maximum number of documents in a merged segment, which bounds the time of a merge.
const MAX_DOCUMENTS: u32 = 5_000_000;
/// The number of segments to stay below, as far as [`MAX_DOCUMENTS`] allows.
const MAX_SEGMENTS: usize = 12;
/// When there are more, the smallest are merged until so many fewer are left, so that the next commit does not lead to the
/// next merge.
const SPARE: usize = 4;
/// The number of segments of a size that are merged. With half as many, imports took two thirds more CPU time for their
/// index: each document was written once more, together with all dictionaries.
const ALIKE: usize = 8;
/// Up to so many documents, segments are of the smallest size.
const SMALL: u32 = 8_192;
/// From each size to the next, segments have so many times as many documents, as a power of two.
const STEP: u32 = 3;
/// Segments with a larger share of deleted documents are written again, in percent. Small ones are merged soon anyway.
const MAX_DELETED: u64 = 30;

/// Merges segments of a size, and the smallest ones if there are too many.
#[derive(Clone, Copy, Debug)]
pub(super) struct MergeAlike;

impl MergePolicy for MergeAlike {
    fn compute_merge_candidates(&self, segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
        let mut smallest_first: Vec<&SegmentMeta> = segments.iter().collect();
        smallest_first.sort_unstable_by_key(|segment| segment.num_docs());
        let sizes: Vec<Size> = smallest_first.iter().map(|segment| Size::of(segment)).collect();
        let merges = merges(&sizes).into_iter();
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

/// Returns what is merged, by places in the given segments, which are sorted by size.
fn merges(segments: &[Size]) -> Vec<Vec<usize>> {
    let mut merges: Vec<Vec<usize>> = Vec::new();
    let mut left: Vec<usize> = Vec::new();
    let places: Vec<usize> = (0..segments.len()).collect();
    for alike in places.chunk_by(|one, other| segments[*one].level() == segments[*other].level()) {
        let merged = fitting(segments, alike);
        if merged.len() >= ALIKE {
            left.extend(&alike[merged.len()..]);
            merges.push(merged);
        } else {
            left.extend(alike);
        }
    }
    let count = left.len() + merges.len();
    if count > MAX_SEGMENTS {
        let mut merged = fitting(segments, &left);
        merged.truncate(count - MAX_SEGMENTS + SPARE);
        if merged.len() > 1 {
            left.drain(..merged.len());
            merges.push(merged);
        }
    }
    merges
        .extend(left.into_iter().filter(|place| segments[*place].has_many_deleted).map(|place| vec![place]));
    merges
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
    fn settle(segments: &mut Vec<u32>) -> u64 {
        let mut written = 0;
        loop {
            segments.sort_unstable();
            let merges = merges(&sizes(segments));
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
        let small = [1, 10, 20, 30, 4_000, 5_000, 6_000];
        assert_eq!(merges(&sizes(&small)), Vec::<Vec<usize>>::new());
        assert_eq!(merges(&sizes(&[&small[..], &[8_000, 9_000]].concat())), [[0, 1, 2, 3, 4, 5, 6, 7]]);
        let large = [4_000_000, 3_900_000, 3_800_000, 3_700_000, 3_600_000, 3_500_000, 3_400_000, 3_300_000];
        assert_eq!(merges(&sizes(&large)), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn segments_with_many_deletions_are_written_again() {
        let mut segments = sizes(&[10, 100_000]);
        segments[1].has_many_deleted = true;
        assert_eq!(merges(&segments), [[1]]);
    }

    #[test]
    fn small_commits_end_in_few_segments_and_few_writes() {
        let (mut segments, mut written) = (Vec::new(), 0);
        for _ in 0..2_000 {
            segments.push(2_500);
            written += settle(&mut segments);
            assert!(segments.len() <= MAX_SEGMENTS, "{segments:?}");
        }
        assert!(written < 4 * 5_000_000, "{written}");
    }

    proptest! {
        #[test]
        fn segments_are_few_and_bounded(
            built in prop::collection::vec(100_000..600_000u32, 0..60),
            commits in prop::collection::vec(1..20_000u32, 0..100),
        ) {
            let documents: u64 = built.iter().chain(&commits).map(|documents| u64::from(*documents)).sum();
            let mut segments = built;
            settle(&mut segments);
            for commit in commits {
                segments.push(commit);
                settle(&mut segments);
                prop_assert!(segments.len() <= MAX_SEGMENTS + 1, "{:?}", segments);
            }
            prop_assert!(segments.iter().all(|documents| *documents <= MAX_DOCUMENTS), "{:?}", segments);
            prop_assert_eq!(segments.iter().map(|documents| u64::from(*documents)).sum::<u64>(), documents);
        }
    }
}

//! One state of the index, as searches see it: its segments, opened once and kept while they exist.

use std::{collections::HashMap, io, sync::Arc};

use tantivy::{DocId, InvertedIndexReader, SegmentReader, index::SegmentId, postings::TermInfo};

use super::{bits::Bits, columns::Columns, schema::Fields};

/// The segments of one state of the index.
#[derive(Default)]
pub(super) struct Snapshot {
    /// Differs for every state.
    pub(super) number: u64,
    pub(super) segments: Vec<Segment>,
}

/// A segment with its deletions up to one state.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    /// The number of documents, deleted ones included.
    pub(super) documents: u32,
    pub(super) columns: Arc<Columns>,
    pub(super) postings: Arc<Postings>,
    /// The documents that are not deleted; `None` if none is.
    pub(super) alive: Option<Arc<Bits>>,
    /// The deleted documents, in the order in which their deletions were seen. Those that were deleted before the
    /// segment was opened are left out.
    pub(super) deleted: Arc<Vec<DocId>>,
    /// Changes with every deletion.
    state: Option<u64>,
}

/// The posting lists of a segment, by field.
pub(super) struct Postings {
    pub(super) words: Lists,
    pub(super) name: Lists,
    pub(super) pairs: Lists,
    pub(super) starts: Lists,
    pub(super) whole: Lists,
    pub(super) facts: Lists,
}

/// The posting lists of one field of a segment.
pub(super) struct Lists(pub(super) Arc<InvertedIndexReader>);

/// The posting list of a term.
#[derive(Clone)]
pub(super) struct List<'a> {
    pub(super) index: &'a InvertedIndexReader,
    pub(super) info: TermInfo,
}

impl Snapshot {
    /// Opens the segments. Those that an earlier snapshot has are reused, with their deletions brought up to date.
    pub(super) fn open(segments: &[SegmentReader], fields: &Fields, earlier: &Self) -> tantivy::Result<Self> {
        let known: HashMap<SegmentId, &Segment> =
            earlier.segments.iter().map(|segment| (segment.id, segment)).collect();
        let open = |reader: &SegmentReader| match known.get(&reader.segment_id()) {
            Some(segment) => Ok(segment.with_deletions(reader)),
            None => Segment::open(reader, fields),
        };
        let segments = segments.iter().map(open).collect::<tantivy::Result<_>>()?;
        Ok(Self { number: earlier.number + 1, segments })
    }
}

impl Segment {
    fn open(reader: &SegmentReader, fields: &Fields) -> tantivy::Result<Self> {
        let lists = |field| Ok::<_, tantivy::TantivyError>(Lists(reader.inverted_index(field)?));
        Ok(Self {
            id: reader.segment_id(),
            documents: reader.max_doc(),
            columns: Arc::new(Columns::open(reader)?),
            postings: Arc::new(Postings {
                words: lists(fields.words)?,
                name: lists(fields.name)?,
                pairs: lists(fields.pairs)?,
                starts: lists(fields.starts)?,
                whole: lists(fields.whole)?,
                facts: lists(fields.facts)?,
            }),
            alive: alive(reader).map(Arc::new),
            deleted: Arc::default(),
            state: reader.delete_opstamp(),
        })
    }

    /// Returns the segment as it is now. Only its deletions can differ.
    fn with_deletions(&self, reader: &SegmentReader) -> Self {
        if reader.delete_opstamp() == self.state {
            return self.clone();
        }
        let alive = alive(reader);
        let mut deleted = Vec::clone(&self.deleted);
        match (&alive, &self.alive) {
            (Some(now), Some(before)) => {
                let mut gone = Bits::clone(before);
                gone.remove(now);
                deleted.extend(gone.iter());
            }
            (Some(now), None) => deleted.extend((0..self.documents).filter(|document| !now.has(*document))),
            (None, _) => {}
        }
        Self {
            alive: alive.map(Arc::new),
            deleted: Arc::new(deleted),
            state: reader.delete_opstamp(),
            ..self.clone()
        }
    }
}

impl Lists {
    /// Returns the posting list of a term; `None` if no document has it.
    pub(super) fn list(&self, term: impl AsRef<[u8]>) -> io::Result<Option<List<'_>>> {
        let found = self.0.terms().get(term)?;
        Ok(found.map(|info| List { index: &self.0, info }))
    }

    /// Returns the posting lists of all terms that begin with these letters.
    pub(super) fn lists_from(&self, beginning: &str) -> io::Result<Vec<List<'_>>> {
        let mut terms = self.0.terms().range().ge(beginning);
        if let Some(end) = after(beginning.as_bytes()) {
            terms = terms.lt(end);
        }
        let mut terms = terms.into_stream()?;
        let mut lists = Vec::new();
        while terms.advance() {
            lists.push(List { index: &self.0, info: terms.value().clone() });
        }
        Ok(lists)
    }
}

/// Returns the first text after all that begin with these bytes.
fn after(beginning: &[u8]) -> Option<Vec<u8>> {
    let mut end = beginning.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

fn alive(reader: &SegmentReader) -> Option<Bits> {
    let alive = reader.alive_bitset()?;
    Some(Bits::of(reader.max_doc(), alive.iter_alive()))
}

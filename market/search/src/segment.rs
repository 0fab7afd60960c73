//! One state of the index, as searches see it: its segments, opened once and kept while they exist.

use std::{collections::HashMap, io, sync::Arc};

use tantivy::{DocId, InvertedIndexReader, SegmentReader, index::SegmentId, postings::TermInfo};

use super::{bits::Bits, columns::Columns, schema::Fields, states::State};

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
    /// The documents that say something else of their items' states than is the case, in order, with the states.
    pub(super) outdated: Arc<Vec<(DocId, State)>>,
    /// Those of them whose items therefore have another rank, in order, with that rank.
    pub(super) moved: Arc<Vec<(DocId, u64)>>,
    /// The documents whose items are in stock.
    pub(super) in_stock: Arc<Bits>,
    /// Changes with every deletion.
    deletions: Option<u64>,
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
    /// Opens the segments. Those that an earlier snapshot has are reused, with their deletions brought up to date. `states`
    /// are those of all items about which a document may say something else.
    pub(super) fn open(
        segments: &[SegmentReader],
        fields: &Fields,
        states: &[(i64, State)],
        earlier: &Self,
    ) -> tantivy::Result<Self> {
        let known: HashMap<SegmentId, &Segment> =
            earlier.segments.iter().map(|segment| (segment.id, segment)).collect();
        let open = |reader: &SegmentReader| match known.get(&reader.segment_id()) {
            // Its states were noted when they changed.
            Some(segment) => Ok(segment.with_deletions(reader)),
            None => Ok(Segment::open(reader, fields)?.with_states(states)),
        };
        let segments = segments.iter().map(open).collect::<tantivy::Result<_>>()?;
        Ok(Self { number: earlier.number + 1, segments })
    }

    /// Returns the snapshot after the states of some items have changed, each of which is given once.
    pub(super) fn with_states(&self, states: &[(i64, State)]) -> Self {
        let segments = self.segments.iter().map(|segment| segment.with_states(states)).collect();
        Self { number: self.number + 1, segments }
    }
}

impl Segment {
    fn open(reader: &SegmentReader, fields: &Fields) -> tantivy::Result<Self> {
        let columns = Arc::new(Columns::open(reader)?);
        let lists = |field| Ok::<_, tantivy::TantivyError>(Lists(reader.inverted_index(field)?));
        Ok(Self {
            id: reader.segment_id(),
            documents: reader.max_doc(),
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
            outdated: Arc::default(),
            moved: Arc::default(),
            in_stock: Arc::clone(&columns.in_stock),
            deletions: reader.delete_opstamp(),
            columns,
        })
    }

    /// Returns the segment as it is now. Only its deletions can differ.
    fn with_deletions(&self, reader: &SegmentReader) -> Self {
        if reader.delete_opstamp() == self.deletions {
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
        let is_alive = |document| alive.as_ref().is_none_or(|alive| alive.has(document));
        let outdated: Vec<_> =
            self.outdated.iter().copied().filter(|(document, _)| is_alive(*document)).collect();
        Self {
            alive: alive.map(Arc::new),
            deleted: Arc::new(deleted),
            moved: Arc::new(moved(&outdated, &self.columns)),
            outdated: Arc::new(outdated),
            deletions: reader.delete_opstamp(),
            ..self.clone()
        }
    }
}

impl Segment {
    /// Returns the segment after the states of some items have changed.
    fn with_states(&self, states: &[(i64, State)]) -> Self {
        let of_item = |(item, state): &(i64, State)| {
            let state = *state;
            let alive = self.columns.of_item(*item).filter(|document| self.is_alive(*document));
            alive.map(move |document| (document, state)).collect::<Vec<_>>()
        };
        let mut changed: Vec<(DocId, State)> = states.iter().flat_map(of_item).collect();
        if changed.is_empty() {
            return self.clone();
        }
        changed.sort_unstable_by_key(|(document, _)| *document);
        let mut in_stock = Arc::clone(&self.in_stock);
        for (document, state) in &changed {
            if in_stock.has(*document) != state.is_in_stock() {
                Arc::make_mut(&mut in_stock).set(*document, state.is_in_stock());
            }
        }
        let is_kept = |(document, _): &&(DocId, State)| noted(&changed, *document).is_none();
        let mut outdated: Vec<_> = self.outdated.iter().filter(is_kept).copied().collect();
        outdated.extend(changed.iter().filter(|(document, state)| self.columns.state(*document) != *state));
        outdated.sort_unstable_by_key(|(document, _)| *document);
        let moved = Arc::new(moved(&outdated, &self.columns));
        Self { outdated: Arc::new(outdated), moved, in_stock, ..self.clone() }
    }

    /// Returns whether a document is not deleted.
    pub(super) fn is_alive(&self, document: DocId) -> bool {
        self.alive.as_deref().is_none_or(|alive| alive.has(document))
    }

    /// Returns the state of a document's item, if the document says something else.
    pub(super) fn outdated(&self, document: DocId) -> Option<State> {
        noted(&self.outdated, document)
    }

    /// Returns the state of a document's item.
    pub(super) fn state(&self, document: DocId) -> State {
        self.outdated(document).unwrap_or_else(|| self.columns.state(document))
    }
}

/// Returns those of the documents whose items have another rank, with that rank.
fn moved(outdated: &[(DocId, State)], columns: &Columns) -> Vec<(DocId, u64)> {
    let has_moved =
        |(document, state): &&(DocId, State)| columns.state(*document).standing() != state.standing();
    let moved = outdated.iter().filter(has_moved);
    moved
        .map(|(document, state)| (*document, state.standing().instead_of(columns.ranks.get_val(*document))))
        .collect()
}

fn noted(states: &[(DocId, State)], document: DocId) -> Option<State> {
    let place = states.binary_search_by_key(&document, |(document, _)| *document).ok()?;
    states.get(place).map(|(_, state)| *state)
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

//! What the documents of a commit say of their items.

use souk_domain::ItemId;
use tantivy::{DocId, DocSet as _, SegmentReader, TERMINATED, columnar::Column, schema::IndexRecordOption};

use super::{
    find::Reader,
    said::{Contents, Said},
    schema,
    states::State,
};

/// The documents of a commit.
pub(super) struct Committed {
    segments: Vec<(SegmentReader, Columns)>,
}

impl Committed {
    /// Opens the commit that searches see.
    pub(super) fn open(reader: &Reader) -> tantivy::Result<Self> {
        let searcher = reader.searcher();
        let segments = searcher.segment_readers().iter();
        let opened = segments.map(|segment| Ok((segment.clone(), Columns::open(segment)?)));
        Ok(Self { segments: opened.collect::<tantivy::Result<_>>()? })
    }

    /// Returns what the document of an item says; `None` if it has none.
    pub(super) fn says(&self, item: ItemId, fields: &schema::Fields) -> tantivy::Result<Option<Said>> {
        let term = fields.item_term(item.0);
        for (segment, columns) in &self.segments {
            let Some(mut found) =
                segment.inverted_index(term.field())?.read_postings(&term, IndexRecordOption::Basic)?
            else {
                continue;
            };
            while found.doc() != TERMINATED {
                if !segment.is_deleted(found.doc()) {
                    return Ok(Some(columns.said(found.doc())));
                }
                found.advance();
            }
        }
        Ok(None)
    }
}

/// The columns of a segment in which its documents say what items are like.
struct Columns {
    contents: Column<u64>,
    states: Column<u64>,
}

impl Columns {
    fn open(segment: &SegmentReader) -> tantivy::Result<Self> {
        let columns = segment.fast_fields();
        let column = |name| columns.u64(name);
        Ok(Self { contents: column(schema::CONTENTS)?, states: column(schema::STATE)? })
    }

    fn said(&self, document: DocId) -> Said {
        // Every document has both.
        let value = |column: &Column<u64>| column.first(document).unwrap_or_default();
        Said {
            contents: Contents::from_column(value(&self.contents)),
            state: State::from_column(value(&self.states)),
        }
    }
}

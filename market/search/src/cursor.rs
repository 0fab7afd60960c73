//! Sets of a segment's documents, and cursors that walk them in order.

use std::io;

use tantivy::{DocId, DocSet as _, TERMINATED, postings::SegmentPostings, schema::IndexRecordOption};

use super::{
    bits::Bits,
    effort::{Effort, Stop},
    segment::List,
};

/// The documents that have all terms of at least one way.
pub(super) enum Set<'a> {
    Ways(Vec<Way<'a>>),
    Bits { bits: Bits, count: u64 },
}

/// The posting lists that all hold a document; at least one.
pub(super) type Way<'a> = Vec<List<'a>>;

/// Sets of more ways than this become bits, because a cursor reads every way at each step.
const MAX_WAYS: usize = 8;

impl<'a> Set<'a> {
    /// Creates the set of documents that have all lists of a way. `documents` is the number of the segment's.
    pub(super) fn of(mut ways: Vec<Way<'a>>, documents: u32, effort: &mut Effort) -> Result<Self, Stop> {
        for way in &mut ways {
            // The rarest leads, and the others follow it.
            way.sort_by_key(|list| list.info.doc_freq);
        }
        let is_few = ways.len() <= MAX_WAYS;
        let set = Self::Ways(ways);
        if is_few { Ok(set) } else { Ok(Self::of_bits(set.bits(documents, effort)?)) }
    }

    /// Creates the set of the documents in a posting list, which is empty if there is no list.
    pub(super) fn of_list(list: Option<List<'a>>) -> Self {
        Self::Ways(list.map(|list| vec![list]).into_iter().collect())
    }

    pub(super) fn of_bits(bits: Bits) -> Self {
        let count = bits.count();
        Self::Bits { bits, count }
    }

    /// Returns about how many postings reading the set costs; 0 only if it is empty.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Ways(ways) => ways.iter().map(|way| size(way)).sum(),
            Self::Bits { count, .. } => *count,
        }
    }

    /// Opens a cursor at the first document.
    pub(super) fn cursor(&'a self) -> io::Result<Cursor<'a>> {
        match self {
            Self::Ways(ways) => union(ways.iter().map(|way| cursor_of(way)).collect::<io::Result<_>>()?),
            Self::Bits { bits, .. } => Ok(Cursor::Bits { bits, document: bits.next(0) }),
        }
    }

    /// Returns the set as bits.
    pub(super) fn bits(&self, documents: u32, effort: &mut Effort) -> Result<Bits, Stop> {
        match self {
            Self::Bits { bits, .. } => Ok(bits.clone()),
            Self::Ways(ways) => {
                let mut bits = Bits::none(documents);
                for way in ways {
                    effort.spend(size(way))?;
                    each(way, |document| bits.insert(document))?;
                }
                Ok(bits)
            }
        }
    }

    /// Returns those of the documents that are in the set.
    pub(super) fn narrow(&self, mut bits: Bits, documents: u32, effort: &mut Effort) -> Result<Bits, Stop> {
        match self {
            Self::Bits { bits: own, .. } => {
                bits.keep(own);
                Ok(bits)
            }
            Self::Ways(ways) => {
                let mut both = Bits::none(documents);
                for way in ways {
                    effort.spend(size(way))?;
                    each(way, |document| both.insert_if(document, &bits))?;
                }
                Ok(both)
            }
        }
    }
}

fn size(way: &[List<'_>]) -> u64 {
    way.first().map_or(0, |list| list.info.doc_freq.into())
}

/// Calls a function for each document of a way, block by block, which is faster than a cursor.
fn each(way: &[List<'_>], mut visit: impl FnMut(DocId)) -> io::Result<()> {
    if let [only] = way {
        let mut postings =
            only.index.read_block_postings_from_terminfo(&only.info, IndexRecordOption::Basic)?;
        while !postings.docs().is_empty() {
            postings.docs().iter().for_each(|document| visit(*document));
            postings.advance();
        }
        return Ok(());
    }
    let mut cursor = cursor_of(way)?;
    let mut document = cursor.document();
    while document != TERMINATED {
        visit(document);
        document = cursor.seek(document + 1);
    }
    Ok(())
}

fn cursor_of<'a>(way: &[List<'a>]) -> io::Result<Cursor<'a>> {
    let open = |list: &List<'a>| {
        let postings = list.index.read_postings_from_terminfo(&list.info, IndexRecordOption::Basic)?;
        Ok(Cursor::Postings(Box::new(postings)))
    };
    if let [only] = way {
        return open(only);
    }
    let mut cursor = Cursor::All(way.iter().map(open).collect::<io::Result<_>>()?);
    cursor.seek(0);
    Ok(cursor)
}

fn union(mut cursors: Vec<Cursor<'_>>) -> io::Result<Cursor<'_>> {
    Ok(match cursors.len() {
        1 => cursors.swap_remove(0),
        _ => Cursor::Any(cursors),
    })
}

/// A position in a set of documents, which only moves forward.
pub(super) enum Cursor<'a> {
    Postings(Box<SegmentPostings>),
    Bits {
        bits: &'a Bits,
        document: DocId,
    },
    /// The documents that all of these have. All are at the same one.
    All(Vec<Cursor<'a>>),
    /// The documents that any of these has.
    Any(Vec<Cursor<'a>>),
}

impl Cursor<'_> {
    /// Returns the document at which the cursor is; [`TERMINATED`] after the last.
    pub(super) fn document(&self) -> DocId {
        match self {
            Self::Postings(postings) => postings.doc(),
            Self::Bits { document, .. } => *document,
            Self::All(all) => all.first().map_or(TERMINATED, Self::document),
            Self::Any(any) => any.iter().map(Self::document).min().unwrap_or(TERMINATED),
        }
    }

    /// Moves to the first document from `target` on, unless the cursor is there or past it already.
    pub(super) fn seek(&mut self, target: DocId) -> DocId {
        match self {
            Self::Postings(postings) => {
                let at = postings.doc();
                if at >= target { at } else { postings.seek(target) }
            }
            Self::Bits { bits, document } => {
                if *document < target {
                    *document = bits.next(target);
                }
                *document
            }
            Self::All(all) => {
                let mut document = target;
                'again: while document != TERMINATED {
                    for cursor in all.iter_mut() {
                        let at = cursor.seek(document);
                        if at > document {
                            document = at;
                            continue 'again;
                        }
                    }
                    return document;
                }
                // `document` reads only the first, so that one must end as well.
                all.first_mut().map_or(TERMINATED, |first| first.seek(TERMINATED))
            }
            Self::Any(any) => any.iter_mut().map(|cursor| cursor.seek(target)).min().unwrap_or(TERMINATED),
        }
    }

    /// Returns whether the set has a document. Must be asked in order.
    pub(super) fn has(&mut self, document: DocId) -> bool {
        self.seek(document) == document
    }
}

/// Returns how many of the sets have a document.
pub(super) fn how_many_have(cursors: &mut [Cursor<'_>], document: DocId) -> usize {
    cursors.iter_mut().map(|cursor| usize::from(cursor.has(document))).sum()
}

/// Returns whether all sets have a document.
pub(super) fn all_have(cursors: &mut [Cursor<'_>], document: DocId) -> bool {
    cursors.iter_mut().all(|cursor| cursor.has(document))
}

//! The sets of a segment's documents that a query asks for.

use std::cell::OnceCell;

use tantivy::DocId;

use super::{
    ask::{Ask, Degree, Word},
    bits::Bits,
    cursor::{Cursor, Set, Way, all_have},
    effort::{Effort, Stop},
    schema::{self, MAX_START},
    segment::{Lists, Postings, Segment},
    states::{State, StateFilter},
    words,
};

/// Where an item has a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    Name,
    Anywhere,
}

/// Where the states of items come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatesFrom {
    /// From what is noted beside the index: they are as they are now.
    Notes,
    /// From the documents: they stay as they are while the segment exists, so that what is counted can be kept.
    Documents,
}

/// A query, and the segment in which it is executed.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) segment: &'a Segment,
    pub(super) ask: &'a Ask,
    /// The documents of sellers that are left out.
    pub(super) hidden: Option<&'a Bits>,
    /// Where the states of items come from.
    pub(super) states: StatesFrom,
}

/// A query on one segment. The sets are looked up when they are needed, and then kept.
pub(super) struct Resolved<'a> {
    pub(super) scope: Scope<'a>,
    /// By word, then place, then degree.
    words: Vec<[[OnceCell<Set<'a>>; Degree::COUNT]; 2]>,
    facts: OnceCell<Vec<Set<'a>>>,
    whole: OnceCell<Set<'a>>,
    side_by_side: OnceCell<Set<'a>>,
}

impl<'a> Resolved<'a> {
    pub(super) fn new(scope: Scope<'a>) -> Self {
        let words = scope.ask.words.iter().map(|_| Default::default()).collect();
        let (facts, whole, side_by_side) = Default::default();
        Self { scope, words, facts, whole, side_by_side }
    }

    /// Returns the documents that have a word at a degree.
    pub(super) fn word(
        &self,
        number: usize,
        place: Where,
        degree: Degree,
        effort: &mut Effort,
    ) -> Result<&Set<'a>, Stop> {
        let kept = &self.words[number][place as usize][usize::from(degree.0)];
        kept_or(kept, || self.find(&self.scope.ask.words[number], place, degree, effort))
    }

    /// Returns the documents that have each of the words at a degree, by word.
    pub(super) fn words(
        &self,
        place: Where,
        degree: Degree,
        effort: &mut Effort,
    ) -> Result<Vec<&Set<'a>>, Stop> {
        (0..self.words.len()).map(|number| self.word(number, place, degree, effort)).collect()
    }

    /// Returns the documents that have each of the facts.
    pub(super) fn facts(&self) -> Result<&[Set<'a>], Stop> {
        let facts = kept_or(&self.facts, || {
            let set = |fact: &String| Ok(Set::of_list(self.scope.segment.postings.facts.list(fact)?));
            self.scope.ask.facts.iter().map(set).collect()
        });
        facts.map(Vec::as_slice)
    }

    /// Returns the documents whose name or stock-keeping unit is the whole text.
    pub(super) fn whole(&self) -> Result<&Set<'a>, Stop> {
        kept_or(&self.whole, || {
            let list = self.scope.segment.postings.whole.list(self.scope.ask.whole)?;
            Ok(Set::of_list(list))
        })
    }

    /// Returns the documents whose names have the words side by side.
    pub(super) fn side_by_side(&self) -> Result<&Set<'a>, Stop> {
        kept_or(&self.side_by_side, || {
            let postings = &self.scope.segment.postings;
            let pairs = way(postings, &postings.name, &self.scope.ask.pairs)?;
            Ok(Set::Ways(pairs.into_iter().collect()))
        })
    }

    /// Returns what decides whether a document that has the words may be found.
    pub(super) fn filter(&self) -> Result<Filter<'_>, Stop> {
        let facts = self.facts()?.iter().map(Set::cursor).collect::<std::io::Result<_>>()?;
        Ok(Filter { scope: self.scope, facts })
    }

    fn find(&self, word: &Word, place: Where, degree: Degree, effort: &mut Effort) -> Result<Set<'a>, Stop> {
        let postings = &self.scope.segment.postings;
        let lists = match place {
            Where::Name => &postings.name,
            Where::Anywhere => &postings.words,
        };
        let mut ways: Vec<Way<'a>> = Vec::new();
        let takes_beginnings = word.may_be_unfinished && degree >= Degree::AS_TYPED;
        for (_, terms) in word.ways.iter().filter(|(of, _)| *of <= degree) {
            if let [term] = &terms[..]
                && let Some(beginning) = words::begins_with(term)
            {
                ways.extend(lists.lists_from(beginning)?.into_iter().map(|list| vec![list]));
                continue;
            }
            // The word itself is among those that begin with it.
            if !(takes_beginnings && terms.len() == 1 && terms[0] == word.typed) {
                ways.extend(way(postings, lists, terms)?);
            }
        }
        if takes_beginnings {
            let is_start = word.typed.chars().count() <= MAX_START;
            let beginnings = match place {
                Where::Name if is_start => postings.starts.list(&word.typed)?.into_iter().collect(),
                _ => lists.lists_from(&word.typed)?,
            };
            ways.extend(beginnings.into_iter().map(|list| vec![list]));
        }
        Set::of(ways, self.scope.segment.documents, effort)
    }
}

/// The posting lists of all these terms; `None` if one is missing, because then no document has them all.
fn way<'a>(postings: &'a Postings, lists: &'a Lists, terms: &[String]) -> std::io::Result<Option<Way<'a>>> {
    let mut way = Vec::with_capacity(terms.len());
    for term in terms {
        // Pairs are of words in names, and so are in the name as well as anywhere.
        let list = if words::is_pair(term) {
            postings.pairs.list(schema::pair_key(term))?
        } else {
            lists.list(term)?
        };
        let Some(list) = list else { return Ok(None) };
        way.push(list);
    }
    Ok(Some(way).filter(|way| !way.is_empty()))
}

fn kept_or<T>(kept: &OnceCell<T>, make: impl FnOnce() -> Result<T, Stop>) -> Result<&T, Stop> {
    match kept.get() {
        Some(kept) => Ok(kept),
        None => {
            let made = make()?;
            Ok(kept.get_or_init(|| made))
        }
    }
}

/// The conditions besides the words. Must be asked in order of the documents.
pub(super) struct Filter<'a> {
    scope: Scope<'a>,
    facts: Vec<Cursor<'a>>,
}

impl Filter<'_> {
    /// Returns whether a document may be found.
    pub(super) fn admits(&mut self, document: DocId) -> bool {
        self.scope.shows(document) && self.admits_shown(document)
    }

    /// Returns whether a document could be found if it were not deleted.
    pub(super) fn admits_deleted(&mut self, document: DocId) -> bool {
        !self.scope.hides(document) && self.admits_shown(document)
    }

    /// Returns whether a document could be found if its item were in another state.
    pub(super) fn admits_in_some_state(&mut self, document: DocId) -> bool {
        self.scope.shows(document)
            && self.scope.has_wanted_price(document)
            && all_have(&mut self.facts, document)
    }

    fn admits_shown(&mut self, document: DocId) -> bool {
        self.scope.is_in_range(document) && all_have(&mut self.facts, document)
    }
}

impl Scope<'_> {
    /// Returns whether a document is not deleted and its seller is not left out.
    pub(super) fn shows(&self, document: DocId) -> bool {
        self.segment.is_alive(document) && !self.hides(document)
    }

    fn hides(&self, document: DocId) -> bool {
        self.hidden.is_some_and(|hidden| hidden.has(document))
    }

    /// Returns whether the price and the state of a document's item are as wanted.
    pub(super) fn is_in_range(&self, document: DocId) -> bool {
        let StateFilter { in_stock, least_rating } = self.ask.state;
        self.has_wanted_price(document)
            && (!in_stock || self.in_stock().has(document))
            && (least_rating == 0 || self.state(document).rating() >= least_rating)
    }

    fn has_wanted_price(&self, document: DocId) -> bool {
        let price = || self.segment.columns.prices.get_val(document);
        self.ask.price.is_none_or(|(_, least, most)| (least..=most).contains(&price()))
    }

    /// Returns the documents whose items are in stock.
    pub(super) fn in_stock(&self) -> &Bits {
        match self.states {
            StatesFrom::Notes => &self.segment.in_stock,
            StatesFrom::Documents => &self.segment.columns.in_stock,
        }
    }

    /// Returns the documents that say something else of their items' states than counts, in order.
    pub(super) fn outdated(&self) -> &[(DocId, State)] {
        match self.states {
            StatesFrom::Notes => &self.segment.outdated,
            StatesFrom::Documents => &[],
        }
    }

    fn state(&self, document: DocId) -> State {
        match self.states {
            StatesFrom::Notes => self.segment.state(document),
            StatesFrom::Documents => self.segment.columns.state(document),
        }
    }
}

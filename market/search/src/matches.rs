//! All matches of a query in a segment, and walking through them.

use tantivy::{DocId, TERMINATED};

use super::{
    ask::Degree,
    bits::Bits,
    columns::partition,
    cursor::{Cursor, Set, how_many_have},
    effort::{Effort, Stop},
    resolve::{Filter, Resolved, Scope, Where},
    segment::Segment,
};

/// The documents of a segment that match a query.
pub(super) enum Matches {
    /// All that are [shown](Scope::shows).
    Everything,
    List(Vec<DocId>),
    Bits(Bits),
}

/// Matches are listed one by one if at most one of this many documents can match. Otherwise a bit for each takes less.
const LIST_SHARE: u64 = 32;

/// Returns the documents that match a query at a degree.
pub(super) fn matches(of: &Resolved<'_>, degree: Degree, effort: &mut Effort) -> Result<Matches, Stop> {
    if of.scope.ask.is_everything() {
        return Ok(Matches::Everything);
    }
    let words = of.words(Where::Anywhere, degree.of_words(), effort)?;
    if degree == Degree::ALL_BUT_ONE {
        return listed(Walk::all_but_one(of, words)?, effort);
    }
    let mut sets: Vec<&Set<'_>> = words.iter().copied().chain(of.facts()?).collect();
    sets.sort_by_key(|set| set.size());
    let documents = of.scope.segment.documents;
    let range = in_range(&of.scope, sets.first().map_or(u64::MAX, |set| set.size())).map(Set::of_bits);
    sets.splice(0..0, &range);
    let Some((rarest, others)) = sets.split_first() else {
        // Being in stock is all that is asked for.
        effort.spend(of.scope.in_stock().count())?;
        return Ok(Matches::Bits(admitted(&of.scope, of.scope.in_stock().clone())));
    };
    if rarest.size() * LIST_SHARE <= documents.into() {
        let walk =
            Walk { driver: rarest.cursor()?, others: cursors(&words)?, misses: 0, filter: of.filter()? };
        return listed(Some(walk), effort);
    }
    let mut bits = rarest.bits(documents, effort)?;
    for set in others {
        bits = set.narrow(bits, documents, effort)?;
    }
    Ok(Matches::Bits(admitted(&of.scope, bits)))
}

/// Keeps those documents that are found by everything but words and facts.
fn admitted(of: &Scope<'_>, mut bits: Bits) -> Bits {
    if let Some(alive) = &of.segment.alive {
        bits.keep(alive);
    }
    if let Some(hidden) = of.hidden {
        bits.remove(hidden);
    }
    if of.ask.state.in_stock {
        bits.keep(of.in_stock());
    }
    if of.ask.price.is_none() && of.ask.state.least_rating == 0 {
        return bits;
    }
    Bits::of(of.segment.documents, bits.iter().filter(|document| of.is_in_range(*document)))
}

/// Returns the documents whose price or rating is as wanted, if either matters and they are fewer than `most`.
fn in_range(of: &Scope<'_>, most: u64) -> Option<Bits> {
    let Segment { columns, documents, .. } = of.segment;
    let prices = of.ask.price.map(|(currency, least, most)| {
        let key = |place: u32| {
            let document = columns.by_price[place as usize];
            (columns.currencies.get_val(document), columns.prices.get_val(document))
        };
        let start = partition(0..*documents, |place| key(place) < (currency, least));
        let end = partition(start..of.segment.documents, |place| key(place) <= (currency, most));
        &columns.by_price[start as usize..end as usize]
    });
    let least = of.ask.state.least_rating;
    let rated = (least > 0).then(|| {
        let rating = |place: u32| columns.state(columns.by_rating[place as usize]).rating();
        &columns.by_rating[..partition(0..*documents, |place| rating(place) >= least) as usize]
    });
    let is_few = |range: &&[DocId]| (range.len() as u64) < most;
    let range = prices.into_iter().chain(rated).min_by_key(|range| range.len()).filter(is_few)?;
    let mut bits = Bits::of(*documents, range.iter().copied());
    if prices.is_none_or(|prices| !std::ptr::eq(prices, range)) {
        for (document, state) in of.outdated() {
            bits.set(*document, state.rating() >= least);
        }
    }
    Some(bits)
}

fn listed(walk: Option<Walk<'_>>, effort: &mut Effort) -> Result<Matches, Stop> {
    let mut list = Vec::new();
    if let Some(mut walk) = walk {
        let mut document = walk.next(0, effort)?;
        while document != TERMINATED {
            list.push(document);
            document = walk.next(document + 1, effort)?;
        }
    }
    Ok(Matches::List(list))
}

/// A walk through the documents that are in several sets and that a filter admits.
pub(super) struct Walk<'a> {
    driver: Cursor<'a>,
    others: Vec<Cursor<'a>>,
    /// How many of the others may lack a document.
    misses: usize,
    filter: Filter<'a>,
}

impl<'a> Walk<'a> {
    /// Walks through the documents that are in all of the sets; `None` if there is none.
    pub(super) fn all(of: &'a Resolved<'_>, mut sets: Vec<&'a Set<'_>>) -> Result<Option<Self>, Stop> {
        sets.sort_by_key(|set| set.size());
        let facts = of.facts()?;
        let Some(rarest) = sets.iter().copied().chain(facts).min_by_key(|set| set.size()) else {
            return Ok(None);
        };
        if rarest.size() == 0 {
            return Ok(None);
        }
        // The rarest is either the first of the sets, or a fact, which the filter looks at again.
        let first = usize::from(sets.first().is_some_and(|set| std::ptr::eq(*set, rarest)));
        let others = cursors(&sets[first..])?;
        Ok(Some(Self { driver: rarest.cursor()?, others, misses: 0, filter: of.filter()? }))
    }

    /// Walks through the documents that are in all of the sets but at most one; `None` if there is none.
    pub(super) fn all_but_one(
        of: &'a Resolved<'_>,
        mut sets: Vec<&'a Set<'_>>,
    ) -> Result<Option<Self>, Stop> {
        sets.sort_by_key(|set| set.size());
        // A document that lacks one set at most is in at least one of any two.
        let [rarest, second, ..] = &sets[..] else { return Ok(None) };
        if second.size() == 0 {
            return Ok(None);
        }
        let driver = Cursor::Any(vec![rarest.cursor()?, second.cursor()?]);
        Ok(Some(Self { driver, others: cursors(&sets)?, misses: 1, filter: of.filter()? }))
    }

    /// Returns the first document from this one on; [`TERMINATED`] if there is none. Must be asked in order.
    pub(super) fn next(&mut self, from: DocId, effort: &mut Effort) -> Result<DocId, Stop> {
        let mut document = self.driver.seek(from);
        while document != TERMINATED {
            effort.spend(1 + self.others.len() as u64)?;
            document = match self.look(document) {
                Ok(()) if self.filter.admits(document) => return Ok(document),
                Ok(()) => self.driver.seek(document + 1),
                Err(next) => self.driver.seek(next),
            };
        }
        Ok(document)
    }

    /// Checks whether the other sets have a document. If not, returns the first document at which they might.
    fn look(&mut self, document: DocId) -> Result<(), DocId> {
        let mut misses = self.misses;
        for other in &mut self.others {
            let at = other.seek(document);
            if at != document {
                if misses == 0 {
                    return Err(if self.misses == 0 { at } else { document + 1 });
                }
                misses -= 1;
            }
        }
        Ok(())
    }
}

/// Tests single documents.
pub(super) struct Test<'a> {
    words: Vec<Cursor<'a>>,
    misses: usize,
    filter: Filter<'a>,
}

impl<'a> Test<'a> {
    pub(super) fn of(of: &'a Resolved<'_>, degree: Degree, effort: &mut Effort) -> Result<Self, Stop> {
        let words = cursors(&of.words(Where::Anywhere, degree.of_words(), effort)?)?;
        Ok(Self { words, misses: usize::from(degree == Degree::ALL_BUT_ONE), filter: of.filter()? })
    }

    /// Returns whether a document would match if it were not deleted. Must be asked in order.
    pub(super) fn holds(&mut self, document: DocId) -> bool {
        self.has_words(document) && self.filter.admits_deleted(document)
    }

    /// Returns whether a document matches, or would if its item were in another state. Must be asked in order.
    pub(super) fn holds_in_some_state(&mut self, document: DocId) -> bool {
        self.has_words(document) && self.filter.admits_in_some_state(document)
    }

    fn has_words(&mut self, document: DocId) -> bool {
        self.words.len() - how_many_have(&mut self.words, document) <= self.misses
    }
}

/// Opens a cursor for each of the sets.
pub(super) fn cursors<'a>(sets: &[&'a Set<'_>]) -> std::io::Result<Vec<Cursor<'a>>> {
    sets.iter().map(|set| set.cursor()).collect()
}

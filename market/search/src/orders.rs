//! Orders other than by relevance: the matches of a query by price, rating or age.

use std::ops::Range;

use tantivy::DocId;

use super::{
    SearchOrder,
    ask::Degree,
    bits::Bits,
    columns::{Columns, partition},
    effort::{Effort, Stop},
    matches::{Matches, matches},
    place::{Place, first},
    resolve::Resolved,
    segment::Segment,
};

/// How much more it costs to compare a match with others than to step over a document.
const COMPARING_COST: u64 = 6;

/// Finds the first matches of a query after a place, up to a number.
pub(super) fn page(
    of: &Resolved<'_>,
    (order, degree): (SearchOrder, Degree),
    after: Option<Place>,
    most: usize,
    effort: &mut Effort,
) -> Result<Vec<Place>, Stop> {
    let Segment { columns, documents, outdated, .. } = of.scope.segment;
    // The only order by something that can change without the item being indexed again.
    let outdated = if order == SearchOrder::Rating { &outdated[..] } else { &[] };
    let place = |document: DocId| match outdated.binary_search_by_key(&document, |(document, _)| *document) {
        Ok(at) => Place::of_state(outdated[at].1, columns.items.get_val(document)),
        Err(_) => Place::of(columns, order, document),
    };
    let is_later = |place: &Place| after.is_none_or(|after| *place > after);
    // Of `documents`, one in `documents / count` matches.
    let steps = most as u64 * u64::from(*documents);
    let are_few = |count: u64| steps > count * count * COMPARING_COST;
    let bits = match matches(of, degree, effort)? {
        Matches::Everything => None,
        Matches::List(list) if are_few(list.len() as u64) => {
            return Ok(first(list.into_iter().map(place).filter(is_later).collect(), most));
        }
        Matches::List(list) => {
            effort.spend(list.len() as u64)?;
            Some(Bits::of(*documents, list.into_iter()))
        }
        Matches::Bits(bits) => Some(bits),
    };
    let count = bits.as_ref().map_or_else(|| (*documents).into(), Bits::count);
    if are_few(count)
        && let Some(bits) = &bits
    {
        effort.spend(count)?;
        return Ok(first(bits.iter().map(place).filter(is_later).collect(), most));
    }
    let is_match =
        |document| bits.as_ref().map_or_else(|| of.scope.shows(document), |bits| bits.has(document));
    let is_outdated = |document| outdated.binary_search_by_key(&document, |(document, _)| *document).is_ok();
    effort.spend(outdated.len() as u64)?;
    let moved = outdated.iter().map(|(document, _)| *document).filter(|document| is_match(*document));
    let mut places: Vec<Place> = first(moved.map(place).filter(is_later).collect(), most);
    // As many as are asked for, besides those that are elsewhere in the order of the documents.
    let enough = places.len() + most;
    let mut walk = in_order(columns, order, after);
    while places.len() < enough {
        let Some(document) = walk.next() else { break };
        effort.spend(1)?;
        if is_match(document) && !is_outdated(document) {
            places.push(place(document));
        }
    }
    Ok(if outdated.is_empty() { places } else { first(places, most) })
}

/// Walks through all documents of a segment after a place.
fn in_order<'a>(
    columns: &'a Columns,
    order: SearchOrder,
    after: Option<Place>,
) -> Box<dyn Iterator<Item = DocId> + 'a> {
    let documents = match order {
        SearchOrder::PriceDescending => return Box::new(Descending::after(columns, after)),
        SearchOrder::PriceAscending => &columns.by_price,
        SearchOrder::Rating => &columns.by_rating,
        SearchOrder::Relevance | SearchOrder::Newest => &columns.by_age,
    };
    let start = after.map_or(0, |after| {
        documents.partition_point(|document| Place::of(columns, order, *document) <= after)
    });
    Box::new(documents[start..].iter().copied())
}

/// Walks through all documents by falling price, those of each currency apart. Documents of one price are in order of
/// their item numbers, so this does not simply walk backwards.
struct Descending<'a> {
    columns: &'a Columns,
    /// What is left of the documents of one price.
    run: Range<u32>,
    /// Those of the same currency that are cheaper.
    cheaper: Range<u32>,
    next_currency: u32,
}

impl<'a> Descending<'a> {
    fn after(columns: &'a Columns, after: Option<Place>) -> Self {
        let mut all = Self { columns, run: 0..0, cheaper: 0..0, next_currency: 0 };
        let Some(after) = after else { return all };
        let place = |at: u32| Place::of(columns, SearchOrder::PriceDescending, columns.by_price[at as usize]);
        let count = all.documents();
        let start = partition(0..count, |at| place(at).group < after.group);
        all.next_currency = partition(start..count, |at| place(at).group <= after.group);
        let same_currency = start..all.next_currency;
        // By rising price here, so that the cheaper ones are those with the later places.
        let run = partition(same_currency.clone(), |at| place(at).is_cheaper_than(after));
        let end = partition(run..same_currency.end, |at| !after.is_cheaper_than(place(at)));
        all.run = partition(run..end, |at| place(at) <= after)..end;
        all.cheaper = start..run;
        all
    }

    fn documents(&self) -> u32 {
        // A segment has fewer documents than a document number can have values.
        self.columns.by_price.len() as u32
    }

    fn price(&self, at: u32) -> i64 {
        self.columns.prices.get_val(self.columns.by_price[at as usize])
    }

    fn currency(&self, at: u32) -> u64 {
        self.columns.currencies.get_val(self.columns.by_price[at as usize])
    }

    fn next_run(&mut self) -> Option<()> {
        if self.cheaper.is_empty() {
            let (start, count) = (self.next_currency, self.documents());
            if start == count {
                return None;
            }
            let currency = self.currency(start);
            self.next_currency = partition(start..count, |at| self.currency(at) <= currency);
            self.cheaper = start..self.next_currency;
        }
        let end = self.cheaper.end;
        let price = self.price(end - 1);
        // Most prices are those of few items.
        let is_alone = end - self.cheaper.start < 2 || self.price(end - 2) < price;
        let start =
            if is_alone { end - 1 } else { partition(self.cheaper.clone(), |at| self.price(at) < price) };
        self.run = start..end;
        self.cheaper.end = start;
        Some(())
    }
}

impl Iterator for Descending<'_> {
    type Item = DocId;

    fn next(&mut self) -> Option<DocId> {
        if self.run.is_empty() {
            self.next_run()?;
        }
        let at = self.run.next()?;
        Some(self.columns.by_price[at as usize])
    }
}

//! Relevance: the matches of a query by tiers, best first, and by rank within each.
//!
//! Documents are sorted by rank. So each tier is an intersection of posting lists in their order, which ends once a page
//! is full. Items whose stock or class has changed since they were indexed have another rank now: these are
//! left out at first, and then put where they belong.

use tantivy::{DocId, TERMINATED};

use super::{
    Leniency,
    ask::{Ask, Degree},
    cursor::{Cursor, all_have, how_many_have},
    effort::{Effort, Stop},
    matches::{Walk, cursors},
    place::{Place, first},
    resolve::{Resolved, Where},
    segment::Segment,
};

/// A class of matches that are equally good, apart from their rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tier {
    pub(super) degree: Degree,
    pub(super) form: Form,
}

/// Where an item has the words of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// They are its whole name or stock-keeping unit.
    Whole,
    /// The name has them side by side.
    SideBySide,
    /// The name has them all.
    InName,
    /// The name has some of them.
    PartlyInName,
    Elsewhere,
}

impl Form {
    const ALL: [Self; 5] = [Self::Whole, Self::SideBySide, Self::InName, Self::PartlyInName, Self::Elsewhere];
}

impl Tier {
    /// Returns the tiers in which a query can match, best first.
    pub(super) fn of(ask: &Ask, leniency: Leniency) -> impl Iterator<Item = Self> {
        let degrees = (0..=leniency.degree().0).map(Degree);
        let tiers = degrees.flat_map(|degree| Form::ALL.map(|form| Self { degree, form }));
        tiers.filter(move |tier| tier.is_possible(ask))
    }

    /// Returns the number by which tiers are ordered.
    pub(super) fn number(self) -> u32 {
        u32::from(self.degree.0) * Form::ALL.len() as u32 + self.form as u32
    }

    fn is_possible(self, ask: &Ask) -> bool {
        let is_exact = self.degree == Degree::EXACT;
        let form = match self.form {
            Form::Whole => is_exact,
            Form::SideBySide => is_exact && ask.words.len() > 1,
            Form::InName => self.degree != Degree::ALL_BUT_ONE,
            Form::PartlyInName => ask.words.len() > 1,
            Form::Elsewhere => true,
        };
        form && ask.has_ways(self.degree)
    }
}

/// Finds the first matches of a tier after a place, up to a number.
pub(super) fn page(
    of: &Resolved<'_>,
    tier: Tier,
    after: Option<Place>,
    most: usize,
    effort: &mut Effort,
) -> Result<Vec<Place>, Stop> {
    let Segment { columns, moved, .. } = of.scope.segment;
    let place = |rank, document| Place::of_rank(tier.number(), rank, columns.items.get_val(document));
    let is_moved = |document: DocId| moved.binary_search_by_key(&document, |(moved, _)| *moved).is_ok();
    let mut places = Vec::new();
    let Some(mut matches) = TierWalk::open(of, tier, effort)? else { return Ok(places) };
    let mut document = after.map_or(0, |after| columns.after_rank(after.rank()));
    while places.len() < most {
        document = matches.next(document, effort)?;
        if document == TERMINATED {
            break;
        }
        if !is_moved(document) {
            places.push(place(columns.ranks.get_val(document), document));
        }
        document += 1;
    }
    // Only those of the others matter that would be on the page.
    let last = places.last().filter(|_| places.len() == most).map_or(0, |last| last.rank());
    let is_on_page = |rank| rank > last && after.is_none_or(|after| rank < after.rank());
    let mut moved = moved.iter().filter(|(_, rank)| is_on_page(*rank)).peekable();
    if moved.peek().is_none() {
        return Ok(places);
    }
    let Some(mut matches) = TierWalk::open(of, tier, effort)? else { return Ok(places) };
    for (document, rank) in moved {
        if matches.next(*document, effort)? == *document {
            places.push(place(*rank, *document));
        }
    }
    Ok(first(places, most))
}

/// A walk through the documents of a tier.
struct TierWalk<'a> {
    walk: Walk<'a>,
    others: Others<'a>,
}

impl<'a> TierWalk<'a> {
    /// Begins a walk; `None` if there are no such documents.
    fn open(of: &'a Resolved<'_>, tier: Tier, effort: &mut Effort) -> Result<Option<Self>, Stop> {
        let Tier { degree, form } = tier;
        let place =
            if matches!(form, Form::SideBySide | Form::InName) { Where::Name } else { Where::Anywhere };
        let mut sets = of.words(place, degree.of_words(), effort)?;
        match form {
            Form::Whole => sets.push(of.whole()?),
            Form::SideBySide => sets.push(of.side_by_side()?),
            _ => {}
        }
        let walk =
            if degree == Degree::ALL_BUT_ONE { Walk::all_but_one(of, sets)? } else { Walk::all(of, sets)? };
        let Some(walk) = walk else { return Ok(None) };
        Ok(Some(Self { walk, others: Others::open(of, tier, effort)? }))
    }

    /// Returns the first document from this one on; [`TERMINATED`] if there is none. Must be asked in order.
    fn next(&mut self, from: DocId, effort: &mut Effort) -> Result<DocId, Stop> {
        let mut document = self.walk.next(from, effort)?;
        while document != TERMINATED && self.others.have(document) {
            document = self.walk.next(document + 1, effort)?;
        }
        Ok(document)
    }
}
/// The documents that have the words as a tier requires, and are in another tier.
struct Others<'a> {
    /// Those of the tiers before.
    earlier: Vec<Cursor<'a>>,
    /// The words at the degree before. Documents that have them all are in a tier before.
    closer: Option<Vec<Cursor<'a>>>,
    /// The words in the name.
    in_name: Option<Vec<Cursor<'a>>>,
    form: Form,
}

impl<'a> Others<'a> {
    fn open(of: &'a Resolved<'_>, Tier { degree, form }: Tier, effort: &mut Effort) -> Result<Self, Stop> {
        let is_exact = degree == Degree::EXACT;
        let mut earlier = Vec::new();
        if is_exact && form > Form::Whole {
            earlier.push(of.whole()?.cursor()?);
        }
        if is_exact && form == Form::InName && of.scope.ask.words.len() > 1 {
            earlier.push(of.side_by_side()?.cursor()?);
        }
        let closer = match degree.closer() {
            Some(closer) => Some(cursors(&of.words(Where::Anywhere, closer, effort)?)?),
            None => None,
        };
        let in_name = match form {
            Form::PartlyInName | Form::Elsewhere => {
                Some(cursors(&of.words(Where::Name, degree.of_words(), effort)?)?)
            }
            _ => None,
        };
        Ok(Self { earlier, closer, in_name, form })
    }

    fn have(&mut self, document: DocId) -> bool {
        if self.earlier.iter_mut().any(|earlier| earlier.has(document))
            || self.closer.as_mut().is_some_and(|words| all_have(words, document))
        {
            return true;
        }
        let Some(words) = &mut self.in_name else { return false };
        let named = how_many_have(words, document);
        if self.form == Form::Elsewhere { named > 0 } else { named == 0 || named == words.len() }
    }
}

//! Executes a query on all segments.

use std::sync::Arc;

use super::{
    Leniency, SearchOrder, SearchQuery,
    ask::Ask,
    counts::{Counts, Sum, sum},
    effort::{Effort, Stop},
    hidden::Hidden,
    orders,
    place::{Place, first},
    resolve::{Resolved, Scope, StatesFrom},
    schema::Fields,
    segment::{Segment, Snapshot},
    spelling::{NearWords, forgive},
    tiers::{self, Tier},
};

/// A search by relevance that finds fewer than this goes beyond the words as typed.
const ENOUGH: u64 = 10;
/// In other orders, looser matches would not come last, so they are left out if anything matches as typed.
const ENOUGH_IN_OTHER_ORDERS: u64 = 1;

/// A query on one state of the index.
pub(super) struct Execution<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) fields: &'a Fields,
    pub(super) counts: &'a Counts,
    pub(super) near: &'a NearWords,
    pub(super) hidden: &'a Hidden,
    pub(super) ask: Ask,
}

/// How far a search went, and how much it found.
pub(super) struct Found {
    pub(super) leniency: Leniency,
    /// The number of matches as typed.
    pub(super) as_typed: u64,
    pub(super) all: Arc<Sum>,
}

impl Execution<'_> {
    /// Goes beyond the words as typed, step by step, until enough is found.
    pub(super) fn as_far_as_needed(
        &mut self,
        query: &SearchQuery,
        effort: &mut Effort,
    ) -> Result<Found, Stop> {
        let all = self.count(Leniency::AsTyped, effort)?;
        let mut found = Found { leniency: Leniency::AsTyped, as_typed: all.total, all };
        let is_relevance = query.order == SearchOrder::Relevance;
        let enough = if is_relevance { ENOUGH } else { ENOUGH_IN_OTHER_ORDERS };
        if query.is_exact || self.ask.words.is_empty() {
            return Ok(found);
        }
        for leniency in Leniency::FURTHER {
            if found.all.total >= enough {
                break;
            }
            self.forgive(leniency, effort)?;
            if self.ask.has_ways(leniency.degree()) {
                let all = self.count(leniency, effort)?;
                if all.total > found.all.total {
                    found = Found { leniency, all, ..found };
                }
            }
        }
        Ok(found)
    }

    /// Goes as far as the search for an earlier page has gone.
    pub(super) fn up_to(&mut self, leniency: Leniency, effort: &mut Effort) -> Result<Found, Stop> {
        let as_typed = self.count(Leniency::AsTyped, effort)?;
        for step in Leniency::FURTHER.into_iter().filter(|step| *step <= leniency) {
            self.forgive(step, effort)?;
        }
        let all =
            if leniency > Leniency::AsTyped { self.count(leniency, effort)? } else { Arc::clone(&as_typed) };
        Ok(Found { leniency, as_typed: as_typed.total, all })
    }

    /// Counts the matches.
    pub(super) fn count(&self, leniency: Leniency, effort: &mut Effort) -> Result<Arc<Sum>, Stop> {
        let degree = leniency.degree();
        let key = self.ask.key(degree, self.hidden.number);
        if let Some(known) = self.counts.known(key, self.snapshot.number) {
            return Ok(known);
        }
        let mut counts = Vec::with_capacity(self.snapshot.segments.len());
        for segment in &self.snapshot.segments {
            let of = self.resolved(segment, StatesFrom::Documents);
            let count = self.counts.count(&of, (key, degree), effort)?;
            counts.push((segment, count.by_present_states(&of, degree, effort)?));
        }
        let sum = Arc::new(sum(counts.into_iter()));
        self.counts.keep(key, self.snapshot.number, Arc::clone(&sum));
        Ok(sum)
    }

    /// Finds the places of the first matches after one, up to a number.
    pub(super) fn places(
        &self,
        (order, leniency): (SearchOrder, Leniency),
        after: Option<Place>,
        most: usize,
        effort: &mut Effort,
    ) -> Result<Vec<Place>, Stop> {
        let segments = self.snapshot.segments.iter();
        let resolved: Vec<_> = segments.map(|segment| self.resolved(segment, StatesFrom::Notes)).collect();
        let mut places = Vec::new();
        if order != SearchOrder::Relevance || self.ask.words.is_empty() {
            for of in &resolved {
                places.extend(orders::page(of, (order, leniency.degree()), after, most, effort)?);
            }
            return Ok(first(places, most));
        }
        for tier in Tier::of(&self.ask, leniency) {
            let number = tier.number();
            if places.len() == most {
                break;
            }
            if after.is_some_and(|after| after.group > number) {
                continue;
            }
            let after = after.filter(|after| after.group == number);
            let mut of_tier = Vec::new();
            for of in &resolved {
                of_tier.extend(tiers::page(of, tier, after, most - places.len(), effort)?);
            }
            places.extend(first(of_tier, most - places.len()));
        }
        Ok(places)
    }

    fn forgive(&mut self, leniency: Leniency, effort: &mut Effort) -> Result<(), Stop> {
        forgive(&mut self.ask, leniency, self.near, (self.snapshot, self.fields), effort)
    }

    fn resolved<'s>(&'s self, segment: &'s Segment, states: StatesFrom) -> Resolved<'s> {
        Resolved::new(Scope { segment, ask: &self.ask, hidden: self.hidden.documents(segment), states })
    }
}

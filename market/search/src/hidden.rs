//! The documents of sellers that are left out, because they are suspended.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use souk_domain::PartyId;
use tantivy::index::SegmentId;

use super::{
    bits::Bits,
    cursor::Set,
    effort::{Effort, Stop},
    schema::seller_fact,
    segment::{Segment, Snapshot},
};

/// The sellers that the latest search left out, with their documents. They rarely change, so they are looked up once.
#[derive(Default)]
pub(super) struct HiddenSellers {
    latest: Mutex<Arc<Hidden>>,
    numbers: AtomicU64,
}

/// The documents of some sellers.
#[derive(Default)]
pub(super) struct Hidden {
    sellers: Arc<HashSet<PartyId>>,
    /// Differs for every set of sellers.
    pub(super) number: u64,
    by_segment: HashMap<SegmentId, Option<Arc<Bits>>>,
}

impl HiddenSellers {
    /// Returns the documents of some sellers.
    pub(super) fn of(
        &self,
        sellers: &Arc<HashSet<PartyId>>,
        snapshot: &Snapshot,
    ) -> Result<Arc<Hidden>, Stop> {
        let known = Arc::clone(&self.latest.lock().unwrap_or_else(PoisonError::into_inner));
        let is_same = Arc::ptr_eq(&known.sellers, sellers) || known.sellers == *sellers;
        let is_known = |segment: &Segment| known.by_segment.contains_key(&segment.id);
        if is_same && (sellers.is_empty() || snapshot.segments.iter().all(is_known)) {
            return Ok(known);
        }
        let number = if is_same { known.number } else { 1 + self.numbers.fetch_add(1, Ordering::Relaxed) };
        let of_segment = |segment: &Segment| {
            let kept = known.by_segment.get(&segment.id).filter(|_| is_same);
            let bits = match kept {
                Some(kept) => kept.clone(),
                None => of_sellers(segment, sellers)?.map(Arc::new),
            };
            Ok((segment.id, bits))
        };
        let by_segment = snapshot.segments.iter().map(of_segment).collect::<Result<_, Stop>>()?;
        let hidden = Arc::new(Hidden { sellers: Arc::clone(sellers), number, by_segment });
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&hidden);
        Ok(hidden)
    }
}

impl Hidden {
    /// Returns those documents of a segment; `None` if there is none.
    pub(super) fn documents(&self, segment: &Segment) -> Option<&Bits> {
        self.by_segment.get(&segment.id)?.as_deref()
    }
}

fn of_sellers(segment: &Segment, sellers: &HashSet<PartyId>) -> Result<Option<Bits>, Stop> {
    let mut ways = Vec::new();
    for seller in sellers {
        ways.extend(segment.postings.facts.list(seller_fact(*seller))?.map(|list| vec![list]));
    }
    if ways.is_empty() {
        return Ok(None);
    }
    // Not part of a search's effort, because it is done once for all searches.
    Ok(Some(Set::Ways(ways).bits(segment.documents, &mut Effort::up_to(u64::MAX))?))
}

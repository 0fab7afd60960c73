//! The effort of a search: what it has read, and when it stops.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tantivy::TantivyError;

/// The number of postings after which a search checks again whether its caller still waits.
const LOOK_EVERY: u64 = 65_536;

/// Why a search stopped without a result.
#[derive(Debug)]
pub(super) enum Stop {
    /// It costs more than it may.
    TooExpensive,
    /// Nobody waits for it any more.
    GivenUp,
    /// The index can't be read.
    Index(TantivyError),
}

impl From<TantivyError> for Stop {
    fn from(error: TantivyError) -> Self {
        Self::Index(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Index(error.into())
    }
}

/// The patience of a caller. It ends when the caller stops waiting, and then the search gives up.
#[derive(Default)]
pub(super) struct Patience(Arc<AtomicBool>);

impl Patience {
    /// Allows any number of postings, as long as the caller waits.
    pub(super) fn effort(&self) -> Effort {
        let given_up = Some(Arc::clone(&self.0));
        Effort { limit: u64::MAX, spent: 0, look_at: LOOK_EVERY, given_up }
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a search may spend and has spent, in postings read.
pub(super) struct Effort {
    limit: u64,
    spent: u64,
    look_at: u64,
    given_up: Option<Arc<AtomicBool>>,
}

impl Effort {
    /// Allows this many postings.
    pub(super) fn up_to(limit: u64) -> Self {
        Self { limit, spent: 0, look_at: u64::MAX, given_up: None }
    }

    /// Spends some postings, before they are read.
    #[inline]
    pub(super) fn spend(&mut self, postings: u64) -> Result<(), Stop> {
        self.spent += postings;
        if self.spent > self.limit {
            return Err(Stop::TooExpensive);
        }
        if self.spent >= self.look_at { self.look() } else { Ok(()) }
    }

    /// Returns what was spent.
    pub(super) fn spent(&self) -> u64 {
        self.spent
    }

    #[cold]
    fn look(&mut self) -> Result<(), Stop> {
        self.look_at = self.spent + LOOK_EVERY;
        let is_given_up = self.given_up.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed));
        if is_given_up { Err(Stop::GivenUp) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_stops_at_its_limit_or_once_it_is_given_up() {
        let mut cheap = Effort::up_to(10);
        assert!(cheap.spend(10).is_ok() && matches!(cheap.spend(1), Err(Stop::TooExpensive)));
        let patience = Patience::default();
        let mut expensive = patience.effort();
        assert!(expensive.spend(10 * LOOK_EVERY).is_ok());
        drop(patience);
        let more = (0..=LOOK_EVERY).find(|_| expensive.spend(1).is_err());
        assert_eq!(more, Some(LOOK_EVERY - 1), "it looks again after that many");
        assert_eq!(expensive.spent(), 11 * LOOK_EVERY);
    }
}

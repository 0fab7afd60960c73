//! Counts of what is open at the moment, such as the streams of a kind.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A number of open things. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<AtomicUsize>);

/// One of the things counted. It counts until it is dropped.
#[derive(Debug)]
pub struct Tallied(Tally);

impl Tally {
    /// Counts one more.
    #[must_use]
    pub fn enter(&self) -> Tallied {
        self.0.fetch_add(1, Ordering::Relaxed);
        Tallied(self.clone())
    }

    /// Returns the number.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Tallied {
    fn drop(&mut self) {
        let Self(Tally(count)) = self;
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_counts_no_more() {
        let tally = Tally::default();
        let (one, other) = (tally.enter(), tally.clone().enter());
        assert_eq!(tally.count(), 2);
        drop(one);
        assert_eq!(tally.count(), 1);
        drop(other);
        assert_eq!(tally.count(), 0);
    }
}

//! A bounded number of places, such as for the calls of a party.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The places that are taken.
#[derive(Debug, Default)]
pub(super) struct Places(AtomicUsize);

impl Places {
    /// Takes a place unless `most` are taken.
    pub(super) fn take(&self, most: usize) -> bool {
        // Relaxed: the number guards nothing but itself.
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < most).then_some(taken + 1))
            .is_ok()
    }

    /// Gives back a place that was taken.
    pub(super) fn give_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns how many are taken.
    pub(super) fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_are_ever_taken() {
        let places = Places::default();
        let taken: usize = std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..100).filter(|_| places.take(150)).count())).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!((taken, places.taken()), (150, 150));
        places.give_back();
        assert!(places.take(150) && !places.take(150));
    }
}

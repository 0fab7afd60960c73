//! Who waits for a place, and whose turn is next.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
};

/// How many connections wait, in all and of each source that has any.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) total: usize,
    by_length: BTreeSet<(usize, IpAddr)>,
}

impl Waiting {
    /// Notes that the queue of a source had this length, and has another now.
    pub(super) fn changed(&mut self, source: IpAddr, before: usize, after: usize) {
        self.by_length.remove(&(before, source));
        if after > 0 {
            self.by_length.insert((after, source));
        }
        self.total = self.total + after - before;
    }

    /// Returns the source that has most, and how many.
    pub(super) fn longest(&self) -> Option<(usize, IpAddr)> {
        self.by_length.last().copied()
    }
}

/// The sources whose connections wait only because all places are taken, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    known: VecDeque<IpAddr>,
    strangers: VecDeque<IpAddr>,
    /// Whose turn it is, so that neither kind waits for all of the other.
    is_strangers_turn: bool,
}

impl Turns {
    pub(super) fn push(&mut self, source: IpAddr, is_stranger: bool) {
        if is_stranger { &mut self.strangers } else { &mut self.known }.push_back(source);
    }

    pub(super) fn pop(&mut self, known_may: bool, strangers_may: bool) -> Option<(IpAddr, bool)> {
        let known = |turns: &mut Self| {
            let source = known_may.then(|| turns.known.pop_front()).flatten();
            source.map(|source| (source, false))
        };
        let stranger = |turns: &mut Self| {
            let source = strangers_may.then(|| turns.strangers.pop_front()).flatten();
            source.map(|source| (source, true))
        };
        self.is_strangers_turn = !self.is_strangers_turn;
        if self.is_strangers_turn {
            stranger(self).or_else(|| known(self))
        } else {
            known(self).or_else(|| stranger(self))
        }
    }
}

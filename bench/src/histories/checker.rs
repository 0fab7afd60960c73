//! Checks that the operations on an item are linearizable: that they could have taken effect one after another, each at
//! a moment between its invocation and its return (Herlihy and Wing, "Linearizability", 1990).
//!
//! The search is that of Wing and Gong with the improvements of Lowe ("Testing for linearizability", 2016): it goes
//! through invocations and returns in the order of time, with the set of all configurations that are possible so far. A
//! configuration is the stock, and which of the pending operations have taken effect. An operation is made to take
//! effect only when it returns, together with those that must have come before it. Items are independent of each other,
//! so that each is checked alone (Horn and Kroening, "Faster linearizability checking via P-compositionality", 2015).

use std::collections::HashSet;

/// The most operations that may be pending at a time: the bits of a configuration.
const PENDING: usize = 64;
/// The most configurations that are looked at for one return. Beyond it, the history is undecided.
const CONFIGURATIONS: usize = 1 << 20;

/// What an operation does to the stock of an item, and what its answer says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Changes the stock, which may not become negative. `after` is the stock after it, if the answer says so.
    Change { units: i64, after: Option<i64> },
    /// Was refused, because there were `available` units and fewer than asked for.
    Refused { units: i64, available: i64 },
    /// Read the stock.
    Read { stock: i64 },
}

impl Effect {
    /// Returns the stock after the operation; `None` if it can't take effect with this stock.
    fn apply(self, stock: i64) -> Option<i64> {
        match self {
            Self::Change { units, after } => {
                Some(stock + units).filter(|now| *now >= 0 && after.is_none_or(|after| after == *now))
            }
            Self::Refused { units, available } => Some(stock).filter(|_| stock < units && stock == available),
            Self::Read { stock: seen } => Some(stock).filter(|_| stock == seen),
        }
    }

    fn is_change(self) -> bool {
        matches!(self, Self::Change { .. })
    }
}

/// An operation of the history of one item. Times are of one monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) invoked: u64,
    /// When it had taken effect, or would not take effect any more. `u64::MAX` if that is not known.
    pub(crate) returned: u64,
    /// Whether it has taken effect. If not, it may or may not have.
    pub(crate) is_certain: bool,
    pub(crate) effect: Effect,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Linearizable,
    /// No order of the operations explains the answer of this one.
    Violation(usize),
    /// Too many configurations are possible.
    Undecided,
}

/// The stock, and a bit for each pending operation that has taken effect.
type Configuration = (i64, u64);

struct Search<'a> {
    operations: &'a [Operation],
    /// The pending operation of each bit.
    pending: [Option<usize>; PENDING],
    possible: HashSet<Configuration>,
}

/// Checks the operations on an item that has `stock` units at first.
pub(crate) fn check(stock: i64, operations: &[Operation]) -> Verdict {
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        moments.push((operation.invoked, false, number));
        if operation.returned != u64::MAX {
            moments.push((operation.returned, true, number));
        }
    }
    // At the same time, invocations come before returns: such operations overlap.
    moments.sort_unstable();
    let possible = HashSet::from([(stock, 0)]);
    let mut search = Search { operations, pending: [None; PENDING], possible };
    for (_, is_return, number) in moments {
        let verdict = if is_return { search.finish(number) } else { search.begin(number) };
        if verdict != Verdict::Linearizable {
            return verdict;
        }
    }
    Verdict::Linearizable
}

impl Search<'_> {
    fn begin(&mut self, number: usize) -> Verdict {
        let Some(free) = self.pending.iter().position(Option::is_none) else { return Verdict::Undecided };
        self.pending[free] = Some(number);
        Verdict::Linearizable
    }

    /// Keeps the configurations in which an operation that returns has taken effect.
    fn finish(&mut self, number: usize) -> Verdict {
        let Some(place) = self.pending.iter().position(|pending| *pending == Some(number)) else {
            return Verdict::Undecided;
        };
        let bit = 1 << place;
        let (mut next, mut seen) = (HashSet::new(), HashSet::new());
        let mut open: Vec<Configuration> = Vec::new();
        for configuration in std::mem::take(&mut self.possible) {
            if !self.operations[number].is_certain {
                next.insert((configuration.0, configuration.1 & !bit));
            }
            open.push(configuration);
        }
        while let Some(configuration) = open.pop() {
            let (stock, done) = self.with_reads(configuration);
            if done & bit != 0 {
                next.insert((stock, done & !bit));
                continue;
            }
            if !seen.insert((stock, done)) {
                continue;
            }
            if seen.len() > CONFIGURATIONS {
                return Verdict::Undecided;
            }
            for (other, effect) in self.undone(done).filter(|(_, effect)| effect.is_change()) {
                open.extend(effect.apply(stock).map(|stock| (stock, done | other)));
            }
        }
        self.pending[place] = None;
        self.possible = next;
        if self.possible.is_empty() { Verdict::Violation(number) } else { Verdict::Linearizable }
    }

    /// Lets everything take effect that changes nothing and fits. Doing so early rules nothing out.
    fn with_reads(&self, (stock, done): Configuration) -> Configuration {
        let fits = |effect: &Effect| !effect.is_change() && effect.apply(stock).is_some();
        let reads = self.undone(done).filter(|(_, effect)| fits(effect));
        (stock, reads.fold(done, |done, (bit, _)| done | bit))
    }

    /// Returns the pending operations that have not taken effect.
    fn undone(&self, done: u64) -> impl Iterator<Item = (u64, Effect)> + '_ {
        self.pending.iter().enumerate().filter_map(move |(place, pending)| {
            let bit = 1 << place;
            pending.filter(|_| done & bit == 0).map(|number| (bit, self.operations[number].effect))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(invoked: u64, returned: u64, effect: Effect) -> Operation {
        Operation { invoked, returned, is_certain: true, effect }
    }

    fn buy(units: i64) -> Effect {
        Effect::Change { units: -units, after: None }
    }

    fn uncertain(invoked: u64, returned: u64, effect: Effect) -> Operation {
        Operation { is_certain: false, ..operation(invoked, returned, effect) }
    }

    #[test]
    fn a_sequence_that_adds_up_is_linearizable() {
        let history = [
            operation(0, 1, buy(2)),
            operation(2, 3, Effect::Refused { units: 2, available: 1 }),
            operation(4, 5, Effect::Change { units: 4, after: Some(5) }),
            operation(6, 7, Effect::Read { stock: 5 }),
        ];
        assert_eq!(check(3, &history), Verdict::Linearizable);
    }

    #[test]
    fn overlapping_operations_may_take_effect_in_any_order() {
        // The refusal saw the stock between the two purchases, although it was asked for first.
        let refused = Effect::Refused { units: 3, available: 2 };
        let history = [operation(0, 9, refused), operation(1, 8, buy(1)), operation(2, 7, buy(2))];
        assert_eq!(check(3, &history), Verdict::Linearizable);
    }

    #[test]
    fn the_last_unit_sold_twice_is_a_violation() {
        let history = [operation(0, 5, buy(1)), operation(1, 6, buy(1))];
        assert_eq!(check(1, &history), Verdict::Violation(1));
    }

    #[test]
    fn a_stale_read_is_a_violation() {
        let history = [operation(0, 1, buy(1)), operation(2, 3, Effect::Read { stock: 5 })];
        assert_eq!(check(5, &history), Verdict::Violation(1));
        let overlapping = [operation(0, 2, buy(1)), operation(1, 3, Effect::Read { stock: 5 })];
        assert_eq!(check(5, &overlapping), Verdict::Linearizable);
    }

    #[test]
    fn a_refusal_with_enough_in_stock_is_a_violation() {
        let restocked = operation(0, 1, Effect::Change { units: 3, after: None });
        let history = [restocked, operation(2, 3, Effect::Refused { units: 1, available: 0 })];
        assert_eq!(check(0, &history), Verdict::Violation(1));
    }

    #[test]
    fn remaining_units_that_no_order_explains_are_a_violation() {
        let after = |after| Effect::Change { units: -1, after: Some(after) };
        assert_eq!(check(3, &[operation(0, 5, after(1)), operation(1, 6, after(2))]), Verdict::Linearizable);
        assert_eq!(check(3, &[operation(0, 1, after(1)), operation(2, 6, after(2))]), Verdict::Violation(0));
        assert_eq!(check(3, &[operation(0, 5, after(2)), operation(1, 6, after(2))]), Verdict::Violation(1));
    }

    #[test]
    fn an_unknown_outcome_explains_either_state_and_only_once() {
        let read = |invoked, stock| operation(invoked, invoked + 1, Effect::Read { stock });
        for stock in [2, 3] {
            assert_eq!(check(3, &[uncertain(0, u64::MAX, buy(1)), read(5, stock)]), Verdict::Linearizable);
        }
        let back = [uncertain(0, u64::MAX, buy(1)), read(5, 2), read(7, 3)];
        assert_eq!(check(3, &back), Verdict::Violation(2));
        let twice = [uncertain(0, u64::MAX, buy(1)), read(5, 1)];
        assert_eq!(check(3, &twice), Verdict::Violation(1));
    }

    #[test]
    fn an_unknown_outcome_ends_with_its_market() {
        let read = |invoked, stock| operation(invoked, invoked + 1, Effect::Read { stock });
        // The process that had the call died at 4, so that it can't take effect between 6 and 7.
        let late = [uncertain(0, 4, buy(1)), read(5, 3), read(7, 2)];
        assert_eq!(check(3, &late), Verdict::Violation(2));
        let early = [uncertain(0, 4, buy(1)), read(5, 2), read(7, 2)];
        assert_eq!(check(3, &early), Verdict::Linearizable);
    }

    #[test]
    fn too_many_pending_operations_are_undecided() {
        let history: Vec<_> = (0..=PENDING as u64).map(|at| operation(at, 1_000, buy(1))).collect();
        assert_eq!(check(1_000, &history), Verdict::Undecided);
    }
}

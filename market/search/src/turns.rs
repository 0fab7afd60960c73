//! The order of waiting searches: fair between parties, by what their searches cost.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996): of the parties that wait, the one whose searches have cost
//! the least is next. What a search costs is charged after it, as counted, so that a party's expensive searches
//! delay its own next ones and nobody else's. It is not measured as time, which depends on what else the machine does.
//! A party that is idle earns no credit.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::Hash,
    mem,
};

/// Maximum number of parties whose cost is remembered after their last search.
const MAX_REMEMBERED: usize = 4_096;

/// Jobs that wait, by party.
pub(super) struct Turns<K, J> {
    parties: HashMap<K, Party<J>>,
    /// The parties that have a job waiting and may start it, by cost.
    ready: BTreeSet<(u64, K)>,
    /// The cost of the party whose turn was last. A party that begins to wait starts from here.
    now: u64,
    /// The time that each party has used since it was last taken.
    taken: HashMap<K, u64>,
    bounds: Bounds,
}

/// The bounds for one party.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// The maximum number of its jobs that wait.
    pub(super) waiting: usize,
    /// The maximum number of its jobs that run.
    pub(super) running: usize,
}

struct Party<J> {
    jobs: VecDeque<J>,
    running: usize,
    used: u64,
}

impl<J> Party<J> {
    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.running == 0
    }
}

impl<K: Copy + Eq + Hash + Ord, J> Turns<K, J> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { parties: HashMap::new(), ready: BTreeSet::new(), now: 0, taken: HashMap::new(), bounds }
    }

    /// Adds a job. Fails with the job if the party already has the maximum number waiting.
    pub(super) fn push(&mut self, party: K, job: J) -> Result<(), J> {
        let now = self.now;
        let of = self.parties.entry(party).or_insert(Party { jobs: VecDeque::new(), running: 0, used: now });
        if of.jobs.len() >= self.bounds.waiting {
            return Err(job);
        }
        if of.is_idle() {
            of.used = of.used.max(now);
        }
        of.jobs.push_back(job);
        self.make_ready(party);
        Ok(())
    }

    /// Takes the next job, and counts it as running. `None` if none may start.
    pub(super) fn pop(&mut self) -> Option<(K, J)> {
        loop {
            let (used, party) = self.ready.pop_first()?;
            // A party without jobs is never ready.
            let Some(of) = self.parties.get_mut(&party) else { continue };
            let Some(job) = of.jobs.pop_front() else { continue };
            of.running += 1;
            self.now = self.now.max(used);
            self.make_ready(party);
            return Some((party, job));
        }
    }

    /// Counts a job as ended, and charges its party. Also adds up the time that it has taken.
    pub(super) fn finish(&mut self, party: K, cost: u64, time: u64) {
        let Some(of) = self.parties.get_mut(&party) else { return };
        self.ready.remove(&(of.used, party));
        of.running -= 1;
        of.used = of.used.saturating_add(cost.max(1));
        if self.taken.len() < MAX_REMEMBERED || self.taken.contains_key(&party) {
            *self.taken.entry(party).or_default() += time;
        }
        if of.is_idle() && of.used <= self.now {
            self.parties.remove(&party);
        }
        self.make_ready(party);
        if self.parties.len() > MAX_REMEMBERED {
            self.parties.retain(|_, party| !party.is_idle());
        }
    }

    /// Returns the time of the jobs that have ended since the last time, by party.
    pub(super) fn take_used(&mut self) -> HashMap<K, u64> {
        mem::take(&mut self.taken)
    }

    /// Returns whether a party may start another job.
    pub(super) fn may_start(&self, party: K) -> bool {
        self.parties.get(&party).is_none_or(|of| of.running < self.bounds.running)
    }

    fn make_ready(&mut self, party: K) {
        if let Some(of) = self.parties.get(&party)
            && !of.jobs.is_empty()
            && of.running < self.bounds.running
        {
            // The set holds it once, because a party's cost changes only while it is not in there.
            self.ready.insert((of.used, party));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { waiting: 100, running: 2 };

    /// Runs what waits one job after another, each for its own cost, and returns the parties in order.
    fn run(turns: &mut Turns<char, u64>) -> String {
        std::iter::from_fn(|| {
            let (party, cost) = turns.pop()?;
            turns.finish(party, cost, 10 * cost);
            Some(party)
        })
        .collect()
    }

    #[test]
    fn parties_take_turns_by_what_their_jobs_cost() {
        let mut turns = Turns::new(BOUNDS);
        for _ in 0..4 {
            turns.push('m', 30).unwrap();
        }
        for _ in 0..6 {
            turns.push('a', 10).unwrap();
        }
        assert_eq!(run(&mut turns), "amaaamaamm");
    }

    #[test]
    fn expensive_jobs_are_remembered_and_idle_time_earns_nothing() {
        let mut turns = Turns::new(BOUNDS);
        turns.push('m', 1_000).unwrap();
        assert_eq!(run(&mut turns), "m");
        for cost in [1, 1] {
            turns.push('m', cost).unwrap();
            turns.push('a', cost).unwrap();
        }
        assert_eq!(run(&mut turns), "aamm", "m has cost more");
        for (party, cost) in [('z', 10), ('z', 10), ('m', 1), ('m', 1)] {
            turns.push(party, cost).unwrap();
        }
        assert_eq!(run(&mut turns), "zmmz", "z does not catch up with m");
    }

    #[test]
    fn used_time_is_taken_once() {
        let mut turns = Turns::new(BOUNDS);
        for (party, cost) in [('m', 30), ('a', 10), ('m', 5)] {
            turns.push(party, cost).unwrap();
        }
        run(&mut turns);
        assert_eq!(turns.take_used(), HashMap::from([('m', 350), ('a', 100)]));
        assert!(turns.take_used().is_empty());
    }

    #[test]
    fn party_runs_and_waits_only_so_much() {
        let mut turns = Turns::new(Bounds { waiting: 3, running: 2 });
        for job in 0..3 {
            turns.push('m', job).unwrap();
        }
        assert_eq!(turns.push('m', 3), Err(3));
        assert!(turns.pop().is_some() && turns.pop().is_some() && turns.pop().is_none());
        turns.push('a', 1).unwrap();
        assert_eq!(turns.pop().unwrap().0, 'a');
        assert_eq!(turns.parties.values().map(|party| party.jobs.len()).sum::<usize>(), 1);
        turns.finish('m', 1, 1);
        assert_eq!(turns.pop().unwrap().0, 'm');
    }

    #[test]
    fn parties_that_ask_for_nothing_any_more_are_forgotten() {
        let mut turns = Turns::new(BOUNDS);
        for party in 0..3 * MAX_REMEMBERED {
            turns.push(party, 5).unwrap();
            let (party, cost) = turns.pop().unwrap();
            turns.finish(party, cost, 10 * cost);
        }
        assert!(turns.parties.len() <= MAX_REMEMBERED + 1 && turns.ready.is_empty());
    }
}

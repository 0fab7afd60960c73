//! The parties that use the market most, and the addresses whose handshakes fail most often.
//!
//! A call costs a few additions to the counters of its connection, without a lock. They are summed up by party every ten
//! seconds, and when an operator asks.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    hash::Hash,
    iter,
    net::IpAddr,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use souk_certs::{acceptor::source_of, identity::Identity};
use souk_domain::PartyId;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::usage::{Usage, UsageTotals};

/// The time over which usage is summed up. The newest step of it is not over yet.
pub const WINDOW: Duration = Duration::from_secs(60);
/// The window moves on by this much.
const STEP: Duration = Duration::from_secs(10);
const STEPS: usize = 6;
/// Parties that a finished step keeps by each measure, and addresses.
const KEPT: usize = 256;
/// Maximum number of parties, and of addresses, that the present step counts before it keeps only the first of them.
const COUNTED: usize = 8_192;

/// What a party has used in the last minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartyUsage {
    /// The party.
    pub identity: Identity,
    /// Its calls, their time and the bytes of its connections.
    pub totals: UsageTotals,
    /// The number of its open connections.
    pub connections: usize,
}

/// What [`TopTalkers::top`] returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// The parties, those first that kept threads busy for longest.
    pub parties: Vec<PartyUsage>,
    /// The addresses whose handshakes failed (IPv6: the /64 prefixes), and how many of them.
    pub strangers: Vec<(IpAddr, u64)>,
}

type BusyTimes = Vec<(PartyId, Duration)>;

/// The usage of the last minute. Clones share it.
#[derive(Clone)]
pub struct TopTalkers(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Returns for how long the searches of each party ran since the last call.
    searches: Box<dyn Fn() -> BusyTimes + Send + Sync>,
}

#[derive(Default)]
struct State {
    next: u64,
    open: HashMap<u64, (Identity, Arc<Usage>)>,
    /// The present step.
    newest: Step,
    /// The steps before it that are in the window, the newest first.
    finished: VecDeque<Step>,
}

#[derive(Debug, Default)]
struct Step {
    parties: HashMap<Identity, UsageTotals>,
    strangers: HashMap<IpAddr, u64>,
}

/// A connection whose calls add to its usage. Clones are the same connection; it counts as open until all are dropped.
#[derive(Clone, Debug)]
pub struct Talker(Arc<Open>);

struct Open {
    talkers: TopTalkers,
    number: u64,
    usage: Arc<Usage>,
}

impl TopTalkers {
    /// Creates the sums. `searches` returns for how long the searches of each party ran since its last call.
    pub fn new(searches: impl Fn() -> BusyTimes + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), searches: Box::new(searches) }))
    }

    /// Begins to count the usage of a connection of a party.
    pub fn enter(&self, identity: Identity) -> Talker {
        let usage = Arc::<Usage>::default();
        let mut state = self.state();
        // Never reused, so that the end of an old connection can't remove a new one.
        let number = state.next;
        state.next += 1;
        state.open.insert(number, (identity, Arc::clone(&usage)));
        drop(state);
        Talker(Arc::new(Open { talkers: self.clone(), number, usage }))
    }

    /// Counts a failed handshake.
    pub fn handshake_failed(&self, address: IpAddr) {
        let mut state = self.state();
        let strangers = &mut state.newest.strangers;
        if strangers.len() >= COUNTED {
            keep_most(strangers);
        }
        *strangers.entry(source_of(address)).or_default() += 1;
    }

    /// Moves the window on until the market shuts down.
    pub async fn run(self, closing: CancellationToken) {
        let mut ticks = interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while closing.run_until_cancelled(ticks.tick()).await.is_some() {
            self.step();
        }
    }

    /// Returns the parties that kept threads busy for longest in the last minute, and the addresses with most failed
    /// handshakes. At most `most` of each.
    pub fn top(&self, most: usize) -> Top {
        let searches = (self.0.searches)();
        let mut state = self.state();
        state.collect(searches);
        let (mut parties, mut strangers) = (HashMap::new(), HashMap::new());
        for step in iter::once(&state.newest).chain(&state.finished) {
            add(&mut parties, &step.parties);
            add(&mut strangers, &step.strangers);
        }
        let mut connections = HashMap::<_, usize>::new();
        for (identity, _) in state.open.values() {
            *connections.entry(*identity).or_default() += 1;
        }
        drop(state);
        let usage = |(identity, totals)| {
            let connections = connections.get(&identity).copied().unwrap_or_default();
            PartyUsage { identity, totals, connections }
        };
        let mut parties: Vec<_> = parties.into_iter().map(usage).collect();
        parties.sort_by_key(|PartyUsage { totals, .. }| {
            Reverse((totals.busy, totals.calls, totals.refused, totals.bytes()))
        });
        parties.truncate(most);
        let mut strangers: Vec<_> = strangers.into_iter().collect();
        // By address, too, so that equal counts have an order.
        strangers.sort_by_key(|(address, failed)| (Reverse(*failed), *address));
        strangers.truncate(most);
        Top { parties, strangers }
    }

    fn step(&self) {
        let searches = (self.0.searches)();
        let mut state = self.state();
        state.collect(searches);
        let mut finished = std::mem::take(&mut state.newest);
        keep_leaders(&mut finished.parties);
        keep_most(&mut finished.strangers);
        state.finished.push_front(finished);
        state.finished.truncate(STEPS - 1);
    }

    /// Locks the sums. A poisoned lock is used as it is: a wrong count is only a wrong figure.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TopTalkers {
    /// Creates the sums of a server without searches.
    fn default() -> Self {
        Self::new(Vec::new)
    }
}

impl fmt::Debug for TopTalkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopTalkers").finish_non_exhaustive()
    }
}

impl State {
    /// Takes what the open connections have counted, and the time of searches.
    fn collect(&mut self, searches: BusyTimes) {
        let parties = &mut self.newest.parties;
        for (identity, usage) in self.open.values() {
            add_usage(parties, *identity, usage.take());
        }
        if searches.is_empty() {
            return;
        }
        let searches: HashMap<_, _> = searches.into_iter().collect();
        for (identity, totals) in parties {
            let searched = identity.uuid().and_then(|party| searches.get(&PartyId(party)));
            totals.busy += searched.copied().unwrap_or_default();
        }
    }

    fn leave(&mut self, number: u64) {
        let Some((identity, usage)) = self.open.remove(&number) else { return };
        add_usage(&mut self.newest.parties, identity, usage.take());
    }
}

fn add_usage(parties: &mut HashMap<Identity, UsageTotals>, identity: Identity, totals: UsageTotals) {
    if totals == UsageTotals::default() {
        return;
    }
    if parties.len() >= COUNTED {
        keep_leaders(parties);
    }
    *parties.entry(identity).or_default() += totals;
}

fn add<K, T>(sums: &mut HashMap<K, T>, step: &HashMap<K, T>)
where
    K: Copy + Eq + Hash,
    T: Copy + Default + std::ops::AddAssign,
{
    for (key, value) in step {
        *sums.entry(*key).or_default() += *value;
    }
}

/// Keeps the parties that lead by some measure.
fn keep_leaders(parties: &mut HashMap<Identity, UsageTotals>) {
    let measures: [fn(&UsageTotals) -> u128; 4] = [
        |totals| totals.busy.as_nanos(),
        |totals| u128::from(totals.calls),
        |totals| u128::from(totals.refused),
        |totals| u128::from(totals.bytes()),
    ];
    if parties.len() <= KEPT {
        return;
    }
    let mut leaders = HashSet::new();
    for measure in measures {
        let mut by_value: Vec<_> =
            parties.iter().map(|(identity, totals)| (*identity, measure(totals))).collect();
        by_value.sort_unstable_by_key(|(_, value)| Reverse(*value));
        leaders.extend(by_value.into_iter().take(KEPT).map(|(identity, _)| identity));
    }
    parties.retain(|identity, _| leaders.contains(identity));
}

/// Keeps the addresses with the highest counts.
fn keep_most(strangers: &mut HashMap<IpAddr, u64>) {
    if strangers.len() <= KEPT {
        return;
    }
    let mut by_count: Vec<_> = strangers.iter().map(|(address, failed)| (*address, *failed)).collect();
    by_count.sort_unstable_by_key(|(_, failed)| Reverse(*failed));
    by_count.truncate(KEPT);
    *strangers = by_count.into_iter().collect();
}

impl Deref for Talker {
    type Target = Usage;

    fn deref(&self) -> &Usage {
        &self.0.usage
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("number", &self.number)
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.talkers.state().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn party(number: u128) -> Identity {
        Identity::Buyer(Uuid::from_u128(number))
    }

    #[test]
    fn connections_of_a_party_are_summed_up_also_after_they_have_ended() {
        let talkers = TopTalkers::default();
        let (one, other, idle) = (talkers.enter(party(1)), talkers.enter(party(1)), talkers.enter(party(2)));
        one.add_call();
        other.clone().add_call();
        other.add_refused();
        other.add_sent(5);
        drop(other);
        let totals = UsageTotals { calls: 2, refused: 1, sent_bytes: 5, ..UsageTotals::default() };
        let expected = PartyUsage { identity: party(1), totals, connections: 1 };
        assert_eq!(talkers.top(9).parties, std::slice::from_ref(&expected), "without the idle one");
        drop((one, idle));
        assert_eq!(talkers.top(9).parties, [PartyUsage { connections: 0, ..expected }]);
        assert!(talkers.state().open.is_empty());
    }

    #[test]
    fn usage_is_forgotten_after_a_minute() {
        let talkers = TopTalkers::default();
        let talker = talkers.enter(party(1));
        talker.add_call();
        talkers.handshake_failed([192, 0, 2, 1].into());
        for _ in 0..STEPS - 1 {
            talkers.step();
            assert_eq!(talkers.top(9).parties[0].totals.calls, 1);
        }
        talkers.step();
        assert_eq!(talkers.top(9), Top::default());
        assert_eq!(STEP * u32::try_from(STEPS).unwrap(), WINDOW);
    }

    #[test]
    fn time_on_threads_comes_first_and_includes_searches() {
        let searched = Mutex::new(vec![(PartyId(Uuid::from_u128(2)), Duration::from_millis(5))]);
        let talkers = TopTalkers::new(move || std::mem::take(&mut searched.lock().unwrap()));
        let (one, other) = (talkers.enter(party(1)), talkers.enter(party(2)));
        for _ in 0..100 {
            one.add_call();
        }
        one.add_busy(Duration::from_millis(4));
        other.add_call();
        other.add_busy(Duration::from_millis(1));
        let top = talkers.top(9).parties;
        assert_eq!((top[0].identity, top[0].totals.busy), (party(2), Duration::from_millis(6)));
        assert_eq!(talkers.top(1).parties.len(), 1);
    }

    #[test]
    fn leaders_by_each_measure_are_kept_and_memory_is_bounded() {
        let talkers = TopTalkers::default();
        for number in 0..3 * COUNTED as u128 {
            let talker = talkers.enter(party(number));
            talker.add_call();
            if number == 7 {
                talker.add_received(1 << 40);
            }
        }
        assert!(talkers.state().newest.parties.len() <= COUNTED);
        talkers.step();
        let kept = talkers.top(usize::MAX).parties;
        assert!(kept.len() <= 4 * KEPT && kept.iter().any(|party| party.totals.received_bytes == 1 << 40));
    }

    #[test]
    fn failed_handshakes_are_counted_by_source() {
        let talkers = TopTalkers::default();
        for host in 0..u32::try_from(3 * COUNTED).unwrap() {
            let [.., a, b] = host.to_be_bytes();
            talkers.handshake_failed([10, 0, a, b].into());
            talkers.handshake_failed(format!("2001:db8::{host:x}").parse().unwrap());
        }
        let strangers = talkers.top(9).strangers;
        assert_eq!(strangers[0], ("2001:db8::".parse().unwrap(), 3 * COUNTED as u64), "one /64 prefix");
        assert!(talkers.state().newest.strangers.len() <= COUNTED);
    }
}

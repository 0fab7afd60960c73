//! Fair shares of the TLS handshakes per source address, so that a single host can't use up all of them. A handshake
//! costs a signature before anything is known about the client.
//!
//! - A source has at most [`AcceptorLimits::handshakes_of_address`] handshakes in progress. Connections beyond that wait
//!   for their turn, in the order in which they came: many clients may share one address, and after an outage they all
//!   come at once. Sources take turns, one connection each.
//! - A quarter of all handshakes is kept for sources that have authenticated before. Hosts without a certificate can't
//!   keep those out, however many they are.
//! - A source has a budget of CPU time: [`AcceptorLimits::handshakes_per_second_of_address`], of which a failed handshake
//!   counts as [`FAILED_COST`], and one whose connection had to be ended as [`ENDED_COST`] more. When it has used up
//!   [`BURST`] of it, each further handshake keeps its place until the budget has paid for it. Meanwhile the source's
//!   other connections wait.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::unsync::Cache;
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use super::AcceptorLimits;
use super::turns::{Turns, Waiting};

/// How many successful handshakes a failed one counts as.
pub const FAILED_COST: u32 = 10;
/// How many successful handshakes a connection counts as, besides its own, if a server ends it because of what its client
/// did. Such a connection has cost more than its handshake.
pub const ENDED_COST: u32 = 50;
/// The budget that a source may use up at once, as time in which it accumulates.
pub const BURST: Duration = Duration::from_secs(10);
/// Share of the handshakes that is kept for sources which have authenticated before, as a divisor.
const KEPT: usize = 4;
/// Maximum number of sources that are remembered because they have authenticated.
const KNOWN: usize = 4_096;
/// Maximum number of sources whose used budget is remembered while none of their connections is here. A forgotten one
/// gains at most one burst.
const INDEBTED: usize = 16_384;
/// Maximum number of places that are kept until their source's budget has paid for them. Beyond it they are returned at
/// once: so many need thousands of hosts.
const RESTING: usize = 4_096;

/// Counts handshakes in progress and connections that wait for theirs, per source. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Sources {
    limits: AcceptorLimits,
    shared: Arc<Mutex<Shared>>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Shared {
    by_source: HashMap<IpAddr, Source>,
    /// Sources that have authenticated.
    known: Cache<IpAddr, ()>,
    /// Sources with a waiting connection that have a share left, and wait only because all places are taken.
    turns: Turns,
    waiting: Waiting,
    under_way: usize,
    /// How many of `under_way` are of sources that are not known.
    strangers: usize,
    resting: usize,
    /// The number of sources at which those without debts are removed.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Source {
    under_way: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
    has_turn: bool,
    /// When its budget has paid for everything until now. `None` or past if it owes nothing.
    paid_at: Option<Instant>,
}

/// The permit for a handshake, returned on drop.
#[derive(Debug)]
pub struct Place {
    sources: Sources,
    source: IpAddr,
    is_stranger: bool,
    cost: u32,
}

/// What a new connection gets.
#[derive(Debug)]
pub enum Entry {
    /// Its handshake may begin.
    Place(Place),
    /// It has to wait until this yields its permit.
    Wait(oneshot::Receiver<Place>),
    /// Too many are waiting.
    Full,
}

impl Sources {
    /// Creates the shares. Of the limits, those for handshakes and `waiting` apply. A [`Place`] may also stand for a whole
    /// connection, where connections are short.
    #[must_use]
    pub fn new(limits: AcceptorLimits) -> Self {
        let shared = Shared {
            by_source: HashMap::new(),
            known: Cache::new(KNOWN),
            turns: Turns::default(),
            waiting: Waiting::default(),
            under_way: 0,
            strangers: 0,
            resting: 0,
            sweep_at: INDEBTED,
        };
        Self { limits, shared: Arc::new(Mutex::new(shared)), dropped: Arc::default() }
    }

    /// Asks for a permit for a connection from this address.
    pub fn enter(&self, address: IpAddr) -> Entry {
        let source = source_of(address);
        let mut shared = self.lock();
        shared.sweep(Instant::now());
        let is_stranger = shared.known.get(&source).is_none();
        let has_room = shared.has_room(&self.limits, is_stranger);
        let Shared { by_source, waiting, .. } = &mut *shared;
        let entry = by_source.entry(source).or_default();
        let has_share = entry.under_way < self.limits.handshakes_of_address;
        let before = entry.waiting.len();
        // Those that were given up are in front, because all wait equally long.
        while entry.waiting.front().is_some_and(oneshot::Sender::is_closed) {
            entry.waiting.pop_front();
        }
        let present = entry.waiting.len();
        waiting.changed(source, before, present);
        if has_share && has_room && entry.waiting.is_empty() {
            entry.under_way += 1;
            shared.take(is_stranger);
            return Entry::Place(self.place(source, is_stranger));
        }
        if present >= self.limits.waiting / 4 || !shared.make_room(&self.limits, present) {
            shared.forget_idle(source);
            return Entry::Full;
        }
        let Shared { by_source, turns, waiting, .. } = &mut *shared;
        let entry = by_source.entry(source).or_default();
        let (turn, its_turn) = oneshot::channel();
        entry.waiting.push_back(turn);
        waiting.changed(source, present, present + 1);
        if has_share && !entry.has_turn {
            entry.has_turn = true;
            turns.push(source, is_stranger);
        }
        Entry::Wait(its_turn)
    }

    /// Returns the number of waiting connections.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.total
    }

    /// Returns the number of places that are taken, without those that only wait for their source's budget.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.lock().under_way
    }

    /// Returns the number of places that are kept until their source's budget has paid for them.
    #[must_use]
    pub fn resting(&self) -> usize {
        self.lock().resting
    }

    /// Returns how many connections were closed before their handshake, because too many were waiting or they had
    /// waited too long.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Charges the source of a connection that was ended because of what its client did, so that it can't do the same on
    /// one connection after another.
    pub fn charge_ended(&self, address: IpAddr) {
        let source = source_of(address);
        let mut shared = self.lock();
        let now = Instant::now();
        shared.sweep(now);
        self.charge(shared.by_source.entry(source).or_default(), ENDED_COST, now);
    }

    /// Counts a connection that was closed before its handshake.
    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn place(&self, source: IpAddr, is_stranger: bool) -> Place {
        Place { sources: self.clone(), source, is_stranger, cost: 1 }
    }

    /// Charges the source, and returns for how long its place has to be kept.
    fn charge(&self, source: &mut Source, cost: u32, now: Instant) -> Option<Duration> {
        let of_one = Duration::from_secs(1) / self.limits.handshakes_per_second_of_address.max(1);
        let paid_at = source.paid_at.map_or(now, |paid_at| paid_at.max(now)) + of_one * cost;
        source.paid_at = Some(paid_at);
        paid_at.saturating_duration_since(now).checked_sub(BURST).filter(|wait| !wait.is_zero())
    }

    /// Returns a place of a source's share, and grants as many as are free now.
    fn give_back(&self, source: IpAddr) {
        let mut shared = self.lock();
        if let Some(entry) = shared.by_source.get_mut(&source) {
            entry.under_way -= 1;
        }
        shared.queue_for_turn(source, &self.limits);
        shared.forget_idle(source);
        self.grant(shared);
    }

    /// Grants free places to those whose turn it is.
    fn grant(&self, mut shared: MutexGuard<'_, Shared>) {
        let mut granted = Vec::new();
        while let Some((turn, source, is_stranger)) = shared.next(&self.limits) {
            granted.push((turn, self.place(source, is_stranger)));
        }
        // Before the permits change hands: if a connection has gone, its permit is dropped here again.
        drop(shared);
        for (turn, place) in granted {
            let _ = turn.send(place);
        }
    }

    /// Locks the counts. A poisoned lock is safe to use: no update under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn has_room(&self, limits: &AcceptorLimits, is_stranger: bool) -> bool {
        let for_strangers = limits.handshakes - limits.handshakes / KEPT;
        self.under_way < limits.handshakes.max(1) && (!is_stranger || self.strangers < for_strangers.max(1))
    }

    /// Makes room for a source with this many waiting connections, if necessary by dropping the last one of the source
    /// that has most. Returns whether there is room: a new source finds some, however many others are waiting.
    fn make_room(&mut self, limits: &AcceptorLimits, present: usize) -> bool {
        if self.waiting.total < limits.waiting {
            return true;
        }
        let Some((most, source)) = self.waiting.longest() else { return false };
        if most <= present + 1 {
            return false;
        }
        if let Some(entry) = self.by_source.get_mut(&source) {
            entry.waiting.pop_back();
        }
        self.waiting.changed(source, most, most - 1);
        true
    }

    fn take(&mut self, is_stranger: bool) {
        self.under_way += 1;
        self.strangers += usize::from(is_stranger);
    }

    fn queue_for_turn(&mut self, source: IpAddr, limits: &AcceptorLimits) {
        let Some(entry) = self.by_source.get_mut(&source) else { return };
        if entry.has_turn || entry.waiting.is_empty() || entry.under_way >= limits.handshakes_of_address {
            return;
        }
        entry.has_turn = true;
        let is_stranger = self.known.get(&source).is_none();
        self.turns.push(source, is_stranger);
    }

    /// Takes a place for the next waiting connection, if there is one for it.
    fn next(&mut self, limits: &AcceptorLimits) -> Option<(oneshot::Sender<Place>, IpAddr, bool)> {
        loop {
            let (known, strangers) = (self.has_room(limits, false), self.has_room(limits, true));
            let (source, is_stranger) = self.turns.pop(known, strangers)?;
            let Some(entry) = self.by_source.get_mut(&source) else { continue };
            entry.has_turn = false;
            let before = entry.waiting.len();
            let mut queue = std::iter::from_fn(|| entry.waiting.pop_front());
            let next = queue.find(|turn| !turn.is_closed());
            self.waiting.changed(source, before, entry.waiting.len());
            let Some(turn) = next else {
                self.forget_idle(source);
                continue;
            };
            entry.under_way += 1;
            self.take(is_stranger);
            self.queue_for_turn(source, limits);
            return Some((turn, source, is_stranger));
        }
    }

    /// Removes a source without connections and debts: the map must not grow with the number of addresses ever seen.
    fn forget_idle(&mut self, source: IpAddr) {
        if self.by_source.get(&source).is_some_and(|entry| entry.is_idle() && entry.paid_at.is_none()) {
            self.by_source.remove(&source);
        }
    }

    /// Removes the sources that owe nothing any more, whenever their number has doubled.
    fn sweep(&mut self, now: Instant) {
        if self.by_source.len() < self.sweep_at {
            return;
        }
        self.by_source.retain(|_, entry| !entry.is_idle() || entry.paid_at.is_some_and(|at| at > now));
        if self.by_source.len() >= INDEBTED {
            self.by_source.retain(|_, entry| !entry.is_idle());
        }
        self.sweep_at = INDEBTED.max(2 * self.by_source.len());
    }
}

impl Source {
    fn is_idle(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty()
    }
}

impl Place {
    /// Notes that the handshake proved an identity: the source has a part in the places that are kept.
    pub fn authenticated(&self) {
        self.sources.lock().known.insert(self.source, ());
    }

    /// Notes that the handshake failed, which costs more of the source's budget.
    pub fn failed(&mut self) {
        self.cost = FAILED_COST;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shared = self.sources.lock();
        // Free for other sources at once, even if this one's share has to wait for its budget.
        shared.under_way -= 1;
        shared.strangers -= usize::from(self.is_stranger);
        let now = Instant::now();
        let entry = shared.by_source.get_mut(&self.source);
        let wait = entry.and_then(|entry| self.sources.charge(entry, self.cost, now));
        let (sources, source) = (self.sources.clone(), self.source);
        match (wait, Handle::try_current()) {
            (Some(wait), Ok(runtime)) if shared.resting < RESTING => {
                shared.resting += 1;
                self.sources.grant(shared);
                let rest = Rest { sources, source };
                runtime.spawn(async move {
                    tokio::time::sleep(wait).await;
                    drop(rest);
                });
            }
            _ => {
                drop(shared);
                sources.give_back(source);
            }
        }
    }
}

/// A place that is kept until its source's budget has paid for it.
struct Rest {
    sources: Sources,
    source: IpAddr,
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.sources.lock().resting -= 1;
        self.sources.give_back(self.source);
    }
}

/// Maps an address to its source: the IPv4 address, or the /64 prefix of an IPv6 address, within which a host chooses
/// its addresses freely (RFC 4291, RFC 8981).
#[must_use]
pub fn source_of(address: IpAddr) -> IpAddr {
    // On a dual-stack socket IPv4 clients appear as ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2). Without this,
    // all of them would share one /64.
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests;

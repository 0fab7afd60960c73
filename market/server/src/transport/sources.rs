//! Bounds the concurrent handshakes per source address, so that a single host can't use up all of them. A handshake
//! costs the market a signature before it knows anything about the client.
//!
//! Connections beyond the limit wait for their turn, in the order in which they came: many clients may share one
//! address, and after an outage they all come at once.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Maximum number of waiting connections of one source.
const WAITING_OF_SOURCE: usize = 1_024;
/// Maximum number of waiting connections of all sources. Each holds a file descriptor.
const WAITING: usize = 4_096;

/// Counts handshakes in progress and connections that wait for theirs, per source. Clones share the counts.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    most: usize,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    by_source: HashMap<IpAddr, Source>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Source {
    under_way: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// The permit for a handshake, returned on drop.
#[derive(Debug)]
pub(super) struct Place {
    sources: Sources,
    source: IpAddr,
}

/// What a new connection gets.
#[derive(Debug)]
pub(super) enum Entry {
    /// Its handshake may begin.
    Place(Place),
    /// It has to wait until this yields its permit.
    Wait(oneshot::Receiver<Place>),
    /// Too many are waiting.
    Full,
}

impl Sources {
    /// Creates a limit of this many concurrent handshakes per source.
    pub(super) fn new(most: usize) -> Self {
        Self { most, shared: Arc::default() }
    }

    /// Asks for a permit for a connection from this address.
    pub(super) fn enter(&self, address: IpAddr) -> Entry {
        let address = prefix(address);
        let mut shared = self.lock();
        let Shared { by_source, waiting } = &mut *shared;
        let source = by_source.entry(address).or_default();
        if source.under_way < self.most {
            source.under_way += 1;
            drop(shared);
            return Entry::Place(Place { sources: self.clone(), source: address });
        }
        if source.waiting.len() >= WAITING_OF_SOURCE || *waiting >= WAITING {
            return Entry::Full;
        }
        *waiting += 1;
        let (turn, its_turn) = oneshot::channel();
        source.waiting.push_back(turn);
        Entry::Wait(its_turn)
    }

    /// Returns the number of waiting connections.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Locks the counts. A poisoned lock is safe to use: no update under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shared = self.sources.lock();
        let Shared { by_source, waiting } = &mut *shared;
        let Some(source) = by_source.get_mut(&self.source) else { return };
        if let Some(next) = source.waiting.pop_front() {
            *waiting -= 1;
            // Before the permit changes hands: if its connection has gone, it is dropped here again.
            drop(shared);
            let _ = next.send(Place { sources: self.sources.clone(), source: self.source });
            return;
        }
        source.under_way -= 1;
        // Removed at zero: the map must not grow with the number of addresses ever seen.
        if source.under_way == 0 {
            by_source.remove(&self.source);
        }
    }
}

/// Maps an address to its source: the IPv4 address, or the /64 prefix of an IPv6 address, within which a host chooses
/// its addresses freely (RFC 4291, RFC 8981).
fn prefix(address: IpAddr) -> IpAddr {
    // On a dual-stack socket IPv4 clients appear as ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2). Without this,
    // all of them would share one /64.
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(entry: Entry) -> Place {
        match entry {
            Entry::Place(place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_host_has_its_own_places_and_gets_them_back() {
        let sources = Sources::new(2);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let places = [place(sources.enter(one)), place(sources.enter(one))];
        assert!(
            matches!(sources.enter("::ffff:192.0.2.1".parse().unwrap()), Entry::Wait(_)),
            "the same host"
        );
        place(sources.enter(other));
        drop(places);
        place(sources.enter(one));
        assert!(sources.lock().by_source.is_empty(), "nothing is left behind");
    }

    #[test]
    fn waiting_connections_have_their_turns_in_order() {
        let sources = Sources::new(1);
        let host = "192.0.2.1".parse().unwrap();
        let first = place(sources.enter(host));
        let Entry::Wait(mut second) = sources.enter(host) else { panic!("no place is free") };
        let Entry::Wait(gone) = sources.enter(host) else { panic!("no place is free") };
        let Entry::Wait(mut last) = sources.enter(host) else { panic!("no place is free") };
        assert_eq!(sources.waiting(), 3);
        assert!(second.try_recv().is_err() && last.try_recv().is_err());
        drop(first);
        let second = second.try_recv().unwrap();
        assert!(last.try_recv().is_err());
        // A connection that was given up meanwhile passes its turn on.
        drop((gone, second));
        drop(last.try_recv().unwrap());
        assert!(sources.lock().by_source.is_empty() && sources.waiting() == 0);
    }

    #[test]
    fn number_of_waiting_connections_is_bounded() {
        let sources = Sources::new(1);
        let host = |n: u32| IpAddr::V4((0x0a00_0000 + n).into());
        let _place = place(sources.enter(host(0)));
        let mut waiting: Vec<_> = (0..WAITING_OF_SOURCE).map(|_| sources.enter(host(0))).collect();
        assert!(waiting.iter().all(|entry| matches!(entry, Entry::Wait(_))));
        assert!(matches!(sources.enter(host(0)), Entry::Full));
        let others: Vec<_> = (1..5).map(|n| place(sources.enter(host(n)))).collect();
        for n in (1..5).cycle() {
            match sources.enter(host(n)) {
                Entry::Full => break,
                entry => waiting.push(entry),
            }
        }
        assert_eq!((sources.waiting(), waiting.len()), (WAITING, WAITING));
        drop(others);
    }

    #[test]
    fn a_host_can_not_get_more_places_by_changing_the_lower_half_of_its_ipv6_address() {
        let sources = Sources::new(1);
        let _place = place(sources.enter("2001:db8::1".parse().unwrap()));
        assert!(matches!(sources.enter("2001:db8::ffff:1".parse().unwrap()), Entry::Wait(_)));
        place(sources.enter("2001:db8:0:1::1".parse().unwrap()));
    }
}

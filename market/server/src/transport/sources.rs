//! Bounds the handshakes under way from one address, so that a single host can't take all places.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts handshakes by where they come from. Clones share the counts.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    most: usize,
    under_way: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A handshake's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// At most this many from one address.
    pub(super) fn new(most: usize) -> Self {
        Self { most, under_way: Arc::default() }
    }

    /// A place for a connection from this address; `None` when all of its places are taken.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let source = prefix(address);
        let mut under_way = self.lock();
        let count = under_way.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(under_way);
        Some(Place { sources: self.clone(), source })
    }

    /// Nothing that is done under the lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.sources.lock();
        if let Some(count) = under_way.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.source);
            }
        }
    }
}

/// One host: an IPv4 address, or the 64 bits of an IPv6 address within which a host chooses the rest itself
/// (RFC 4291, RFC 8981).
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_own_places_and_gets_them_back() {
        let sources = Sources::new(2);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let places = [sources.enter(one).unwrap(), sources.enter(one).unwrap()];
        assert!(sources.enter(one).is_none());
        assert!(sources.enter("::ffff:192.0.2.1".parse().unwrap()).is_none(), "the same host");
        assert!(sources.enter(other).is_some());
        drop(places);
        assert!(sources.enter(one).is_some());
        assert!(sources.lock().is_empty(), "nothing is left behind");
    }

    #[test]
    fn a_host_can_not_get_more_places_by_changing_the_lower_half_of_its_ipv6_address() {
        let sources = Sources::new(1);
        let _place = sources.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert!(sources.enter("2001:db8::ffff:1".parse().unwrap()).is_none());
        assert!(sources.enter("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}

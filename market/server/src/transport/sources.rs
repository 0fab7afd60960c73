//! Bounds the concurrent handshakes per source address, so that a single host can't use up all of them. A handshake
//! costs the market a signature before it knows anything about the client.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts handshakes in progress per source. Clones share the counts.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    most: usize,
    under_way: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The permit for a handshake, returned on drop.
#[derive(Debug)]
pub(super) struct Place {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// Creates a limit of this many concurrent handshakes per source.
    pub(super) fn new(most: usize) -> Self {
        Self { most, under_way: Arc::default() }
    }

    /// Returns a permit for a connection from this address, or `None` if its source has reached the limit.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let source = prefix(address);
        let mut under_way = self.lock();
        // A rejected source has an entry already, as the limit is at least 1, so rejections do not grow the map.
        let count = under_way.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(under_way);
        Some(Place { sources: self.clone(), source })
    }

    /// Locks the counts. A poisoned lock is safe to use: no update under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.sources.lock();
        if let Some(count) = under_way.get_mut(&self.source) {
            *count -= 1;
            // Removed at zero: the map must not grow with the number of addresses ever seen.
            if *count == 0 {
                under_way.remove(&self.source);
            }
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

//! The open connections, counted per party so that they can be limited, and closed after a revocation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures::task::AtomicWaker;
use rustls_pki_types::CertificateDer;

use super::PeerInfo;
use crate::identity::Identity;

/// Every open connection of an acceptor.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: Mutex<Entries>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Entries {
    open: HashMap<u64, Entry>,
    by_party: HashMap<Identity, usize>,
}

#[derive(Debug)]
struct Entry {
    peer: PeerInfo,
    leaf: CertificateDer<'static>,
    cut: Arc<Cut>,
}

/// A connection's handle to its entry. Dropping it removes the entry and frees the party's place.
#[derive(Debug)]
pub(super) struct Registered {
    registry: Arc<Registry>,
    number: u64,
    cut: Arc<Cut>,
}

/// The signal by which the registry closes a connection.
#[derive(Debug, Default)]
struct Cut {
    is_cut: AtomicBool,
    reader: AtomicWaker,
}

/// The limit that a new connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The limit on all connections together.
    All,
    /// The limit on this party's connections.
    Party,
}

impl Registry {
    /// Registers a connection, unless that would exceed the limit on all connections or on the party's.
    pub(super) fn enter(
        self: &Arc<Self>,
        peer: PeerInfo,
        leaf: CertificateDer<'static>,
        (limit, limit_of_party): (usize, usize),
    ) -> Result<Registered, Full> {
        let mut entries = self.entries();
        if entries.open.len() >= limit {
            return Err(Full::All);
        }
        // Unless the limit is 0, a rejected party has an entry already, so rejections do not grow the map.
        let of_party = entries.by_party.entry(peer.certificate.identity()).or_default();
        if *of_party >= limit_of_party {
            return Err(Full::Party);
        }
        // Checked and counted under one lock, so that concurrent connections cannot exceed the limit.
        *of_party += 1;
        // Never reused, so that the drop of an old connection cannot remove the entry of a new one.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let cut = Arc::<Cut>::default();
        entries.open.insert(number, Entry { peer, leaf, cut: Arc::clone(&cut) });
        Ok(Registered { registry: Arc::clone(self), number, cut })
    }

    /// Returns the number of open connections.
    pub(super) fn len(&self) -> usize {
        self.entries().open.len()
    }

    /// Closes the connections for which `is_over` returns true, and returns their peers.
    pub(super) fn cut(&self, is_over: impl Fn(&PeerInfo, &CertificateDer<'static>) -> bool) -> Vec<PeerInfo> {
        // `is_over` may verify signatures. With thousands of connections that takes long, so it runs on a
        // copy and without the lock, which every accept and close needs.
        let open: Vec<_> = self
            .entries()
            .open
            .values()
            .map(|entry| (entry.peer.clone(), entry.leaf.clone(), Arc::clone(&entry.cut)))
            .collect();
        // A connection that registers after the copy is not missed: its acceptor compares the configuration once more after
        // registering.
        let over = open.into_iter().filter(|(peer, leaf, _)| is_over(peer, leaf));
        over.map(|(peer, _, cut)| {
            cut.now();
            peer
        })
        .collect()
    }

    /// Locks the entries. A poisoned lock is safe to use: no caller-supplied code runs under it, so a panic
    /// cannot leave the two maps inconsistent.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cut {
    fn now(&self) {
        // Store before wake, and register before load in `poll_cut`: a reader either sees the flag or is
        // woken.
        self.is_cut.store(true, Ordering::Release);
        self.reader.wake();
    }
}

impl Registered {
    /// Returns whether the connection must end.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.is_cut.load(Ordering::Acquire)
    }

    /// Like [`Registered::is_cut`], and has the task woken when it becomes true.
    pub(super) fn poll_cut(&self, context: &Context<'_>) -> bool {
        // Registered before the flag is read: a cut in between then wakes the reader.
        self.cut.reader.register(context.waker());
        self.is_cut()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut entries = self.registry.entries();
        // `cut` leaves the entry: it counts until the connection is really gone.
        let Some(entry) = entries.open.remove(&self.number) else { return };
        let party = entry.peer.certificate.identity();
        if let Some(of_party) = entries.by_party.get_mut(&party) {
            *of_party -= 1;
            // Removed at zero, so that the map does not grow with every party that ever connected.
            if *of_party == 0 {
                entries.by_party.remove(&party);
            }
        }
    }
}

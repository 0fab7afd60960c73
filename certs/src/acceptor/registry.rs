//! The open connections, so that they can be counted by party and cut.

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

/// A connection's own end of its entry, which goes with it.
#[derive(Debug)]
pub(super) struct Registered {
    registry: Arc<Registry>,
    number: u64,
    cut: Arc<Cut>,
}

/// Tells a connection to end.
#[derive(Debug, Default)]
struct Cut {
    is_cut: AtomicBool,
    reader: AtomicWaker,
}

/// The connections that are open already leave no room for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Of everybody.
    All,
    /// Of this party.
    Party,
}

impl Registry {
    /// Enters a connection, within bounds for all connections and for those of one party.
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
        let of_party = entries.by_party.entry(peer.certificate.identity()).or_default();
        if *of_party >= limit_of_party {
            return Err(Full::Party);
        }
        *of_party += 1;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let cut = Arc::<Cut>::default();
        entries.open.insert(number, Entry { peer, leaf, cut: Arc::clone(&cut) });
        Ok(Registered { registry: Arc::clone(self), number, cut })
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.entries().open.len()
    }

    /// Cuts those for which `is_over` says so. Answers their peers.
    pub(super) fn cut(&self, is_over: impl Fn(&PeerInfo, &CertificateDer<'static>) -> bool) -> Vec<PeerInfo> {
        // Judged without the lock: it may take long, and connections come and go meanwhile.
        let open: Vec<_> = self
            .entries()
            .open
            .values()
            .map(|entry| (entry.peer.clone(), entry.leaf.clone(), Arc::clone(&entry.cut)))
            .collect();
        let over = open.into_iter().filter(|(peer, leaf, _)| is_over(peer, leaf));
        over.map(|(peer, _, cut)| {
            cut.now();
            peer
        })
        .collect()
    }

    /// Nothing is left half done by a panic under the lock: no code of others runs there.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cut {
    fn now(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.reader.wake();
    }
}

impl Registered {
    /// Whether the connection was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.is_cut.load(Ordering::Acquire)
    }

    /// The same, and has the task woken when it happens.
    pub(super) fn poll_cut(&self, context: &Context<'_>) -> bool {
        self.cut.reader.register(context.waker());
        self.is_cut()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut entries = self.registry.entries();
        let Some(entry) = entries.open.remove(&self.number) else { return };
        let party = entry.peer.certificate.identity();
        if let Some(of_party) = entries.by_party.get_mut(&party) {
            *of_party -= 1;
            if *of_party == 0 {
                entries.by_party.remove(&party);
            }
        }
    }
}

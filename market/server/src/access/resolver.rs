//! Resolving host names that parties chose.
//!
//! A name can take the system's resolver as long as its owner likes, on a thread that can't be interrupted. So there are
//! few such threads, they do nothing else, and each stays counted until it returns, whether or not its caller still waits.

use std::{
    collections::HashSet,
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use souk_domain::PartyId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

/// Timeout for resolving a name, and another for a thread to be free.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of names that are resolved at a time; of one party, one.
pub(super) const MAX_LOOKUPS: usize = 8;

/// Resolves names. Clones share the limit.
#[derive(Clone)]
pub(super) struct Resolver {
    threads: Arc<Semaphore>,
    parties: Arc<Mutex<HashSet<PartyId>>>,
    resolve: Arc<Resolve>,
}

/// Resolves a name on the current thread.
type Resolve = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Why a name was not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// The name has no address, or it took too long to find one.
    Unknown,
    /// The party, or all parties together, have as many lookups in progress as they may.
    Busy,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("lookups", &self.lookups()).finish_non_exhaustive()
    }
}

impl Resolver {
    /// Resolves names by the system's resolver.
    pub(super) fn system() -> Self {
        Self::by(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))
    }

    pub(super) fn by(
        resolve: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        let threads = Arc::new(Semaphore::new(MAX_LOOKUPS));
        Self { threads, parties: Arc::default(), resolve: Arc::new(resolve) }
    }

    /// Resolves a name for a party to its first address.
    pub(super) async fn first_address(
        &self,
        party: PartyId,
        host: &str,
        port: u16,
    ) -> Result<IpAddr, Unresolved> {
        let turn = Turn::take(&self.parties, party).ok_or(Unresolved::Busy)?;
        let thread = timeout(TIMEOUT, Arc::clone(&self.threads).acquire_owned()).await;
        let Ok(Ok(thread)) = thread else { return Err(Unresolved::Busy) };
        let found = self.begin(host.to_owned(), port, (turn, thread)).map_err(|_| Unresolved::Busy)?;
        let found = timeout(TIMEOUT, found).await.map_err(|_| Unresolved::Unknown)?;
        // Only the first: trying several would let a name with many records scan for one that is permitted.
        let first = found.ok().and_then(Result::ok).and_then(|found| found.into_iter().next());
        first.map(|address| address.ip()).ok_or(Unresolved::Unknown)
    }

    /// Starts to resolve a name. The thread keeps the permits until it ends.
    fn begin(
        &self,
        host: String,
        port: u16,
        permits: (Turn, OwnedSemaphorePermit),
    ) -> io::Result<oneshot::Receiver<io::Result<Vec<SocketAddr>>>> {
        let (found, receiver) = oneshot::channel();
        let resolve = Arc::clone(&self.resolve);
        // Not on the runtime's blocking threads, which the runtime waits for when it ends.
        thread::Builder::new().name("souk-resolver".to_owned()).spawn(move || {
            let addresses = resolve(&host, port);
            drop(permits);
            // Fails if the caller has given up.
            let _ = found.send(addresses);
        })?;
        Ok(receiver)
    }

    /// Returns the number of lookups in progress.
    pub(super) fn lookups(&self) -> usize {
        MAX_LOOKUPS - self.threads.available_permits()
    }
}

/// The one lookup of a party, until it is dropped.
struct Turn {
    parties: Arc<Mutex<HashSet<PartyId>>>,
    party: PartyId,
}

impl Turn {
    fn take(parties: &Arc<Mutex<HashSet<PartyId>>>, party: PartyId) -> Option<Self> {
        lock(parties).insert(party).then(|| Self { parties: Arc::clone(parties), party })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.parties).remove(&self.party);
    }
}

/// Locks the set. A poisoned lock is safe to use: no update under it can panic half-way.
fn lock(parties: &Mutex<HashSet<PartyId>>) -> MutexGuard<'_, HashSet<PartyId>> {
    parties.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;

    use uuid::Uuid;

    use super::*;

    const FAST: &str = "fast.example";

    fn party(number: u128) -> PartyId {
        PartyId(Uuid::from_u128(number))
    }

    fn localhost(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Returns a resolver that answers for [`FAST`], and for all other names only after the release.
    fn slow() -> (Resolver, impl Fn()) {
        let release = Arc::new((Mutex::new(false), Condvar::new()));
        let held = Arc::clone(&release);
        let resolver = Resolver::by(move |host, port| {
            if host != FAST {
                let (is_released, released) = &*held;
                let guard = is_released.lock().unwrap();
                drop(released.wait_while(guard, |is_released| !*is_released).unwrap());
            }
            Ok(vec![localhost(port)])
        });
        let open = move || {
            *release.0.lock().unwrap() = true;
            release.1.notify_all();
        };
        (resolver, open)
    }

    #[tokio::test]
    async fn lookup_that_timed_out_keeps_its_place_until_its_thread_ends() {
        let (resolver, release) = slow();
        let found = resolver.first_address(party(1), "slow.example", 7444).await;
        assert_eq!((found, resolver.lookups()), (Err(Unresolved::Unknown), 1));
        assert_eq!(
            resolver.first_address(party(1), FAST, 7444).await,
            Err(Unresolved::Busy),
            "it has one already"
        );
        assert_eq!(
            resolver.first_address(party(2), FAST, 7444).await,
            Ok(localhost(0).ip()),
            "hers is her own"
        );
        release();
        let ended = async {
            while resolver.lookups() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), ended).await.expect("the thread ends");
        assert_eq!(resolver.first_address(party(1), FAST, 7444).await, Ok(localhost(0).ip()));
    }

    #[tokio::test]
    async fn all_parties_together_have_few_threads() {
        let (resolver, release) = slow();
        let lookups: Vec<_> = (0..2 * MAX_LOOKUPS as u128)
            .map(|number| {
                let resolver = resolver.clone();
                tokio::spawn(async move { resolver.first_address(party(number), "slow.example", 7444).await })
            })
            .collect();
        let mut busy = 0;
        for lookup in lookups {
            busy += usize::from(lookup.await.unwrap() == Err(Unresolved::Busy));
            assert!(resolver.lookups() <= MAX_LOOKUPS);
        }
        assert_eq!(busy, MAX_LOOKUPS);
        release();
    }
}

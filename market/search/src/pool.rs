//! The threads that run searches, and the scheduling of searches on them.
//!
//! Searches have threads of their own. In a pool shared with other work, such as name resolution, that work could occupy
//! all threads.

use std::{
    io,
    num::NonZeroUsize,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use souk_domain::PartyId;
use tokio::{sync::oneshot, time::timeout};

use super::{
    SearchError,
    turns::{Bounds, Turns},
};

/// Threads for each core. One party can occupy half of them, enough to use all cores. The other half is for the searches
/// of other parties, which the operating system schedules alongside.
const THREADS_PER_CORE: usize = 2;
/// The minimum and maximum number of threads.
const THREADS: (usize, usize) = (4, 64);
/// The maximum number of searches of one party that wait for a thread.
const MAX_WAITING_OF_PARTY: usize = 64;
/// The cost that is charged for a search that panicked.
const PANIC_COST: u64 = 100_000;
/// How long a search waits for a thread. With the time to respond, it stays within the promised 50 ms.
const THREAD_WAIT: Duration = Duration::from_millis(45);

/// The threads. They end when this is dropped, after the search that they run.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    threads: usize,
}

struct State {
    turns: Turns<PartyId, Job>,
    running: usize,
    is_closed: bool,
}

/// Returns what it cost, in postings read.
type Job = Box<dyn FnOnce() -> u64 + Send>;

/// The claim to a waiting job: either a thread starts it or its caller gives it up, but not both.
#[derive(Default)]
struct Claim(AtomicBool);

impl Claim {
    /// Takes the claim. Returns `false` if it was taken before.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

impl Pool {
    /// Starts the threads.
    pub(super) fn start() -> io::Result<Self> {
        let (least, most) = THREADS;
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = (cores * THREADS_PER_CORE).clamp(least, most);
        let bounds = Bounds { waiting: MAX_WAITING_OF_PARTY, running: threads / 2 };
        let state = State { turns: Turns::new(bounds), running: 0, is_closed: false };
        let shared = Shared { state: Mutex::new(state), wake: Condvar::new(), threads };
        // Created first, so that the threads that were started end if another one can't be.
        let pool = Self { shared: Arc::new(shared) };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new().name(format!("souk-search-{number}")).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Runs a search of a party on a thread. The search returns its result, and what it cost in postings read.
    ///
    /// # Errors
    ///
    /// Returns [`SearchError::Overloaded`] if the party already has [`MAX_WAITING_OF_PARTY`] searches waiting, or if all
    /// threads, or the party's share of them, are busy for [`THREAD_WAIT`].
    pub(super) async fn run<T: Send + 'static>(
        &self,
        party: PartyId,
        search: impl FnOnce() -> (T, u64) + Send + 'static,
    ) -> Result<T, SearchError> {
        let claim = Arc::new(Claim::default());
        let (answer, mut answered) = oneshot::channel();
        let of_job = Arc::clone(&claim);
        let job = move || {
            // Nobody waits for a search that was given up, or whose call has ended.
            if !of_job.take() || answer.is_closed() {
                return 0;
            }
            let (found, cost) = search();
            // Fails only if the call ends meanwhile.
            let _ = answer.send(found);
            cost
        };
        self.shared.lock().turns.push(party, Box::new(job)).map_err(|_| SearchError::Overloaded)?;
        self.shared.wake.notify_one();
        let answer = loop {
            match timeout(THREAD_WAIT, &mut answered).await {
                Ok(answer) => break answer,
                // A thread is free and about to begin: only the machine is slow, so that another attempt would not help.
                Err(_) if !self.shared.is_busy_for(party) => {}
                Err(_) if claim.take() => return Err(SearchError::Overloaded),
                Err(_) => break answered.await,
            }
        };
        answer.map_err(|_| SearchError::Thread("it ended without an answer".to_owned()))
    }

    /// Returns for how long the searches of each party ran that have ended since the last time.
    pub(super) fn take_used(&self) -> Vec<(PartyId, Duration)> {
        let used = self.shared.lock().turns.take_used();
        used.into_iter().map(|(party, nanos)| (party, Duration::from_nanos(nanos))).collect()
    }

    /// Returns the number of threads.
    pub(super) fn threads(&self) -> usize {
        self.shared.threads
    }

    /// Returns the number of searches that occupy a thread.
    pub(super) fn running(&self) -> usize {
        self.shared.lock().running
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some((party, job)) = self.next() {
            let begun = Instant::now();
            // A panic in the index library ends the search, not the thread. The caller's channel is dropped with the
            // job, which reports it.
            let cost = panic::catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
                tracing::error!("a search panicked");
                PANIC_COST
            });
            let time = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let mut state = self.lock();
            state.running -= 1;
            state.turns.finish(party, cost, time);
        }
    }

    /// Returns whether no thread could begin a search of a party now.
    fn is_busy_for(&self, party: PartyId) -> bool {
        let state = self.lock();
        state.running >= self.threads || !state.turns.may_start(party)
    }

    /// Waits for the next search; `None` once the pool is closed.
    fn next(&self) -> Option<(PartyId, Job)> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(next) = state.turns.pop() {
                state.running += 1;
                return Some(next);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Locks the queues. A poisoned lock is safe to use: no search runs under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn party(number: u128) -> PartyId {
        PartyId(Uuid::from_u128(number))
    }

    /// Waits until this many searches run.
    async fn until_running(pool: &Pool, searches: usize) {
        let running = async {
            while pool.running() != searches {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), running).await.expect("the threads begin");
    }

    /// A door at which searches wait on their threads.
    #[derive(Default)]
    struct Door {
        is_open: Mutex<bool>,
        opened: Condvar,
    }

    impl Door {
        fn pass(&self) {
            let closed = self.is_open.lock().unwrap();
            drop(self.opened.wait_while(closed, |is_open| !*is_open).unwrap());
        }

        fn open(&self) {
            *self.is_open.lock().unwrap() = true;
            self.opened.notify_all();
        }
    }

    #[tokio::test]
    async fn endless_searches_of_one_party_delay_only_its_own() {
        let (pool, door) = (Arc::new(Pool::start().unwrap()), Arc::new(Door::default()));
        let endless = || {
            let (pool, door) = (Arc::clone(&pool), Arc::clone(&door));
            tokio::spawn(async move { pool.run(party(1), move || (door.pass(), 1)).await })
        };
        let flood: Vec<_> = (0..2 * MAX_WAITING_OF_PARTY).map(|_| endless()).collect();
        until_running(&pool, pool.threads() / 2).await;
        for number in 0..100 {
            assert_eq!(pool.run(party(2), move || (number, 1)).await.unwrap(), number);
        }
        door.open();
        let mut found = 0;
        for search in flood {
            match search.await.unwrap() {
                Ok(()) => found += 1,
                Err(error) => assert!(matches!(error, SearchError::Overloaded), "{error}"),
            }
        }
        assert!(found >= pool.threads() / 2);
    }

    #[tokio::test]
    async fn panic_ends_the_search_and_not_the_thread() {
        let pool = Pool::start().unwrap();
        for _ in 0..2 * THREADS.1 {
            let panicked = pool.run::<()>(party(1), || panic!("a defect")).await;
            assert!(matches!(panicked, Err(SearchError::Thread(_))), "{panicked:?}");
        }
        assert_eq!(pool.run(party(1), || (7, 1)).await.unwrap(), 7);
        until_running(&pool, 0).await;
    }
}

//! Remembers which events the user has received.
//!
//! The market delivers at least once; this module makes that *once each to the user*. An event is marked when
//! its consumer takes it, and acknowledged to the market only after the mark is on disk. A client that is
//! killed between showing an event and marking it shows it again: that one overlap remains.
//!
//! Events are known by their `event_id`, which is the same in every delivery. The last [`REMEMBERED`] ids are
//! kept, many more than can be unacknowledged at a time ([`follow`] and [`inbox`] bound that), so an older id
//! can't be delivered again. Sequence numbers alone would not suffice: a market that was set up again at the
//! same address counts from 1 again, and its events must not be lost.
//!
//! [`follow`]: crate::follow
//! [`inbox`]: crate::inbox

mod file;

use std::{
    collections::{HashSet, VecDeque},
    fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::MarketAddresses;
use file::{Entry, SeenFile};

/// The number of event ids that are remembered.
pub const REMEMBERED: usize = 1_024;

/// The events that one party has received, in memory or on disk. Clones share the state.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use souk_client::{Seen, follow::follow};
///
/// # async fn example(connection: souk_client::Connection) -> std::io::Result<()> {
/// let folder = Path::new("/var/lib/shop/seen");
/// let seen = Seen::open(folder, connection.market(), connection.party())?;
/// let (follower, notices) = follow(connection, seen);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Seen {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: Option<SeenFile>,
    state: Mutex<State>,
    /// Held while the file is written, so that an older state can't replace a newer one.
    writing: Mutex<()>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The events taken, oldest first.
    taken: VecDeque<Entry>,
    taken_ids: HashSet<Arc<str>>,
    /// The events that wait with a consumer, neither taken nor dropped yet.
    offered: HashSet<Arc<str>>,
    unsaved: bool,
}

/// What to do with a newly received event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is new and must be passed to the consumer.
    New,
    /// An earlier copy is waiting with the consumer.
    Waiting,
    /// The consumer has had it.
    Acknowledged,
}

impl Seen {
    /// Remembers events in memory, for the lifetime of the process.
    pub fn in_memory() -> Self {
        Self::with(None, State::default())
    }

    /// Remembers events in a file in `folder`, one per market and party. The folder is created if it is
    /// missing. A damaged file is replaced by an empty one; at worst, an event is then shown twice.
    ///
    /// # Errors
    /// The folder can't be created, or the file can't be read.
    pub fn open(folder: &Path, market: &MarketAddresses, party: Uuid) -> io::Result<Self> {
        Self::open_as(folder, market, party, "")
    }

    /// Like [`open`](Self::open), with a file for each consumer; an empty name stands for the unnamed one.
    ///
    /// # Errors
    /// The folder can't be created, or the file can't be read.
    pub fn open_as(folder: &Path, market: &MarketAddresses, party: Uuid, consumer: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = SeenFile::new(folder, market.sorted(), party, consumer);
        let taken = file.read()?;
        let taken_ids = taken.iter().map(|entry| Arc::clone(&entry.event_id)).collect();
        Ok(Self::with(Some(file), State { taken, taken_ids, ..State::default() }))
    }

    /// Returns the highest sequence that was taken; 0 if none was.
    pub fn watermark(&self) -> i64 {
        self.state().taken.iter().map(|entry| entry.sequence).max().unwrap_or(0)
    }

    /// Returns whether the consumer has had this event.
    pub fn contains(&self, event_id: &str) -> bool {
        self.state().taken_ids.contains(event_id)
    }

    /// Records that an event is passed to the consumer, unless it is there already.
    pub(crate) fn offer(&self, event_id: &str) -> Offer {
        let mut state = self.state();
        if state.taken_ids.contains(event_id) {
            Offer::Acknowledged
        } else if !state.offered.insert(event_id.into()) {
            Offer::Waiting
        } else {
            Offer::New
        }
    }

    /// Records that the consumer has taken the event.
    pub(crate) fn take(&self, sequence: i64, event_id: &str) {
        let mut state = self.state();
        state.offered.remove(event_id);
        let id: Arc<str> = event_id.into();
        if state.taken_ids.insert(Arc::clone(&id)) {
            state.taken.push_back(Entry { sequence, event_id: id });
            state.unsaved = true;
        }
        while state.taken.len() > REMEMBERED {
            if let Some(oldest) = state.taken.pop_front() {
                state.taken_ids.remove(&oldest.event_id);
            }
        }
        drop(state);
        self.shared.changes.send_modify(|count| *count += 1);
    }

    /// Records that the consumer dropped the event without taking it, so that it may be offered again.
    pub(crate) fn release(&self, event_id: &str) {
        self.state().offered.remove(event_id);
        self.shared.changes.send_modify(|count| *count += 1);
    }

    /// Returns whether an event was offered and is still with the consumer.
    pub(crate) fn is_waiting(&self, event_id: &str) -> bool {
        self.state().offered.contains(event_id)
    }

    /// Returns a channel that reports every [`take`](Self::take) and [`release`](Self::release) from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Writes the events taken to disk, if there is a file and anything has changed. Call it before
    /// acknowledging to the market.
    ///
    /// # Errors
    /// The file can't be written; the events taken remain marked in memory.
    pub(crate) async fn save(&self) -> io::Result<()> {
        if self.shared.file.is_none() || !self.state().unsaved {
            return Ok(());
        }
        let seen = self.clone();
        tokio::task::spawn_blocking(move || seen.write()).await.map_err(io::Error::other)?
    }

    fn write(&self) -> io::Result<()> {
        let Some(file) = &self.shared.file else { return Ok(()) };
        let _writing = self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = {
            let mut state = self.state();
            state.unsaved = false;
            state.taken.clone()
        };
        file.write(taken).inspect_err(|_| self.state().unsaved = true)
    }

    fn with(file: Option<SeenFile>, state: State) -> Self {
        let shared = Shared {
            file,
            state: Mutex::new(state),
            writing: Mutex::new(()),
            changes: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state consistent, so a panic elsewhere does no harm.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(text: &str) -> MarketAddresses {
        text.parse().expect("an address")
    }

    async fn give(seen: &Seen, sequence: i64, event_id: &str) {
        assert_eq!(seen.offer(event_id), Offer::New);
        seen.take(sequence, event_id);
        seen.save().await.expect("saved");
    }

    #[test]
    fn an_event_is_offered_once_until_it_is_let_go() {
        let seen = Seen::in_memory();
        assert_eq!(seen.offer("a"), Offer::New);
        assert_eq!(seen.offer("a"), Offer::Waiting);
        seen.release("a");
        assert_eq!(seen.offer("a"), Offer::New);
        seen.take(1, "a");
        assert_eq!(seen.offer("a"), Offer::Acknowledged);
        assert_eq!(seen.watermark(), 1);
    }

    #[test]
    fn events_of_a_market_that_counts_from_one_again_are_accepted() {
        let seen = Seen::in_memory();
        seen.take(9_000, "before");
        assert_eq!(seen.offer("after"), Offer::New, "its sequence 1 is below the watermark");
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let seen = Seen::in_memory();
        for n in 0..=REMEMBERED {
            seen.take(n as i64, &n.to_string());
        }
        assert!(!seen.contains("0"));
        assert!(seen.contains("1"));
        assert_eq!(seen.state().taken.len(), REMEMBERED);
        assert_eq!(seen.state().taken_ids.len(), REMEMBERED);
    }

    #[tokio::test]
    async fn what_was_taken_survives_a_restart_for_its_own_market_and_party_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let (here, there) = (dial("souk.example:50051"), dial("souk.example:50052"));
        let (alice, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        give(&Seen::open(folder.path(), &here, alice).expect("opened"), 7, "a").await;

        let again = Seen::open(folder.path(), &here, alice).expect("opened");
        assert_eq!(again.offer("a"), Offer::Acknowledged);
        assert_eq!(again.watermark(), 7);
        assert!(!Seen::open(folder.path(), &there, alice).expect("opened").contains("a"));
        assert!(!Seen::open(folder.path(), &here, bob).expect("opened").contains("a"));
    }

    #[tokio::test]
    async fn each_consumer_has_its_own_record() {
        let folder = tempfile::tempdir().expect("a folder");
        let (market, party) = (dial("souk.example:50051"), Uuid::from_u128(1));
        give(&Seen::open_as(folder.path(), &market, party, "a").expect("opened"), 1, "x").await;
        assert!(Seen::open_as(folder.path(), &market, party, "a").expect("opened").contains("x"));
        assert!(!Seen::open_as(folder.path(), &market, party, "b").expect("opened").contains("x"));
        assert!(!Seen::open(folder.path(), &market, party).expect("opened").contains("x"));
    }

    #[tokio::test]
    async fn what_was_only_offered_comes_again_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (market, party) = (dial("souk.example:50051"), Uuid::from_u128(1));
        let seen = Seen::open(folder.path(), &market, party).expect("opened");
        give(&seen, 1, "a").await;
        assert_eq!(seen.offer("b"), Offer::New);
        seen.save().await.expect("saved");

        let again = Seen::open(folder.path(), &market, party).expect("opened");
        assert_eq!(again.offer("b"), Offer::New);
    }
}

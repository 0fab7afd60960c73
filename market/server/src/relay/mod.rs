//! The relay: delivers events to their recipients.
//!
//! **Guarantee.** An event in a mailbox reaches its recipient *at least once* within its retention (at least 30 days for
//! orders, 72 hours for item updates), despite failures in between. Per recipient, first deliveries are in the order of
//! their sequences; hence per recipient and item, versions never go back. An event has the same id in every delivery, so
//! that clients can drop duplicates.
//!
//! **Consumers.** All of this holds for each consumer of a mailbox. The unnamed consumer is the callback or a stream
//! without a name, and works under the mailbox's lease. Named consumers are streams with cursors and leases of their
//! own. An event is removed when every consumer has acknowledged it.
//!
//! **Mechanism.** Events are committed to mailboxes together with the change that they report (a transactional
//! outbox). The relay *claims* a due mailbox under a lease, *sends* one batch, and *settles* under the claim's epoch.
//! No transaction is open while it waits for the network. Only events that the recipient has acknowledged are
//! removed. If a relay dies or hangs beyond its lease, the mailbox is claimed again with a higher epoch, which makes
//! a late settlement void (a fencing token).
//!
//! **Cost.** A commit merely [wakes](RelayHandle::wake) the relay, which never blocks. A dead callback occupies one
//! sending slot for a bounded time and is then retried at growing intervals, in slots apart from those of callbacks
//! that answer (`slots`).

mod backoff;
mod cleaner;
mod dialer;
mod expander;
mod hold;
mod sender;
mod slots;
mod subscribe;
mod subscribers;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
pub use dialer::{CALLBACK_CONNECTIONS, Dialer, ProbeFailure};
pub use slots::InProgress;
use souk_domain::{Callback, PartyId, Role, Sequence, TillId};
use souk_store::{
    ByReliability, CONSUMER_RETENTION, Clocks, Consumers, DEAD_LETTER_RETENTION, DeadLetters, LeaseEpoch,
    LeaseOwner, Mailboxes, Settlement, StoreError, Tracks,
};
pub use subscribe::{Reader, SubscribeEnd, SubscribeItem};
use tokio::{
    sync::{Notify, mpsc},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{access::Suspended, clock::SteadyClock, config::RetentionConfig, random::Random};
use subscribe::Reading;
use subscribers::Subscribers;

/// Maximum number of events in a batch, and of events that a stream reads at a time.
pub const BATCH_EVENTS: usize = 64;
/// Maximum size of a batch in bytes, unless its first event alone is larger.
pub const BATCH_BYTES: usize = 256 * 1024;
/// Duration of a lease on a mailbox. Longer than any delivery attempt.
pub const LEASE: Duration = Duration::from_secs(30);
/// Capacity of the queue of parties whose mailboxes are to be made due early. If it is full, a party waits for its
/// regular next attempt.
const PROBES: usize = 1_024;

/// The dependencies of the [`Relay`].
pub struct RelayParts {
    /// The mailboxes with the events to deliver.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// The named consumers of the mailboxes.
    pub consumers: Arc<dyn Consumers>,
    /// What the mailboxes have dropped.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// The positions of rides, of which the relay deletes expired ones.
    pub tracks: Arc<dyn Tracks>,
    /// Connects to callback servers.
    pub dialer: Dialer,
    /// The suspended parties, which can't open a stream.
    pub suspended: Suspended,
    /// How long events, requests and positions are kept.
    pub retention: RetentionConfig,
    /// The clock for leases, retries and retention: no reading of the wall clock expires or postpones anything.
    pub clock: SteadyClock,
    /// The store's side of the clock, which lowers due times from before it.
    pub clocks: Arc<dyn Clocks>,
    /// Makes ids, and spreads attempts.
    pub random: Random,
}

/// The relay's tasks. They run on the runtime on which it was started.
pub struct Relay {
    handle: RelayHandle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A handle to the relay, by which other components notify it. Cheap to clone; notifying never blocks.
#[derive(Clone)]
pub struct RelayHandle {
    shared: Arc<Shared>,
    probes: mpsc::Sender<PartyId>,
}

struct Shared {
    mailboxes: Arc<dyn Mailboxes>,
    consumers: Arc<dyn Consumers>,
    dead_letters: Arc<dyn DeadLetters>,
    tracks: Arc<dyn Tracks>,
    dialer: Dialer,
    suspended: Suspended,
    retention: RetentionConfig,
    clock: SteadyClock,
    clocks: Arc<dyn Clocks>,
    random: Random,
    owner: LeaseOwner,
    subscribers: Subscribers,
    slots: slots::Slots,
    /// The number of mailboxes that were due when they were counted last.
    due_mailboxes: ArcSwap<ByReliability>,
    cleaning: cleaner::Progress,
    /// The number of deliveries that were dropped.
    dropped: AtomicU64,
    /// The queue of settlements, once the relay sends.
    settling: OnceLock<mpsc::WeakSender<Settlement>>,
    due: Notify,
    expand: Notify,
    stop: CancellationToken,
}

impl Relay {
    /// Starts the tasks that deliver events and delete expired data.
    pub fn start(parts: RelayParts) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            mailboxes: parts.mailboxes,
            consumers: parts.consumers,
            dead_letters: parts.dead_letters,
            tracks: parts.tracks,
            dialer: parts.dialer,
            suspended: parts.suspended,
            retention: parts.retention,
            clock: parts.clock,
            clocks: parts.clocks,
            random: parts.random,
            // New at each start: after a crash the leases of the previous process are foreign and run out,
            // instead of being taken for our own.
            owner: LeaseOwner(parts.random.uuid_v4()),
            subscribers: Subscribers::default(),
            slots: slots::Slots::new(),
            due_mailboxes: ArcSwap::default(),
            cleaning: cleaner::Progress::default(),
            dropped: AtomicU64::new(0),
            settling: OnceLock::new(),
            due: Notify::new(),
            expand: Notify::new(),
            stop: stop.clone(),
        });
        let (probes, probed) = mpsc::channel(PROBES);
        let tasks = TaskTracker::new();
        tasks.spawn(sender::run(Arc::clone(&shared)));
        tasks.spawn(expander::expand(Arc::clone(&shared)));
        tasks.spawn(cleaner::clean(Arc::clone(&shared)));
        tasks.spawn(probe(Arc::clone(&shared), probed));
        Self { handle: RelayHandle { shared, probes }, stop, tasks }
    }

    /// Returns a handle for other components.
    pub fn handle(&self) -> RelayHandle {
        self.handle.clone()
    }

    /// Ends all streams, stops claiming mailboxes, and waits at most `patience` for deliveries in progress.
    pub async fn shut_down(self, patience: Duration) {
        self.stop.cancel();
        // `wait` returns only once the tracker is closed.
        self.tasks.close();
        if time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("some deliveries were still in progress; they will be repeated");
        }
    }
}

impl RelayHandle {
    /// Notifies the relay that a commit has added events to these mailboxes. `has_callback` is whether one of them may
    /// have a callback: if none has, nothing has become due, and the relay does not look for due mailboxes.
    pub fn wake(&self, recipients: &[PartyId], has_callback: bool) {
        self.shared.wake(recipients, has_callback);
    }

    /// Notifies the relay that a commit has left a wishlist event to be expanded.
    pub fn expand(&self) {
        self.shared.expand.notify_one();
    }

    /// Makes a party's mailbox due now, because the party has been seen online and the back-off is no longer needed.
    pub fn probe(&self, party: PartyId) {
        // If the queue is full, the party waits for its regular next attempt.
        let _ = self.probes.try_send(party);
    }

    /// Delivers to a party's callback now, because the party has announced that its server is listening. Unlike
    /// [`probe`](Self::probe), it does not depend on room in a queue.
    pub async fn announce(&self, party: PartyId) -> Result<(), StoreError> {
        let shared = &self.shared;
        if shared.mailboxes.probe(party, shared.clock.now()).await? {
            shared.due.notify_one();
        }
        Ok(())
    }

    /// Wakes the streams of these mailboxes, to which another market has added events. That market delivers to
    /// callbacks.
    pub fn wake_streams(&self, mailboxes: &[PartyId]) {
        for mailbox in mailboxes {
            self.shared.subscribers.wake(*mailbox);
        }
    }

    /// Ends the stream of a mailbox if another market has claimed it with a higher epoch.
    pub fn overtaken(&self, mailbox: PartyId, epoch: LeaseEpoch) {
        self.shared.subscribers.overtake(mailbox, epoch);
    }

    /// Returns the mailboxes with an open stream at this market.
    pub fn followed(&self) -> Vec<PartyId> {
        self.shared.subscribers.mailboxes()
    }

    /// Ends the streams of a suspended party and of its tills.
    pub fn end_stream(&self, party: PartyId) {
        self.shared.subscribers.expel(party);
    }

    /// Ends the stream of a removed till.
    pub fn end_till_stream(&self, till: TillId) {
        self.shared.subscribers.close(till.mailbox());
    }

    /// Drops the connections to callback servers, after a change of the market's certificate or revocation lists.
    pub fn hang_up(&self) {
        self.shared.dialer.hang_up();
    }

    /// Verifies that a party's own callback server responds at an address.
    pub async fn probe_callback(
        &self,
        callback: &Callback,
        role: Role,
        party: PartyId,
    ) -> Result<(), ProbeFailure> {
        self.shared.dialer.probe(callback, role, party).await
    }

    /// Streams a party's mailbox to one of its consumers, after moving the consumer's cursor to `cursor`. The
    /// unnamed one ends its earlier stream, and the callback is not called while the stream is open.
    pub async fn subscribe(
        &self,
        party: PartyId,
        reader: Reader,
        cursor: Sequence,
    ) -> Result<impl futures::Stream<Item = Result<SubscribeItem, SubscribeEnd>> + Send + use<>, SubscribeEnd>
    {
        let reading = Reading { mailbox: party, owner: party, reader, cursor };
        subscribe::open(Arc::clone(&self.shared), reading).await
    }

    /// Like [`RelayHandle::subscribe`], for the mailbox of a seller's till, which has only the unnamed consumer.
    pub async fn subscribe_till(
        &self,
        till: TillId,
        seller: PartyId,
        cursor: Sequence,
    ) -> Result<impl futures::Stream<Item = Result<SubscribeItem, SubscribeEnd>> + Send + use<>, SubscribeEnd>
    {
        let reading = Reading { mailbox: till.mailbox(), owner: seller, reader: Reader::Unnamed, cursor };
        subscribe::open(Arc::clone(&self.shared), reading).await
    }

    /// Returns the number of deliveries in progress.
    pub fn in_progress(&self) -> InProgress {
        self.shared.slots.in_progress()
    }

    /// Returns the number of mailboxes that were due a few seconds ago, for each kind of callback.
    pub fn due(&self) -> ByReliability {
        **self.shared.due_mailboxes.load()
    }

    /// Returns the number of parties that wait to be made due early.
    pub fn queued_probes(&self) -> usize {
        self.probes.max_capacity() - self.probes.capacity()
    }

    /// Returns the number of finished deliveries that wait to be recorded.
    pub fn queued_settlements(&self) -> usize {
        let queue = self.shared.settling.get().and_then(mpsc::WeakSender::upgrade);
        queue.map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Returns the number of deliveries dropped since the start: their retention ended, or the callback refused them
    /// repeatedly.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of connections to callback servers that are kept open.
    pub fn callback_connections(&self) -> usize {
        self.shared.dialer.connections()
    }

    /// Returns the number of expired rows deleted since the start.
    pub fn cleaned_rows(&self) -> u64 {
        self.shared.cleaning.deleted()
    }

    /// Returns for how long rows past their retention have been waiting to be deleted.
    pub fn cleaning_backlog(&self) -> Duration {
        self.shared.cleaning.backlog()
    }

    /// Returns the number of open streams.
    pub fn subscribers(&self) -> usize {
        self.shared.subscribers.len()
    }
}

impl Shared {
    fn note_dropped(&self, deliveries: usize) {
        self.dropped.fetch_add(u64::try_from(deliveries).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn wake(&self, recipients: &[PartyId], has_callback: bool) {
        let mut by_callback = false;
        for recipient in recipients {
            // Not `any`, which would stop at the first callback and leave the remaining streams asleep.
            by_callback |= !self.subscribers.wake(*recipient);
        }
        if by_callback && has_callback {
            self.due.notify_one();
        }
    }
}

async fn probe(shared: Arc<Shared>, mut probed: mpsc::Receiver<PartyId>) {
    loop {
        let party = tokio::select! {
            () = shared.stop.cancelled() => return,
            party = probed.recv() => party,
        };
        let Some(party) = party else { return };
        match shared.mailboxes.probe(party, shared.clock.now()).await {
            Ok(true) => shared.due.notify_one(),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a mailbox could not be made due"),
        }
    }
}

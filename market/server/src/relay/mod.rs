//! The relay: brings events to those they are for.
//!
//! **What is promised.** An event that is in a mailbox reaches its recipient *at least once* within its
//! retention (orders 30 days, item updates 72 hours), whatever fails in between. Per recipient, first
//! deliveries come in the order of their sequences; so per recipient and item, versions never go back.
//! An event has the same id in every delivery, by which a client drops what it has seen.
//!
//! **How.** Events are committed to mailboxes together with what they tell of. The relay *claims* a
//! mailbox that is due under a lease, *sends* one batch, and *settles* under the claim's epoch; no
//! transaction is ever open while it waits for the network. Only what the recipient has acknowledged is
//! taken out. A relay that dies, or hangs past its lease, is followed by another claim with a higher
//! epoch, under which its late settlement is void.
//!
//! **Who pays.** A commit merely [wakes](RelayHandle::wake) the relay, which never blocks. A dead
//! callback costs one sending slot for a bounded time, and then waits ever longer for its next attempt.

mod backoff;
mod dialer;
mod expander;
mod sender;
mod subscribe;
mod subscribers;

use std::{sync::Arc, time::Duration};

pub use dialer::{Dialer, ProbeFailure};
use souk_domain::{Callback, PartyId, Role, Sequence, TillId};
use souk_store::{LeaseEpoch, LeaseOwner, Mailboxes, Retention, Tracks};
pub use subscribe::{SubscribeEnd, SubscribeItem};
use tokio::{
    sync::{Notify, mpsc},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{access::Suspended, clock::Clock, random::Random};
use subscribers::Subscribers;

/// The most events of one batch, and of one step of a stream.
pub const BATCH_EVENTS: usize = 64;
/// The most bytes of one batch, unless its first event alone is larger.
pub const BATCH_BYTES: usize = 256 * 1024;
/// How long a claim holds.
pub const LEASE: Duration = Duration::from_secs(30);
/// How many recipients are sent to at a time.
pub const SENDING: usize = 64;
/// How long what is not delivered is kept.
pub const RETENTION: Retention =
    Retention { updates: Duration::from_secs(72 * 3_600), orders: Duration::from_secs(30 * 24 * 3_600) };
/// How long request ids are kept for replays; the contract promises 30 days.
pub const REQUEST_RETENTION: Duration = Duration::from_secs(31 * 24 * 3_600);
/// How long it is kept where rides have been.
pub const TRACK_RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Parties that have shown signs of life and wait for their mailboxes to be made due. Further ones are
/// left to their next attempt.
const PROBES: usize = 1_024;

/// What the relay works with.
pub struct RelayParts {
    /// What waits.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// What is to be forgotten in time.
    pub tracks: Arc<dyn Tracks>,
    /// Reaches the recipients.
    pub dialer: Dialer,
    /// Who gets no stream.
    pub suspended: Suspended,
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids, and spreads attempts.
    pub random: Random,
}

/// The relay's tasks; they run on the runtime that it was started on.
pub struct Relay {
    handle: RelayHandle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Tells the relay what happened. Cheap to clone; nothing here blocks.
#[derive(Clone)]
pub struct RelayHandle {
    shared: Arc<Shared>,
    probes: mpsc::Sender<PartyId>,
}

struct Shared {
    mailboxes: Arc<dyn Mailboxes>,
    tracks: Arc<dyn Tracks>,
    dialer: Dialer,
    suspended: Suspended,
    clock: Clock,
    random: Random,
    owner: LeaseOwner,
    subscribers: Subscribers,
    due: Notify,
    expand: Notify,
    stop: CancellationToken,
}

impl Relay {
    /// Starts delivering.
    pub fn start(parts: RelayParts) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            mailboxes: parts.mailboxes,
            tracks: parts.tracks,
            dialer: parts.dialer,
            suspended: parts.suspended,
            clock: parts.clock,
            random: parts.random,
            owner: LeaseOwner(parts.random.uuid_v4()),
            subscribers: Subscribers::default(),
            due: Notify::new(),
            expand: Notify::new(),
            stop: stop.clone(),
        });
        let (probes, probed) = mpsc::channel(PROBES);
        let tasks = TaskTracker::new();
        tasks.spawn(sender::run(Arc::clone(&shared)));
        tasks.spawn(expander::expand(Arc::clone(&shared)));
        tasks.spawn(expander::clean(Arc::clone(&shared)));
        tasks.spawn(probe(Arc::clone(&shared), probed));
        Self { handle: RelayHandle { shared, probes }, stop, tasks }
    }

    /// For those who have something to tell.
    pub fn handle(&self) -> RelayHandle {
        self.handle.clone()
    }

    /// Ends all streams, claims nothing more, and waits for what is being sent, for this long at the most.
    pub async fn shut_down(self, patience: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("some deliveries were still under way; they will be made again");
        }
    }
}

impl RelayHandle {
    /// A commit has put something into these mailboxes.
    pub fn wake(&self, recipients: &[PartyId]) {
        self.shared.wake(recipients);
    }

    /// A commit has left an event for wishers to be expanded.
    pub fn expand(&self) {
        self.shared.expand.notify_one();
    }

    /// A party has shown signs of life: what waits for it is worth an attempt now.
    pub fn probe(&self, party: PartyId) {
        // When very many come back at once, some wait for their next attempt.
        let _ = self.probes.try_send(party);
    }

    /// Another market has put something into these mailboxes: whoever follows one here is sent it. Callbacks
    /// are that market's business.
    pub fn wake_streams(&self, mailboxes: &[PartyId]) {
        for mailbox in mailboxes {
            self.shared.subscribers.wake(*mailbox);
        }
    }

    /// Another market has claimed a mailbox: a stream here under an older claim ends.
    pub fn overtaken(&self, mailbox: PartyId, epoch: LeaseEpoch) {
        self.shared.subscribers.overtake(mailbox, epoch);
    }

    /// The mailboxes that are followed here by a stream.
    pub fn followed(&self) -> Vec<PartyId> {
        self.shared.subscribers.mailboxes()
    }

    /// Ends a party's streams: it is shut out.
    pub fn end_stream(&self, party: PartyId) {
        self.shared.subscribers.expel(party);
    }

    /// Ends a till's stream: the till is gone.
    pub fn end_till_stream(&self, till: TillId) {
        self.shared.subscribers.close(till.mailbox());
    }

    /// Connects to every recipient anew from now on: the market's certificate or its revocation lists have
    /// changed.
    pub fn hang_up(&self) {
        self.shared.dialer.hang_up();
    }

    /// Proves that a party's own callback server answers at an address.
    pub async fn probe_callback(
        &self,
        callback: &Callback,
        role: Role,
        party: PartyId,
    ) -> Result<(), ProbeFailure> {
        self.shared.dialer.probe(callback, role, party).await
    }

    /// Streams a party's mailbox; everything up to `cursor` is taken out first. An earlier stream of the
    /// party ends, and its callback is not called while this one lasts.
    pub async fn subscribe(
        &self,
        party: PartyId,
        cursor: Sequence,
    ) -> Result<impl futures::Stream<Item = Result<SubscribeItem, SubscribeEnd>> + Send + use<>, SubscribeEnd>
    {
        subscribe::open(Arc::clone(&self.shared), party, party, cursor).await
    }

    /// Streams the mailbox of a till of a seller's, in the same way.
    pub async fn subscribe_till(
        &self,
        till: TillId,
        seller: PartyId,
        cursor: Sequence,
    ) -> Result<impl futures::Stream<Item = Result<SubscribeItem, SubscribeEnd>> + Send + use<>, SubscribeEnd>
    {
        subscribe::open(Arc::clone(&self.shared), till.mailbox(), seller, cursor).await
    }

    /// How many streams are open.
    pub fn subscribers(&self) -> usize {
        self.shared.subscribers.len()
    }
}

impl Shared {
    fn wake(&self, recipients: &[PartyId]) {
        let mut by_callback = false;
        for recipient in recipients {
            by_callback |= !self.subscribers.wake(*recipient);
        }
        if by_callback {
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

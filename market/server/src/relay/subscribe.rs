//! A stream of one mailbox, for one of its consumers.
//!
//! The stream of the unnamed consumer takes over the mailbox's lease, so that the relay does not call the callback
//! meanwhile; that of a named consumer takes the lease of the name. Either renews it. Events remain in the mailbox
//! until the client acknowledges them, with Acknowledge or the cursor of its next stream, so a broken stream loses
//! nothing.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use souk_domain::{ConsumerName, PartyId, Sequence, Timestamp};
use souk_store::{ConsumerOpening, ConsumerStream, Delivery, Missed, StoreError};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    BATCH_EVENTS, LEASE, Shared,
    hold::{Hold, Renewal},
    subscribers::{Place, Rejected, Subscription},
};

/// Capacity of the queue of messages to the client.
const STREAM_QUEUE: usize = 64;
/// Interval between renewals of the lease. A third of it, so that one failed renewal does not lose the lease.
const RENEW_INTERVAL: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// Maximum time for which the queue may stay full. Then the client is too slow.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all messages are deliveries")]
pub enum SubscribeItem {
    /// How the stream of a named consumer begins.
    Opened {
        /// Whether the stream has the name.
        kept: bool,
        /// The stream starts after this sequence.
        after: Sequence,
        /// What was dropped and the consumer has not confirmed.
        missed: Missed,
    },
    /// An event from the mailbox.
    Delivery(Delivery),
    /// Marks that every waiting event has been sent, up to this sequence.
    CaughtUp(Sequence),
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeEnd {
    /// A later stream of the same consumer took over, possibly at another market.
    #[error("another stream took over")]
    Replaced,
    /// The lease expired before it was renewed, and the mailbox was claimed by a relay.
    #[error("the lease on the mailbox ran out")]
    LeaseLost,
    /// The stream had no lease because another client had the name, which is free now.
    #[error("the consumer's name is free")]
    NameFree,
    /// The mailbox has the maximum number of consumers.
    #[error("the mailbox has the maximum number of consumers")]
    TooManyConsumers(Vec<ConsumerName>),
    /// The mailbox has the maximum number of streams.
    #[error("the mailbox has the maximum number of streams")]
    TooManyStreams,
    /// The client did not read its messages in time.
    #[error("the client reads too slowly")]
    TooSlow,
    /// The party has been suspended.
    #[error("the party is suspended")]
    Suspended,
    /// The mailbox belonged to a till that was removed.
    #[error("the till was removed")]
    Removed,
    /// The party has no mailbox because it has not registered.
    #[error("the party has not registered")]
    NotRegistered,
    /// The market is shutting down. The client should subscribe again.
    #[error("the market is shutting down")]
    ShuttingDown,
    /// The store failed to read or renew the mailbox.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Message = Result<SubscribeItem, SubscribeEnd>;

/// What a stream reads, and from where.
pub(super) struct Reading {
    /// The mailbox.
    pub(super) mailbox: PartyId,
    /// The party to which the mailbox or its till belongs.
    pub(super) owner: PartyId,
    /// The consumer.
    pub(super) reader: Reader,
    /// The sequence of the last event that the client has processed.
    pub(super) cursor: Sequence,
}

/// For whom a stream reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The unnamed consumer.
    Unnamed,
    /// A named consumer.
    Named(ConsumerStream),
    /// Nobody: the stream starts at the mailbox's end and is not kept.
    Watcher,
}

/// What opening found in the store.
struct Opened {
    hold: Hold,
    place: Place,
    /// The first message of the stream.
    greeting: Option<SubscribeItem>,
    /// The stream starts after this sequence.
    after: Sequence,
    last_sequence: Sequence,
}

impl Opened {
    /// Opens at the mailbox's end, for a stream that is not kept.
    fn at_end(hold: Hold, last_sequence: Sequence) -> Self {
        let missed = Missed::default();
        let greeting = SubscribeItem::Opened { kept: false, after: last_sequence, missed };
        Self { hold, place: Place::Guest, greeting: Some(greeting), after: last_sequence, last_sequence }
    }
}

/// Takes a lease for the consumer and starts to stream its events.
pub(super) async fn open(
    shared: Arc<Shared>,
    reading: Reading,
) -> Result<impl Stream<Item = Message> + Send + use<>, SubscribeEnd> {
    if shared.stop.is_cancelled() {
        return Err(SubscribeEnd::ShuttingDown);
    }
    let Reading { mailbox, owner, reader, cursor } = reading;
    let until = shared.clock.now().plus(LEASE);
    let opened = match reader {
        Reader::Unnamed => open_mailbox(&shared, mailbox, until).await?,
        Reader::Named(stream) => open_name(&shared, stream, until).await?,
        Reader::Watcher => watch(&shared, mailbox).await?,
    };
    let Opened { hold, place, greeting, after, last_sequence } = opened;
    let entered = shared.subscribers.enter(mailbox, owner, place);
    let subscription = entered.map_err(|rejected| match rejected {
        Rejected::Replaced => SubscribeEnd::Replaced,
        Rejected::TooMany => SubscribeEnd::TooManyStreams,
    })?;
    // Registered first, checked second: a suspension after this check finds the stream registered and ends it.
    if shared.suspended.contains(owner) {
        shared.subscribers.leave(&subscription);
        return Err(SubscribeEnd::Suspended);
    }
    let (messages, waiting) = mpsc::channel(STREAM_QUEUE);
    let (end, ended) = oneshot::channel();
    let renew_at = Instant::now() + RENEW_INTERVAL;
    // A cursor beyond the last sequence is from before the store was restored from an older backup. Send everything.
    let sent = if cursor > last_sequence { Sequence(0) } else { cursor };
    let follower =
        Follower { shared, mailbox, hold, subscription, messages, sent, after, held_until: until, renew_at };
    tokio::spawn(follower.run(greeting, end));
    // The end has its own channel: it follows the queued messages, and can be sent even if the queue is full.
    let ended = stream::once(ended).filter_map(async |end| end.ok().map(Err));
    Ok(ReceiverStream::new(waiting).map(Ok).chain(ended))
}

async fn open_mailbox(shared: &Shared, mailbox: PartyId, until: Timestamp) -> Result<Opened, SubscribeEnd> {
    let claim = shared.mailboxes.take_over(mailbox, shared.owner, until).await?;
    let claim = claim.ok_or(SubscribeEnd::NotRegistered)?;
    Ok(Opened {
        hold: Hold::Mailbox { mailbox, epoch: claim.epoch },
        place: Place::Unnamed(claim.epoch),
        greeting: None,
        // What the unnamed consumer has may still be in the mailbox, for the others.
        after: claim.acknowledged,
        last_sequence: claim.last_sequence,
    })
}

async fn watch(shared: &Shared, mailbox: PartyId) -> Result<Opened, SubscribeEnd> {
    let state = shared.mailboxes.state(mailbox).await?.ok_or(SubscribeEnd::NotRegistered)?;
    Ok(Opened::at_end(Hold::Watcher, Sequence(state.last_sequence)))
}

async fn open_name(
    shared: &Shared,
    stream: ConsumerStream,
    until: Timestamp,
) -> Result<Opened, SubscribeEnd> {
    match shared.consumers.open_consumer(&stream, shared.clock.now(), until).await? {
        ConsumerOpening::Held { epoch, acknowledged, last_sequence } => {
            let missed = shared.dead_letters.missed(stream.recipient, Some(&stream.name)).await?;
            Ok(Opened {
                place: Place::Named(stream.name.clone(), epoch),
                hold: Hold::Name { stream, epoch },
                greeting: Some(SubscribeItem::Opened { kept: true, after: acknowledged, missed }),
                after: acknowledged,
                last_sequence,
            })
        }
        ConsumerOpening::Guest { last_sequence } => Ok(Opened::at_end(Hold::Guest { stream }, last_sequence)),
        ConsumerOpening::Full(names) => Err(SubscribeEnd::TooManyConsumers(names)),
        ConsumerOpening::NoMailbox => Err(SubscribeEnd::NotRegistered),
    }
}

struct Follower {
    shared: Arc<Shared>,
    mailbox: PartyId,
    hold: Hold,
    subscription: Subscription,
    messages: mpsc::Sender<SubscribeItem>,
    /// The last sequence that was sent, or the client's cursor.
    sent: Sequence,
    /// The consumer has everything up to here.
    after: Sequence,
    held_until: Timestamp,
    renew_at: Instant,
}

impl Follower {
    async fn run(mut self, greeting: Option<SubscribeItem>, end: oneshot::Sender<SubscribeEnd>) {
        let Err(why) = self.follow(greeting).await;
        let Self { shared, hold, subscription, messages, .. } = self;
        shared.subscribers.leave(&subscription);
        if let Some(why) = why {
            // This fails if the client has disconnected meanwhile.
            let _ = end.send(why);
        }
        // End the stream now; the client need not wait for the release of the lease.
        drop(messages);
        // If the store is unavailable, the lease expires.
        if let Err(error) = hold.release(&shared).await {
            tracing::debug!(%error, "cannot release a lease; it will expire");
        }
        shared.due.notify_one();
    }

    /// Streams until the end, whose reason it returns. `None` means that the client has disconnected.
    async fn follow(&mut self, greeting: Option<SubscribeItem>) -> Result<Infallible, Option<SubscribeEnd>> {
        if self.sent > Sequence(0) {
            let acknowledged = self.hold.acknowledge(&self.shared, self.sent).await;
            acknowledged.map_err(|error| Some(error.into()))?;
        }
        if let Some(greeting) = greeting {
            self.send(greeting).await?;
        }
        let mut caught_up = false;
        loop {
            self.send_waiting().await?;
            if !caught_up {
                caught_up = true;
                self.send(SubscribeItem::CaughtUp(self.sent)).await?;
            }
            tokio::select! {
                () = self.subscription.wake.notified() => {}
                () = self.messages.closed() => return Err(None),
                end = self.ended() => return Err(Some(end)),
                () = time::sleep_until(self.renew_at) => self.renew().await?,
            }
        }
    }

    /// Sends the events after the last one sent, until none is waiting.
    async fn send_waiting(&mut self) -> Result<(), Option<SubscribeEnd>> {
        loop {
            let after = self.sent.max(self.after);
            let waiting = self.shared.mailboxes.hand_out(self.mailbox, after, BATCH_EVENTS).await;
            let waiting = waiting.map_err(|error| Some(error.into()))?;
            let page = waiting.len();
            for delivery in waiting {
                // Only within this stream. After a break, the client continues from its own cursor.
                self.sent = delivery.sequence;
                self.send(SubscribeItem::Delivery(delivery)).await?;
            }
            // A short page means that the mailbox is read to its end; what arrives later wakes the stream.
            if page < BATCH_EVENTS {
                return Ok(());
            }
        }
    }

    /// Sends one message, and renews the lease while it waits for a slow client.
    async fn send(&mut self, message: SubscribeItem) -> Result<(), Option<SubscribeEnd>> {
        let too_slow_at = Instant::now() + READ_TIMEOUT;
        loop {
            tokio::select! {
                room = self.messages.reserve() => {
                    room.map_err(|_| None)?.send(message);
                    break;
                }
                end = self.ended() => return Err(Some(end)),
                () = time::sleep_until(too_slow_at) => return Err(Some(SubscribeEnd::TooSlow)),
                () = time::sleep_until(self.renew_at) => {}
            }
            self.renew().await?;
        }
        // With a fast client the loop above never waits, so the lease must be renewed here too.
        if Instant::now() >= self.renew_at { self.renew().await } else { Ok(()) }
    }

    /// Waits until the stream must end for a reason outside of it.
    async fn ended(&self) -> SubscribeEnd {
        tokio::select! {
            () = self.subscription.replaced.cancelled() => SubscribeEnd::Replaced,
            () = self.subscription.expelled.cancelled() => SubscribeEnd::Suspended,
            () = self.subscription.removed.cancelled() => SubscribeEnd::Removed,
            () = self.shared.stop.cancelled() => SubscribeEnd::ShuttingDown,
        }
    }

    async fn renew(&mut self) -> Result<(), Option<SubscribeEnd>> {
        let now = self.shared.clock.now();
        let until = now.plus(LEASE);
        match self.hold.renew(&self.shared, now, until).await {
            Ok(Renewal::Held) => {
                self.held_until = until;
                self.renew_at = Instant::now() + RENEW_INTERVAL;
                Ok(())
            }
            Ok(Renewal::Free) => Err(Some(SubscribeEnd::NameFree)),
            // A relay claims only mailboxes without a valid lease, whereas a stream takes over valid leases. So if
            // ours was still valid, it was another stream.
            Ok(Renewal::Lost) if now > self.held_until => Err(Some(SubscribeEnd::LeaseLost)),
            Ok(Renewal::Lost) => Err(Some(SubscribeEnd::Replaced)),
            Err(error) => Err(Some(error.into())),
        }
    }
}

//! A stream of one mailbox.
//!
//! The stream takes over the mailbox's lease, so that the relay does not call the callback meanwhile, and renews it.
//! Events remain in the mailbox until the client acknowledges them, with Acknowledge or the cursor of its next
//! stream, so a broken stream loses nothing.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use souk_domain::{PartyId, Sequence, Timestamp};
use souk_store::{Claim, Delivery, Settlement, StoreError, Verdict};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{BATCH_EVENTS, LEASE, Shared, subscribers::Subscription};

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
    /// An event from the mailbox.
    Delivery(Delivery),
    /// Marks that every waiting event has been sent, up to this sequence.
    CaughtUp(Sequence),
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeEnd {
    /// A later stream of the same mailbox took over, possibly at another market.
    #[error("another stream took over")]
    Replaced,
    /// The lease expired before it was renewed, and the mailbox was claimed by a relay.
    #[error("the lease on the mailbox ran out")]
    LeaseLost,
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

/// Takes over the mailbox and starts to stream it. `owner` is the party to which the mailbox or its till belongs.
pub(super) async fn open(
    shared: Arc<Shared>,
    mailbox: PartyId,
    owner: PartyId,
    cursor: Sequence,
) -> Result<impl Stream<Item = Message> + Send + use<>, SubscribeEnd> {
    if shared.stop.is_cancelled() {
        return Err(SubscribeEnd::ShuttingDown);
    }
    let until = shared.clock.now().plus(LEASE);
    let claim = shared.mailboxes.take_over(mailbox, shared.owner, until).await?;
    let claim = claim.ok_or(SubscribeEnd::NotRegistered)?;
    let subscription = shared.subscribers.enter(mailbox, owner, claim.epoch).ok_or(SubscribeEnd::Replaced)?;
    // Registered first, checked second: a suspension after this check finds the stream registered and ends it.
    if shared.suspended.contains(owner) {
        shared.subscribers.leave(&subscription);
        return Err(SubscribeEnd::Suspended);
    }
    let (messages, waiting) = mpsc::channel(STREAM_QUEUE);
    let (end, ended) = oneshot::channel();
    let renew_at = Instant::now() + RENEW_INTERVAL;
    // A cursor beyond the last sequence is from before the store was restored from an older backup. Send everything.
    let sent = if cursor > claim.last_sequence { Sequence(0) } else { cursor };
    let follower = Follower { shared, claim, subscription, messages, sent, held_until: until, renew_at };
    tokio::spawn(follower.run(end));
    // The end has its own channel: it follows the queued messages, and can be sent even if the queue is full.
    let ended = stream::once(ended).filter_map(async |end| end.ok().map(Err));
    Ok(ReceiverStream::new(waiting).map(Ok).chain(ended))
}

struct Follower {
    shared: Arc<Shared>,
    claim: Claim,
    subscription: Subscription,
    messages: mpsc::Sender<SubscribeItem>,
    sent: Sequence,
    held_until: Timestamp,
    renew_at: Instant,
}

impl Follower {
    async fn run(mut self, end: oneshot::Sender<SubscribeEnd>) {
        let Err(why) = self.follow().await;
        let Self { shared, claim, subscription, messages, .. } = self;
        shared.subscribers.leave(&subscription);
        if let Some(why) = why {
            // This fails if the client has disconnected meanwhile.
            let _ = end.send(why);
        }
        // End the stream now; the client need not wait for the release of the lease.
        drop(messages);
        let released =
            Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict: Verdict::Released };
        // The epoch makes this void if another stream took over. If the store is unavailable, the lease expires.
        if let Err(error) = shared.mailboxes.settle(&[released]).await {
            tracing::debug!(%error, "cannot release a lease; it will expire");
        }
        shared.due.notify_one();
    }

    /// Streams until the end, whose reason it returns. `None` means that the client has disconnected.
    async fn follow(&mut self) -> Result<Infallible, Option<SubscribeEnd>> {
        if self.sent > Sequence(0) {
            let acknowledged = self.shared.mailboxes.acknowledge(self.claim.recipient, self.sent).await;
            acknowledged.map_err(|error| Some(error.into()))?;
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
            let recipient = self.claim.recipient;
            let waiting = self.shared.mailboxes.hand_out(recipient, self.sent, BATCH_EVENTS).await;
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
        let renewed = self.shared.mailboxes.renew(self.claim.recipient, self.claim.epoch, until).await;
        match renewed {
            Ok(true) => {
                self.held_until = until;
                self.renew_at = Instant::now() + RENEW_INTERVAL;
                Ok(())
            }
            // A relay claims only mailboxes without a valid lease, whereas a stream takes over valid leases. So if
            // ours was still valid, it was another stream.
            Ok(false) if now > self.held_until => Err(Some(SubscribeEnd::LeaseLost)),
            Ok(false) => Err(Some(SubscribeEnd::Replaced)),
            Err(error) => Err(Some(error.into())),
        }
    }
}

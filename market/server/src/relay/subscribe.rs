//! A stream of one party's mailbox.
//!
//! The stream takes the mailbox's lease over, so that its callback is left alone, and keeps it by renewing.
//! What it sends stays in the mailbox until the client acknowledges it, by Acknowledge or by the cursor of
//! its next stream; so a stream that breaks loses nothing.

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

/// Messages between the mailbox and the connection.
const STREAM_QUEUE: usize = 64;
/// How long after one renewal of the lease the next one follows.
const RENEW_INTERVAL: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// How long a client may leave a message unread.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all messages are deliveries")]
pub enum SubscribeItem {
    /// An event.
    Delivery(Delivery),
    /// Everything that was waiting has been sent, up to this sequence.
    CaughtUp(Sequence),
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeEnd {
    /// A later stream of the same party took over.
    #[error("another stream took over")]
    Replaced,
    /// The lease ran out before it was renewed, and the mailbox went to somebody else.
    #[error("the lease on the mailbox ran out")]
    LeaseLost,
    /// The client left its messages unread.
    #[error("the client reads too slowly")]
    TooSlow,
    /// The party was shut out.
    #[error("the party is suspended")]
    Suspended,
    /// The mailbox was a till's, and the till is gone.
    #[error("the till was removed")]
    Removed,
    /// There is no such party.
    #[error("the party has not registered")]
    NotRegistered,
    /// The market is closing.
    #[error("the market is shutting down")]
    ShuttingDown,
    /// The mailbox can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Message = Result<SubscribeItem, SubscribeEnd>;

/// Takes the mailbox over and starts to stream it. `owner` is the party whose mailbox, or whose till's, it is.
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
    // Who is shut out after this finds the stream entered, and ends it.
    if shared.suspended.contains(owner) {
        shared.subscribers.leave(&subscription);
        return Err(SubscribeEnd::Suspended);
    }
    let (messages, waiting) = mpsc::channel(STREAM_QUEUE);
    let (end, ended) = oneshot::channel();
    let renew_at = Instant::now() + RENEW_INTERVAL;
    // A cursor from ahead is not one of this mailbox's, as after the store was restored from an older copy.
    let sent = if cursor > claim.last_sequence { Sequence(0) } else { cursor };
    let follower = Follower { shared, claim, subscription, messages, sent, held_until: until, renew_at };
    tokio::spawn(follower.run(end));
    // The end has a place of its own: it is told after what waits, also when that has left no room.
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
            // The client may have gone meanwhile.
            let _ = end.send(why);
        }
        // Nothing more comes: that need not wait for what follows.
        drop(messages);
        let released =
            Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict: Verdict::Released };
        // Void when another stream took over; if the store does not answer, the lease runs out.
        if let Err(error) = shared.mailboxes.settle(&[released]).await {
            tracing::debug!(%error, "a lease was not given back");
        }
        shared.due.notify_one();
    }

    /// Ends with `None` when the client has gone.
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

    /// Sends what waits after the last message.
    async fn send_waiting(&mut self) -> Result<(), Option<SubscribeEnd>> {
        loop {
            let recipient = self.claim.recipient;
            let waiting = self.shared.mailboxes.pending(recipient, self.sent, BATCH_EVENTS).await;
            let waiting = waiting.map_err(|error| Some(error.into()))?;
            let page = waiting.len();
            for delivery in waiting {
                self.sent = delivery.sequence;
                self.send(SubscribeItem::Delivery(delivery)).await?;
            }
            if page < BATCH_EVENTS {
                return Ok(());
            }
        }
    }

    /// Sends one message, and keeps the lease meanwhile: the client may take its time.
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
        // A client that always has room must not let the lease run out either.
        if Instant::now() >= self.renew_at { self.renew().await } else { Ok(()) }
    }

    /// Waits until somebody else ends the stream.
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
            // The relay claims what nobody holds; only a stream takes over what somebody does.
            Ok(false) if now > self.held_until => Err(Some(SubscribeEnd::LeaseLost)),
            Ok(false) => Err(Some(SubscribeEnd::Replaced)),
            Err(error) => Err(Some(error.into())),
        }
    }
}

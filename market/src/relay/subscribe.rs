//! A stream of one party's mailbox.
//!
//! The stream takes the mailbox's lease over, so that its callback is left alone, and keeps it by renewing.
//! What it sends stays in the mailbox until the client acknowledges it, by Acknowledge or by the cursor of
//! its next stream; so a stream that breaks loses nothing.

use std::{sync::Arc, time::Duration};

use futures::Stream;
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{BATCH_EVENTS, LEASE, Shared, subscribers::Subscription};
use crate::{
    domain::{PartyId, Sequence},
    store::{Claim, Delivery, Settlement, StoreError, Verdict},
};

/// Messages between the mailbox and the connection.
const STREAM_QUEUE: usize = 64;
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
    /// The client left its messages unread.
    #[error("the client reads too slowly")]
    TooSlow,
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

/// Takes the mailbox over and starts to stream it.
pub(super) async fn open(
    shared: Arc<Shared>,
    party: PartyId,
    cursor: Sequence,
) -> Result<impl Stream<Item = Message> + Send + use<>, SubscribeEnd> {
    if shared.stop.is_cancelled() {
        return Err(SubscribeEnd::ShuttingDown);
    }
    if cursor > Sequence(0) {
        shared.mailboxes.acknowledge(party, cursor).await?;
    }
    let until = shared.clock.now().plus(LEASE);
    let claim = shared.mailboxes.take_over(party, shared.owner, until).await?;
    let claim = claim.ok_or(SubscribeEnd::NotRegistered)?;
    let subscription = shared.subscribers.enter(party);
    let (messages, stream) = mpsc::channel(STREAM_QUEUE);
    let follower = Follower { shared, claim, subscription, messages, sent: cursor };
    tokio::spawn(follower.run());
    Ok(ReceiverStream::new(stream))
}

struct Follower {
    shared: Arc<Shared>,
    claim: Claim,
    subscription: Subscription,
    messages: mpsc::Sender<Message>,
    sent: Sequence,
}

impl Follower {
    async fn run(mut self) {
        let end = self.follow().await;
        self.shared.subscribers.leave(&self.subscription);
        if let Err(Some(end)) = end {
            // A client that reads nothing does not read this either.
            let _ = self.messages.try_send(Err(end));
        }
        let released = Settlement {
            recipient: self.claim.recipient,
            epoch: self.claim.epoch,
            verdict: Verdict::Released,
        };
        // Void when another stream took over; if the store does not answer, the lease runs out.
        if let Err(error) = self.shared.mailboxes.settle(&[released]).await {
            tracing::debug!(%error, "a lease was not given back");
        }
        self.shared.due.notify_one();
    }

    /// Ends with `None` when the client has gone.
    async fn follow(&mut self) -> Result<std::convert::Infallible, Option<SubscribeEnd>> {
        let mut caught_up = false;
        let mut renew_at = Instant::now() + LEASE / 3;
        loop {
            self.send_waiting().await?;
            if !caught_up {
                caught_up = true;
                self.send(Ok(SubscribeItem::CaughtUp(self.sent))).await?;
            }
            tokio::select! {
                () = self.subscription.wake.notified() => {}
                () = self.subscription.replaced.cancelled() => return Err(Some(SubscribeEnd::Replaced)),
                () = self.shared.stop.cancelled() => return Err(Some(SubscribeEnd::ShuttingDown)),
                () = self.messages.closed() => return Err(None),
                () = time::sleep_until(renew_at) => {
                    self.renew().await?;
                    renew_at = Instant::now() + LEASE / 3;
                }
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
                self.send(Ok(SubscribeItem::Delivery(delivery))).await?;
            }
            if page < BATCH_EVENTS {
                return Ok(());
            }
        }
    }

    async fn send(&self, message: Message) -> Result<(), Option<SubscribeEnd>> {
        tokio::select! {
            sent = self.messages.send_timeout(message, READ_TIMEOUT) => sent.map_err(|error| match error {
                mpsc::error::SendTimeoutError::Timeout(_) => Some(SubscribeEnd::TooSlow),
                mpsc::error::SendTimeoutError::Closed(_) => None,
            }),
            () = self.subscription.replaced.cancelled() => Err(Some(SubscribeEnd::Replaced)),
            () = self.shared.stop.cancelled() => Err(Some(SubscribeEnd::ShuttingDown)),
        }
    }

    async fn renew(&self) -> Result<(), Option<SubscribeEnd>> {
        let until = self.shared.clock.now().plus(LEASE);
        let renewed = self.shared.mailboxes.renew(self.claim.recipient, self.claim.epoch, until).await;
        match renewed {
            Ok(true) => Ok(()),
            // A stream at another market.
            Ok(false) => Err(Some(SubscribeEnd::Replaced)),
            Err(error) => Err(Some(error.into())),
        }
    }
}

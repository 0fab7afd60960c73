//! What a stream has of its mailbox: the mailbox's own lease, the lease of a named consumer, or none.

use souk_domain::{PartyId, Sequence, Timestamp};
use souk_store::{ConsumerOpening, ConsumerStream, LeaseEpoch, Settlement, StoreError, Verdict};

use super::Shared;

/// A stream's hold on its mailbox.
pub(super) enum Hold {
    /// The unnamed consumer: the lease of the mailbox itself, so that the callback is not called.
    Mailbox { mailbox: PartyId, epoch: LeaseEpoch },
    /// A named consumer.
    Name { stream: ConsumerStream, epoch: LeaseEpoch },
    /// None: another client has the name.
    Guest { stream: ConsumerStream },
    /// None: the stream only watches.
    Watcher,
}

/// Whether a hold goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The stream goes on as it is.
    Held,
    /// Another claim has replaced the hold.
    Lost,
    /// The name of a guest is free.
    Free,
}

impl Hold {
    /// Moves the consumer's cursor.
    pub(super) async fn acknowledge(&self, shared: &Shared, through: Sequence) -> Result<(), StoreError> {
        match self {
            Self::Mailbox { mailbox, .. } => {
                shared.mailboxes.acknowledge(*mailbox, through).await.map(|_| ())
            }
            Self::Name { stream, .. } => {
                let (consumers, now) = (&shared.consumers, shared.clock.now());
                consumers.acknowledge_consumer(stream.recipient, &stream.name, through, now).await.map(|_| ())
            }
            Self::Guest { .. } | Self::Watcher => Ok(()),
        }
    }

    /// Extends the lease. A guest asks whether its name is free instead.
    pub(super) async fn renew(
        &self,
        shared: &Shared,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Renewal, StoreError> {
        let is_held = match self {
            Self::Mailbox { mailbox, epoch } => shared.mailboxes.renew(*mailbox, *epoch, until).await?,
            Self::Name { stream, epoch } => shared.consumers.renew_consumer(stream, *epoch, until).await?,
            Self::Guest { stream } => {
                let opening = shared.consumers.open_consumer(stream, now, until).await?;
                let ConsumerOpening::Held { epoch, .. } = opening else { return Ok(Renewal::Held) };
                // The client subscribes again, from the consumer's cursor.
                shared.consumers.release_consumer(stream, epoch).await?;
                return Ok(Renewal::Free);
            }
            Self::Watcher => true,
        };
        Ok(if is_held { Renewal::Held } else { Renewal::Lost })
    }

    /// Ends the lease. The epoch makes this void if another stream took over.
    pub(super) async fn release(&self, shared: &Shared) -> Result<(), StoreError> {
        match self {
            Self::Mailbox { mailbox, epoch } => {
                let (recipient, epoch) = (*mailbox, *epoch);
                let released = Settlement { recipient, epoch, verdict: Verdict::Released };
                shared.mailboxes.settle(&[released]).await.map(|_| ())
            }
            Self::Name { stream, epoch } => shared.consumers.release_consumer(stream, *epoch).await,
            Self::Guest { .. } | Self::Watcher => Ok(()),
        }
    }
}

//! Dead letters: order events that did not reach their recipient.

use super::{DeadLetterId, Event, PartyId, Timestamp};

/// An order event that was dropped from a mailbox, kept so that an operator can redeliver it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The number under which it is kept.
    pub id: DeadLetterId,
    /// The mailbox from which it was dropped.
    pub recipient: PartyId,
    /// The event.
    pub event: Event,
    /// Why it was dropped, for operators.
    pub reason: String,
    /// When it was dropped.
    pub died_at: Timestamp,
}

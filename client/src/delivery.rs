//! An event on its way to the user.
//!
//! **Guarantee**: at least once from the market, once each to the user. An event is acknowledged to the
//! market only after its consumer took it ([`Delivery::take`]) and the mark is on disk; an event that is
//! dropped untaken, or whose consumer dies, is delivered again.

use std::time::Duration;

use souk_proto::v1;

use crate::{
    Error,
    seen::{Offer, Seen},
};

/// The maximum number of notices that wait between the network and their consumer.
pub const QUEUE: usize = 64;

/// What an [`Inbox`](crate::Inbox) or a [`Follower`](crate::Follower) reports to its consumer.
#[derive(Debug)]
pub enum Notice {
    /// An event that the user has not received yet.
    Event(Delivery),
    /// The stream of a named consumer is open, or the market has been told of the callback server. Sent again after
    /// each reconnection.
    Opened {
        /// Whether the market keeps the stream. If not, another client follows under the same name, and this one
        /// gets only new events.
        kept: bool,
        /// What was dropped since the last time. The market repeats it until the client confirms it, at the earliest a
        /// second after the notice, so that no report is lost with an answer. The client passes it on once.
        missed: Missed,
    },
    /// Everything that was in the mailbox when the stream began has been sent (Subscribe only).
    CaughtUp {
        /// The highest sequence sent so far; 0 if none was.
        sequence: i64,
    },
    /// The stream broke for a transient reason and will be reopened, or the market could not be told of the
    /// callback server.
    Interrupted {
        /// The error that ended the stream, or the last attempt to open it.
        failure: Error,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// The stream failed permanently (Subscribe only). This is the last notice.
    Ended(Error),
}

/// The numbers of events that the market dropped because they waited for longer than their retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Events about orders.
    pub orders: i64,
    /// Item updates and other events.
    pub updates: i64,
}

/// An event, not yet marked as seen.
///
/// Dropping it without [`take`](Self::take) leaves it in the mailbox: it is delivered again later.
///
/// # Examples
/// ```no_run
/// # async fn example(souk: souk_client::Souk) -> Result<(), Box<dyn std::error::Error>> {
/// if let Some(delivery) = souk.events().next().await {
///     let delivery = delivery?;
///     // If this fails, the event is dropped untaken and comes again.
///     std::fs::write("last-event.txt", format!("{:?}", delivery.event()))?;
///     delivery.take();
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Delivery {
    event: Box<v1::Event>,
    seen: Seen,
    settled: bool,
}

impl Delivery {
    /// Creates the delivery of an event, unless the user has had it or it already waits with the consumer. An
    /// event of a kind that this client does not know, or for another party, counts as had.
    pub(crate) fn of(event: v1::Event, own: &str, seen: &Seen) -> Result<Self, Offer> {
        match seen.offer(&event.event_id) {
            Offer::New => {}
            had => return Err(had),
        }
        if event.recipient_id != own || event.kind.is_none() {
            tracing::warn!(event_id = %event.event_id, "skipped an event for another party or of an unknown kind");
            seen.take(event.sequence, &event.event_id);
            return Err(Offer::Acknowledged);
        }
        Ok(Self { event: Box::new(event), seen: seen.clone(), settled: false })
    }

    /// Returns the event without taking it.
    pub fn event(&self) -> &v1::Event {
        &self.event
    }

    /// Takes the event: marks it as seen, after which it is acknowledged to the market.
    pub fn take(mut self) -> v1::Event {
        self.settled = true;
        self.seen.take(self.event.sequence, &self.event.event_id);
        std::mem::take(&mut *self.event)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled {
            self.seen.release(&self.event.event_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use souk_proto::v1::event::Kind;

    use super::*;

    const OWN: &str = "00000000-0000-0000-0000-000000000001";

    fn event(event_id: &str) -> v1::Event {
        v1::Event {
            event_id: event_id.into(),
            sequence: 1,
            recipient_id: OWN.into(),
            occur_time: None,
            kind: Some(Kind::TestNotice(v1::TestNotice { text: "hello".into() })),
        }
    }

    #[test]
    fn a_taken_event_is_not_delivered_again() {
        let seen = Seen::in_memory();
        let delivery = Delivery::of(event("a"), OWN, &seen).expect("new");
        assert_eq!(delivery.take().event_id, "a");
        assert_eq!(Delivery::of(event("a"), OWN, &seen).expect_err("had"), Offer::Acknowledged);
    }

    #[test]
    fn a_dropped_event_is_delivered_again() {
        let seen = Seen::in_memory();
        drop(Delivery::of(event("a"), OWN, &seen).expect("new"));
        assert!(Delivery::of(event("a"), OWN, &seen).is_ok());
    }

    #[test]
    fn another_partys_event_and_an_unknown_kind_are_skipped_and_settled() {
        let seen = Seen::in_memory();
        let foreign = v1::Event { recipient_id: "someone else".into(), ..event("a") };
        let unknown = v1::Event { kind: None, ..event("b") };
        for (event, id) in [(foreign, "a"), (unknown, "b")] {
            assert_eq!(Delivery::of(event, OWN, &seen).expect_err("skipped"), Offer::Acknowledged);
            assert!(seen.contains(id));
        }
    }
}

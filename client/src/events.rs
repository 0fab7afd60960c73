//! A party's events as a stream.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::stream::{Stream, StreamExt};
use tokio::sync::mpsc;

use crate::{Connection, Delivery, Error, Follower, Missed, Notice, Seen, follow::follow_as};

/// The events of the party's mailbox: first the pending ones, then new ones as they happen.
///
/// **At least once** from the market, **once each** to you: an event is acknowledged only after you
/// [took](Delivery::take) it. One that you drop untaken, or hold when the process dies, is delivered again by
/// the next stream.
///
/// When the connection breaks, the stream reconnects and continues where it was. It ends after a permanent
/// error, such as a revoked certificate; a suspension it sits out. Several programs of one party each get every event
/// under names of their own: see [`Options::consumer`](crate::Options::consumer). Without a name, a mailbox has one
/// stream at a time: the market ends the older one with
/// [`Reason::StreamReplaced`](crate::Reason::StreamReplaced).
///
/// # Examples
/// ```no_run
/// # async fn listen(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
/// let mut events = souk.events();
/// while let Some(delivery) = events.next().await {
///     let delivery = delivery?;
///     println!("{:?}", delivery.event().kind);
///     // Only now does it count as delivered.
///     delivery.take();
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "events come while they are asked for"]
pub struct Events {
    follower: Follower,
    notices: mpsc::Receiver<Notice>,
}

impl Events {
    /// Subscribes to the mailbox as a consumer. `seen` remembers which events were taken.
    pub(crate) fn subscribe(connection: Connection, seen: Seen, consumer: String) -> Self {
        let (follower, notices) = follow_as(connection, seen, consumer);
        Self { follower, notices }
    }

    /// Waits for the next event; `None` after an error.
    pub async fn next(&mut self) -> Option<Result<Delivery, Error>> {
        StreamExt::next(self).await
    }

    /// Acknowledges the events taken, and ends the stream. A stream that is just dropped leaves the last
    /// second's acknowledgements unsent: with [`remember_events_in`](crate::Options::remember_events_in)
    /// those events are still not delivered again.
    pub async fn close(self) {
        self.follower.close().await;
    }
}

impl Stream for Events {
    type Item = Result<Delivery, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match ready!(self.notices.poll_recv(context)) {
                Some(Notice::Event(delivery)) => Some(Ok(delivery)),
                Some(Notice::Ended(error)) => Some(Err(error)),
                Some(Notice::Interrupted { failure, retry_in }) => {
                    tracing::info!(%failure, ?retry_in, "the stream of events broke and will be opened again");
                    continue;
                }
                Some(Notice::Opened { kept, missed }) => {
                    if !kept {
                        tracing::warn!("another client follows under the same name; only new events come");
                    }
                    if missed != Missed::default() {
                        tracing::warn!(
                            missed.orders,
                            missed.updates,
                            "events waited too long and were dropped"
                        );
                    }
                    continue;
                }
                Some(Notice::CaughtUp { .. }) => continue,
                None => None,
            });
        }
    }
}

//! Events over a stream that the client opens, for clients that can't be called back (behind NAT).
//!
//! A [`Follower`] subscribes, hands out events, and acknowledges what the consumer took, in batches. When the
//! stream breaks for a transient reason, it subscribes again with the last sequence up to which the consumer
//! has everything. The first Subscribe of a process sends cursor 0, which requests everything that is not
//! acknowledged: events that the user has had already are recognised by their ids (see
//! [`seen`](crate::seen)), whereas an old cursor would make a market that was set up again discard events.

mod progress;

use std::{ops::ControlFlow, time::Duration};

use souk_proto::v1::{
    AcknowledgeRequest, Event, SubscribeRequest, SubscribeResponse, subscribe_response::Message,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Status, Streaming};

use crate::{
    Connection, Delivery, Error, Notice, Seen,
    delivery::QUEUE,
    missed::{CONFIRM_DELAY, MissedReports, is_drained},
    reconnect::{Next, Reconnect},
    seen::Offer,
};
use progress::Progress;

/// How long [`Follower::close`] waits for the last acknowledgement.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A subscription that reconnects when its stream breaks. Dropping it ends it at once; [`close`](Self::close)
/// first acknowledges what the consumer took.
#[derive(Debug)]
pub struct Follower {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// Follows the party's mailbox. Notices come out of the receiver, which holds [`QUEUE`] of them; while it
/// is full, the stream is not read. [`Souk::events`](crate::Souk::events) is the same as a stream.
///
/// # Examples
/// ```no_run
/// use souk_client::{Notice, Seen, follow::follow};
///
/// # async fn listen(connection: souk_client::Connection) -> Result<(), souk_client::Error> {
/// let (follower, mut notices) = follow(connection, Seen::in_memory());
/// while let Some(notice) = notices.recv().await {
///     match notice {
///         Notice::Event(delivery) => println!("{:?}", delivery.take().kind),
///         Notice::CaughtUp { .. } => break,
///         Notice::Opened { .. } | Notice::Interrupted { .. } => {}
///         Notice::Ended(error) => return Err(error),
///     }
/// }
/// follower.close().await;
/// # Ok(()) }
/// ```
pub fn follow(connection: Connection, seen: Seen) -> (Follower, mpsc::Receiver<Notice>) {
    follow_as(connection, seen, String::new())
}

/// Like [`follow`], as the consumer with this name, which gets every event whatever other consumers of the party
/// acknowledge. The record in `seen` must be this consumer's own. An empty name stands for the unnamed consumer.
///
/// If another client follows under the name, the stream gets only new events and acknowledges none
/// ([`Notice::Opened`] says so) until the name is free.
pub fn follow_as(connection: Connection, seen: Seen, consumer: String) -> (Follower, mpsc::Receiver<Notice>) {
    let (notices, receiver) = mpsc::channel(QUEUE);
    let (stop, stopped) = oneshot::channel();
    let own = connection.party().to_string();
    let changes = seen.changes();
    let progress = Progress::default();
    let stream_id = if consumer.is_empty() { String::new() } else { connection.request_id() };
    let subscription = Subscription {
        connection,
        own,
        consumer,
        stream_id,
        is_kept: true,
        seen,
        changes,
        notices,
        progress,
        missed: MissedReports::default(),
        confirm_at: None,
    };
    let task = tokio::spawn(subscription.run(stopped));
    (Follower { stop: Some(stop), task }, receiver)
}

impl Follower {
    /// Acknowledges what the consumer took, and ends.
    pub async fn close(mut self) {
        // This fails only if the task has already ended.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if timeout(CLOSE_TIMEOUT, &mut self.task).await.is_err() {
            tracing::debug!("the last acknowledgement was given up: its events may come again");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Subscription {
    connection: Connection,
    own: String,
    /// The consumer's name; empty for the unnamed one.
    consumer: String,
    /// Tells the market which earlier stream under the name is this client's.
    stream_id: String,
    /// Whether the market keeps the stream. If not, its events are neither acknowledged nor recorded on disk.
    is_kept: bool,
    seen: Seen,
    changes: watch::Receiver<u64>,
    notices: mpsc::Sender<Notice>,
    progress: Progress,
    missed: MissedReports,
    /// When to confirm what was reported as missed, if the consumer has taken the notice by then.
    confirm_at: Option<Instant>,
}

/// The consumer or the owner has ended the subscription.
struct Stopped;

impl Subscription {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        tokio::select! {
            _ = &mut stopped => {}
            _ = self.keep_up() => {}
        }
        // Best effort: an event that is not acknowledged is delivered again and dropped by its id.
        if let Err(failure) = self.acknowledge().await {
            tracing::debug!(%failure, "the last acknowledgement failed");
        }
        self.confirm_missed().await;
    }

    /// Subscribes again after each transient failure, until a permanent one.
    async fn keep_up(&mut self) -> Stopped {
        let mut reconnect = Reconnect::of(&self.connection, !self.consumer.is_empty());
        loop {
            reconnect.begin();
            let came_before = self.progress.messages();
            let failure = match self.subscribe_once().await {
                ControlFlow::Continue(failure) => failure,
                ControlFlow::Break(stopped) => return stopped,
            };
            let (came, ever) = (self.progress.messages() > came_before, self.progress.messages() > 0);
            match reconnect.after(failure, came, ever).await {
                Next::Now => {}
                Next::After(failure, retry_in) => {
                    if self.notices.send(Notice::Interrupted { failure, retry_in }).await.is_err() {
                        return Stopped;
                    }
                    sleep(retry_in).await;
                }
                Next::Never(failure) => {
                    // This fails if the receiver has been dropped, and then the failure need not be reported.
                    let _ = self.notices.send(Notice::Ended(failure)).await;
                    return Stopped;
                }
            }
        }
    }

    /// Runs one stream from its opening to its end.
    async fn subscribe_once(&mut self) -> ControlFlow<Stopped, Error> {
        // Events taken since the last stream broke must not be requested again.
        self.progress.settle(&self.seen, Instant::now());
        self.progress.begin_stream();
        if !self.is_kept {
            // What was received without the name says nothing about the events before it.
            self.progress.forget();
            self.is_kept = true;
        }
        // The cursor acknowledges everything up to it, which must therefore be on disk. 0 requests everything
        // that is not acknowledged.
        let cursor = if self.seen.save().await.is_ok() { self.progress.cursor() } else { 0 };
        let connection = self.connection.clone();
        let (consumer, stream_id) = (self.consumer.clone(), self.stream_id.clone());
        let request = SubscribeRequest { cursor, consumer, stream_id, watch_only: false };
        let opening = async { connection.events().subscribe(request).await };
        let stream = match connection.open_stream(opening).await {
            Ok(stream) => stream,
            Err(failure) => return ControlFlow::Continue(failure),
        };
        match self.read(stream).await {
            ControlFlow::Continue(status) => ControlFlow::Continue(self.connection.explain(status).await),
            ControlFlow::Break(stopped) => ControlFlow::Break(stopped),
        }
    }

    /// Passes events from the stream to the consumer, and acknowledgements back.
    async fn read(&mut self, mut stream: Streaming<SubscribeResponse>) -> ControlFlow<Stopped, Status> {
        let notices = self.notices.clone();
        let mut held: Option<Notice> = None;
        loop {
            self.progress.settle(&self.seen, Instant::now());
            let (due, confirm_at) = (self.progress.acknowledge_at(), self.confirm_at);
            // Not reading lets the HTTP/2 window fill up, so a slow consumer slows the market instead of
            // filling memory here.
            let may_read = held.is_none() && self.progress.has_room();
            tokio::select! {
                message = stream.message(), if may_read => match message {
                    Ok(Some(message)) => held = self.receive(message),
                    Ok(None) => return ControlFlow::Continue(Status::unavailable("the market ended the stream")),
                    Err(status) => return ControlFlow::Continue(status),
                },
                room = notices.reserve(), if held.is_some() => match (room, held.take()) {
                    (Ok(room), Some(notice)) => room.send(notice),
                    _ => return ControlFlow::Break(Stopped),
                },
                // Watched as well, since a quiet stream would otherwise stay open after its consumer has gone.
                () = notices.closed() => return ControlFlow::Break(Stopped),
                _ = self.changes.changed() => {}
                () = sleep_until(confirm_at.unwrap_or_else(Instant::now)), if confirm_at.is_some() => {
                    self.confirm_missed().await;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Err(failure) = self.acknowledge().await {
                        tracing::warn!(%failure, "an acknowledgement failed and will be repeated");
                        // Postponed, or this branch would be ready again at once and spin while the market is
                        // down.
                        self.progress.postpone(Instant::now());
                    }
                }
            }
        }
    }

    fn receive(&mut self, message: SubscribeResponse) -> Option<Notice> {
        self.progress.count_message();
        match message.message? {
            Message::Opened(opened) => {
                self.is_kept = opened.kept;
                let (orders, updates) = (opened.missed_order_count, opened.missed_update_count);
                let missed = self.missed.receive(orders, updates, opened.missed_total);
                self.confirm_at = self.missed.unconfirmed().map(|_| Instant::now() + CONFIRM_DELAY);
                Some(Notice::Opened { kept: opened.kept, missed })
            }
            Message::Event(event) => self.receive_event(event),
            Message::CaughtUp(caught_up) => Some(Notice::CaughtUp { sequence: caught_up.sequence }),
        }
    }

    fn receive_event(&mut self, event: Event) -> Option<Notice> {
        // Even if it is a repetition: its sequence has to be acknowledged like the first.
        self.progress.sent(event.sequence, &event.event_id);
        match Delivery::of(event, &self.own, &self.seen) {
            Ok(delivery) => Some(Notice::Event(delivery)),
            Err(Offer::New | Offer::Waiting | Offer::Acknowledged) => None,
        }
    }

    /// Acknowledges to the market up to where the consumer has everything, if that has changed.
    async fn acknowledge(&mut self) -> Result<(), Error> {
        self.progress.settle(&self.seen, Instant::now());
        let Some(sequence) = self.progress.unacknowledged() else { return Ok(()) };
        if !self.is_kept {
            self.progress.acknowledged();
            return Ok(());
        }
        // On disk before the acknowledgement: the market deletes what is acknowledged, and only this record
        // then recognises a repetition.
        let kept = self.seen.save().await;
        kept.map_err(|error| Error::io("keep what was seen", error))?;
        let request = AcknowledgeRequest { sequence, consumer: self.consumer.clone(), missed_total: None };
        self.connection.call(request).await?;
        self.progress.acknowledged();
        Ok(())
    }

    /// Confirms what was reported as missed, if the consumer has taken the notice.
    async fn confirm_missed(&mut self) {
        let again_at = Instant::now() + CONFIRM_DELAY;
        if is_drained(&self.notices) {
            self.missed.confirm(&self.connection, &self.consumer).await;
        }
        self.confirm_at = self.missed.unconfirmed().map(|_| again_at);
    }
}

//! A till's stream (SyncInventory), which reconnects when it breaks.
//!
//! Lines are sent to the market and acknowledged; sales and cancellations are received. When the stream
//! breaks for a transient reason, it is reopened, and every unacknowledged line is sent again: the market
//! recognises lines by their numbers, so that none is lost or takes effect twice. An event is handed out once
//! per process. One that was not [confirmed](Till::take_in) is delivered again to the next process, unless
//! its cursor skips it.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
    time::Duration,
};

use souk_proto::v1::{
    Event, SyncAcknowledgement, SyncHello, SyncInventoryRequest, SyncInventoryResponse, SyncLine,
    SyncTakenIn, sync_inventory_request::Message, sync_inventory_response::Message as Answer,
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    Connection, Error,
    reconnect::{Next, Reconnect},
};

/// The maximum number of lines that are sent and not acknowledged. The market remembers the outcomes of as
/// many.
pub const WINDOW: usize = 64;

/// The capacity of the queue of messages to be sent: the unacknowledged lines, and as many others.
const OUTGOING: usize = 2 * WINDOW;

/// The maximum number of notices that wait for the consumer.
const NOTICES: usize = 2 * WINDOW;

/// The maximum number of events that were handed out and not confirmed. At that limit, the stream is read
/// only while lines await their acknowledgements. Events received then are discarded, and requested again by
/// another stream when there is room.
pub const MAX_HANDED_OUT: usize = 1_024;

/// What a till reports to its consumer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "events are as common as answers, and few notices wait")]
pub enum TillNotice {
    /// The stream is open, and the market has received every line up to this one.
    Resumed {
        /// The number of the last line received; 0 if there is none.
        last_line: i64,
    },
    /// The acknowledgement of a line: exactly one per line.
    Acknowledged(SyncAcknowledgement),
    /// A sale or a cancellation. There are none after the till was closed; they are delivered to the next
    /// process.
    Event(Event),
    /// Every pending event has been handed out.
    CaughtUp {
        /// The last sequence that was sent.
        sequence: i64,
    },
    /// The stream broke and will be reopened.
    Interrupted {
        /// The error that ended the stream, or the last attempt to open it.
        failure: Error,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// The stream ended permanently. Lines that were not acknowledged may or may not have taken effect.
    Ended(Error),
    /// The till was closed, and every line has been acknowledged.
    Done,
}

/// The sending end of the stream. When it is dropped, the lines already handed in are still sent, and then
/// the stream is closed.
///
/// # Examples
/// ```no_run
/// use souk_client::v1;
/// use tokio_stream::StreamExt as _;
///
/// # async fn example(souk: souk_client::Souk) -> Result<(), Box<dyn std::error::Error>> {
/// let (till, mut notices) = souk.till("shop", 0);
/// let sold = Some(v1::sync_line::Change::QuantityDelta(-1));
/// till.send(v1::SyncLine { line: 1, item: Some(v1::sync_line::Item::Sku("L-1".into())), change: sold }).await?;
/// drop(till);
/// while let Some(notice) = notices.next().await {
///     println!("{notice:?}");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Till {
    lines: mpsc::Sender<SyncLine>,
    taken_in: watch::Sender<i64>,
}

/// The stream has ended; the last notice says why.
#[derive(Debug, thiserror::Error)]
#[error("the till's stream has ended")]
pub struct Closed;

/// Opens a till's stream. `cursor` is the sequence of the last event that was confirmed before; 0 requests
/// every event that was never confirmed. Notices come out of the receiver, which must be drained even while a
/// task waits for room for a line.
pub fn open(connection: Connection, name: String, cursor: i64) -> (Till, mpsc::Receiver<TillNotice>) {
    let (notices, receiver) = mpsc::channel(NOTICES);
    let (lines, waiting) = mpsc::channel(1);
    let taken_in = watch::Sender::new(cursor);
    let stream = Stream {
        connection,
        name,
        lines: waiting,
        taken_in: taken_in.subscribe(),
        notices,
        under_way: VecDeque::with_capacity(WINDOW),
        held: None,
        is_closed: false,
        handed_out: BTreeMap::new(),
        passed_over: false,
        messages: 0,
    };
    tokio::spawn(stream.run());
    (Till { lines, taken_in }, receiver)
}

impl Till {
    /// Sends a line, after waiting until fewer than [`WINDOW`] lines are unacknowledged.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn send(&self, line: SyncLine) -> Result<(), Closed> {
        self.lines.send(line).await.map_err(|_| Closed)
    }

    /// Waits until there is room for a line. Cancel-safe.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn room(&self) -> Result<Room, Closed> {
        self.lines.clone().reserve_owned().await.map(Room).map_err(|_| Closed)
    }

    /// Confirms that every event up to this one has been processed, so that none of them is delivered again.
    pub fn take_in(&self, sequence: i64) {
        // A watch, not a queue: a confirmation covers all before it, so only the highest counts, and this never waits.
        self.taken_in.send_if_modified(|taken_in| {
            let is_news = sequence > *taken_in;
            *taken_in = sequence.max(*taken_in);
            is_news
        });
    }
}

/// A permit to send one line.
#[derive(Debug)]
pub struct Room(mpsc::OwnedPermit<SyncLine>);

impl Room {
    /// Sends the line without waiting. If the stream has ended meanwhile, the line is discarded.
    pub fn send(self, line: SyncLine) {
        self.0.send(line);
    }
}

struct Stream {
    connection: Connection,
    name: String,
    lines: mpsc::Receiver<SyncLine>,
    taken_in: watch::Receiver<i64>,
    notices: mpsc::Sender<TillNotice>,
    /// Lines that were sent and are not acknowledged.
    under_way: VecDeque<SyncLine>,
    /// A line that was handed in and waits for room in the window. Without it, the closing of a till would go
    /// unnoticed while the window is full.
    held: Option<SyncLine>,
    /// Whether the consumer has dropped the till.
    is_closed: bool,
    /// The ids of events that were handed out and not confirmed, by sequence.
    handed_out: BTreeMap<i64, String>,
    /// Whether this stream delivered events for which there was no room.
    passed_over: bool,
    /// The number of acknowledgements and events received over all streams. The mere opening of a stream is
    /// not progress.
    messages: u64,
}

/// The consumer is gone, or the till was closed and everything has been acknowledged.
struct Stopped;

/// Why a stream has ended and another one must be opened.
enum Over {
    Broken(Status),
    /// There is room for the events that were discarded.
    Behind,
}

impl Stream {
    async fn run(mut self) {
        let notices = self.notices.clone();
        tokio::select! {
            Stopped = self.keep_up() => {}
            () = notices.closed() => {}
        }
    }

    async fn keep_up(&mut self) -> Stopped {
        let mut reconnect = Reconnect::of(&self.connection, false);
        loop {
            reconnect.begin();
            let before = self.messages;
            let failure = match self.stream_once().await {
                ControlFlow::Continue(Some(failure)) => failure,
                ControlFlow::Continue(None) => continue,
                ControlFlow::Break(stopped) => return stopped,
            };
            match reconnect.after(failure, self.messages > before, self.messages > 0).await {
                Next::Now => {}
                Next::After(failure, retry_in) => {
                    self.notify(TillNotice::Interrupted { failure, retry_in }).await;
                    sleep(retry_in).await;
                }
                Next::Never(failure) => {
                    self.notify(TillNotice::Ended(failure)).await;
                    return Stopped;
                }
            }
        }
    }

    /// Passes a notice to the consumer. If it is gone, [`Self::run`] ends.
    async fn notify(&self, notice: TillNotice) {
        let _ = self.notices.send(notice).await;
    }

    /// Runs one stream from its opening to its end. Without a failure, the next one is opened at once.
    async fn stream_once(&mut self) -> ControlFlow<Stopped, Option<Error>> {
        let (messages, outgoing) = mpsc::channel(OUTGOING);
        self.passed_over = false;
        let cursor = *self.taken_in.borrow_and_update();
        self.handed_out = self.handed_out.split_off(&cursor.saturating_add(1));
        // The hello and the lines are queued before the stream is opened, so they go out with its first bytes.
        // The queue has room for them.
        put(&messages, Message::Hello(SyncHello { till: self.name.clone(), cursor }));
        // All of them, in order and under their old numbers: which of them the market has is unknown until it resumes,
        // and it acknowledges a repeated line without applying it again.
        for line in &self.under_way {
            put(&messages, Message::Line(line.clone()));
        }
        let connection = self.connection.clone();
        let opening = async { connection.seller().sync_inventory(ReceiverStream::new(outgoing)).await };
        let stream = match connection.open_stream(opening).await {
            Ok(stream) => stream,
            Err(failure) => return ControlFlow::Continue(Some(failure)),
        };
        match self.exchange(stream, messages).await {
            ControlFlow::Continue(Over::Broken(status)) => {
                ControlFlow::Continue(Some(self.connection.explain(status).await))
            }
            ControlFlow::Continue(Over::Behind) => ControlFlow::Continue(None),
            ControlFlow::Break(stopped) => ControlFlow::Break(stopped),
        }
    }

    /// Sends lines, and receives acknowledgements and events. `messages` is dropped when the till was closed
    /// and no line is unacknowledged; then the market ends the stream.
    async fn exchange(
        &mut self,
        mut stream: Streaming<SyncInventoryResponse>,
        messages: mpsc::Sender<SyncInventoryRequest>,
    ) -> ControlFlow<Stopped, Over> {
        let mut messages = Some(messages);
        let mut is_behind = false;
        loop {
            // The stream is closed and read to its end instead of being dropped, so that a permanent failure
            // reported by the market is not missed.
            if self.may_catch_up() && messages.take().is_some() {
                is_behind = true;
            }
            if let Some(messages) = &messages
                && self.under_way.len() < WINDOW
                && let Some(line) = self.held.take()
            {
                self.under_way.push_back(line.clone());
                put(messages, Message::Line(line));
            }
            if self.is_closed
                && self.under_way.is_empty()
                && let Some(messages) = messages.take()
            {
                let sequence = self.taken_in.borrow_and_update();
                if sequence.has_changed() {
                    put(&messages, Message::TakenIn(SyncTakenIn { sequence: *sequence }));
                }
            }
            // There is always room for lines. A confirmation waits for room, or is covered by the next one.
            let may_confirm = messages.as_ref().is_some_and(|messages| messages.capacity() > WINDOW);
            // After the till was closed, no more events are handed out. Acknowledgements must be read even if
            // events are unconfirmed, because lines may be queued before the confirmations.
            let may_read = self.room() > 0 || !self.under_way.is_empty() || self.is_closed || is_behind;
            let may_hold = !self.is_closed && self.held.is_none();
            // Every branch may be dropped half-way without a loss: a message stays in the decoder, a line in its
            // channel, and a confirmation in the watch.
            tokio::select! {
                message = stream.message(), if may_read => match message {
                    Ok(Some(message)) => self.receive(message).await,
                    Ok(None) if is_behind => return ControlFlow::Continue(Over::Behind),
                    Ok(None) if messages.is_none() => {
                        self.notify(TillNotice::Done).await;
                        return ControlFlow::Break(Stopped);
                    }
                    Ok(None) => {
                        let ended = Status::unavailable("the market ended the stream");
                        return ControlFlow::Continue(Over::Broken(ended));
                    }
                    Err(status) => return ControlFlow::Continue(Over::Broken(status)),
                },
                line = self.lines.recv(), if may_hold => match line {
                    Some(line) => self.held = Some(line),
                    None => self.is_closed = true,
                },
                sequence = next(&mut self.taken_in), if may_confirm => {
                    self.handed_out = self.handed_out.split_off(&sequence.saturating_add(1));
                    if let Some(messages) = &messages {
                        put(messages, Message::TakenIn(SyncTakenIn { sequence }));
                    }
                }
            }
        }
    }

    async fn receive(&mut self, message: SyncInventoryResponse) {
        match message.message {
            Some(Answer::Resume(resume)) => {
                self.notify(TillNotice::Resumed { last_line: resume.last_line }).await;
            }
            // Acknowledgements arrive in the order of the lines, one per line.
            Some(Answer::Acknowledgement(answer))
                if self.under_way.front().is_some_and(|line| line.line == answer.line) =>
            {
                self.messages += 1;
                self.under_way.pop_front();
                self.notify(TillNotice::Acknowledged(answer)).await;
            }
            Some(Answer::Event(_)) if self.is_closed => {}
            // Events are confirmed in order, so after a discarded event all later ones are discarded too.
            Some(Answer::Event(event)) if self.passed_over || self.has_no_room_for(&event) => {
                self.passed_over = true;
            }
            Some(Answer::Event(event)) => {
                self.messages += 1;
                let before = self.handed_out.insert(event.sequence, event.event_id.clone());
                // The market sends unconfirmed events again on each stream. The id tells a repetition from an
                // event of a market that was set up again.
                if before.as_ref() != Some(&event.event_id) {
                    self.notify(TillNotice::Event(event)).await;
                }
            }
            Some(Answer::CaughtUp(_)) if self.passed_over => {}
            Some(Answer::CaughtUp(caught_up)) => {
                self.notify(TillNotice::CaughtUp { sequence: caught_up.sequence }).await;
            }
            // An unexpected acknowledgement, or a message from a newer version of the market.
            Some(Answer::Acknowledgement(_)) | None => {}
        }
    }

    /// Returns how many more events may be handed out.
    fn room(&self) -> usize {
        MAX_HANDED_OUT.saturating_sub(self.handed_out.len())
    }

    fn has_no_room_for(&self, event: &Event) -> bool {
        self.room() == 0 && !self.handed_out.contains_key(&event.sequence)
    }

    /// Returns whether to request the discarded events again. Only if there is room for many at a time,
    /// because it costs a new stream, on which all unconfirmed events are sent again.
    fn may_catch_up(&self) -> bool {
        self.passed_over && !self.is_closed && self.room() >= MAX_HANDED_OUT / 2
    }
}

/// Waits for the next confirmed sequence; never returns after the till was closed.
async fn next(taken_in: &mut watch::Receiver<i64>) -> i64 {
    if taken_in.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    *taken_in.borrow_and_update()
}

/// Queues a message. The queue has room for all unacknowledged lines, and is closed only with the stream,
/// whose end is reported there.
fn put(messages: &mpsc::Sender<SyncInventoryRequest>, message: Message) {
    let _ = messages.try_send(SyncInventoryRequest { message: Some(message) });
}

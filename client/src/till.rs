//! A till's stream (SyncInventory), which keeps itself up.
//!
//! Lines go to the market and are answered; sales and cancellations come back. When the stream breaks for a
//! passing reason it is opened again, and every line that was not answered is sent again: the market knows
//! lines by their numbers, so that none is lost or takes effect twice. An event is handed out once for each
//! process; what was not [taken in](Till::take_in) comes again in the next, or is skipped by its cursor.

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

/// Lines that may be under way, sent and not answered. As many as the market remembers the outcomes of.
pub const WINDOW: usize = 64;

/// Messages that wait to be sent: the lines under way, and as many others.
const OUTGOING: usize = 2 * WINDOW;

/// Notices that wait for the consumer.
const NOTICES: usize = 2 * WINDOW;

/// Events that were handed out and not taken in. With so many, the stream is read only while lines are under way, for
/// their answers, and further events are passed over: they come again, by another stream, when there is room.
pub const MAX_HANDED_OUT: usize = 1_024;

/// What a till's stream brings.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "events are as common as answers, and few notices wait")]
pub enum TillNotice {
    /// The stream is open, and the market has every line up to this one.
    Resumed {
        /// The last line; 0 before the first.
        last_line: i64,
    },
    /// The answer to a line. Exactly one for each.
    Acknowledged(SyncAcknowledgement),
    /// A sale or a cancellation. None once the till was closed: then it comes in the next process.
    Event(Event),
    /// Every event that waited has been handed out.
    CaughtUp {
        /// The last sequence that was sent.
        sequence: i64,
    },
    /// The stream broke and will be opened again.
    Interrupted {
        /// Why.
        failure: Error,
        /// When.
        retry_in: Duration,
    },
    /// The stream ended for good; lines that were not answered may be in or not.
    Ended(Error),
    /// Every line is answered, and the till was closed.
    Done,
}

/// The till's end of the stream. Dropping it sends what was handed in, and then closes the stream.
#[derive(Debug)]
pub struct Till {
    lines: mpsc::Sender<SyncLine>,
    taken_in: watch::Sender<i64>,
}

/// There is no stream any more; the last notice says why.
#[derive(Debug, thiserror::Error)]
#[error("the till's stream has ended")]
pub struct Closed;

/// Opens a till's stream. `cursor` is the sequence of the last event that was taken in before; 0 asks for
/// everything that was never taken in. Notices come out of the receiver; a task that waits for room for a line
/// must go on taking them.
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
    /// Sends a line, as soon as there is room: a line is held back while [`WINDOW`] are under way.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn send(&self, line: SyncLine) -> Result<(), Closed> {
        self.lines.send(line).await.map_err(|_| Closed)
    }

    /// Waits until there is room for a line; cancelling loses nothing.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn room(&self) -> Result<Room, Closed> {
        self.lines.clone().reserve_owned().await.map(Room).map_err(|_| Closed)
    }

    /// Everything up to this event has been dealt with: it need not come again.
    pub fn take_in(&self, sequence: i64) {
        self.taken_in.send_if_modified(|taken_in| {
            let is_news = sequence > *taken_in;
            *taken_in = sequence.max(*taken_in);
            is_news
        });
    }
}

/// Room for one line.
#[derive(Debug)]
pub struct Room(mpsc::OwnedPermit<SyncLine>);

impl Room {
    /// Sends the line.
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
    /// Handed in and sent, and not answered.
    under_way: VecDeque<SyncLine>,
    /// Handed in, and waiting for room among those. Without it, a till that is closed while the window is full would
    /// not be noticed to be.
    held: Option<SyncLine>,
    /// The consumer has dropped the till.
    is_closed: bool,
    /// The ids of events that were handed out and not taken in, by their sequences.
    handed_out: BTreeMap<i64, String>,
    /// This stream brought events for which there was no room.
    passed_over: bool,
    /// How many answers and events have come, over all streams. That a stream was opened is no progress yet.
    messages: u64,
}

/// The consumer is gone, or the till was closed and everything answered.
struct Stopped;

/// Why a stream is over and another one is to be opened.
enum Over {
    Broken(Status),
    /// There is room for the events that were passed over.
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
        let mut reconnect = Reconnect::of(&self.connection);
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

    /// Nobody may be left to tell; then [`Self::run`] ends.
    async fn notify(&self, notice: TillNotice) {
        let _ = self.notices.send(notice).await;
    }

    /// One stream, from its opening to its end. Without a failure the next one is opened at once.
    async fn stream_once(&mut self) -> ControlFlow<Stopped, Option<Error>> {
        let (messages, outgoing) = mpsc::channel(OUTGOING);
        self.passed_over = false;
        let cursor = *self.taken_in.borrow_and_update();
        self.forget_taken_in(cursor);
        put(&messages, Message::Hello(SyncHello { till: self.name.clone(), cursor }));
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

    /// Moves lines out and answers and events in. `messages` is given up when the till was closed and nothing
    /// is under way any more: then the market ends the stream.
    async fn exchange(
        &mut self,
        mut stream: Streaming<SyncInventoryResponse>,
        messages: mpsc::Sender<SyncInventoryRequest>,
    ) -> ControlFlow<Stopped, Over> {
        let mut messages = Some(messages);
        let mut is_behind = false;
        loop {
            // The stream is ended rather than left, so that an end of the market's own, for good, is not missed.
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
            // Lines have room at all times; word of what was taken in waits for some, or goes with the next.
            let may_tell = messages.as_ref().is_some_and(|messages| messages.capacity() > WINDOW);
            // Once closed, no more is handed out. Answers are waited for by lines that may stand before word of what
            // was taken in, so they must come through whatever was not.
            let may_read = self.room() > 0 || !self.under_way.is_empty() || self.is_closed || is_behind;
            let may_hold = !self.is_closed && self.held.is_none();
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
                sequence = next(&mut self.taken_in), if may_tell => {
                    self.forget_taken_in(sequence);
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
            // Answers come in the order of the lines, one for each.
            Some(Answer::Acknowledgement(answer))
                if self.under_way.front().is_some_and(|line| line.line == answer.line) =>
            {
                self.messages += 1;
                self.under_way.pop_front();
                self.notify(TillNotice::Acknowledged(answer)).await;
            }
            Some(Answer::Event(_)) if self.is_closed => {}
            // One after another: what comes after one that was passed over is so as well.
            Some(Answer::Event(event)) if self.passed_over || self.has_no_room_for(&event) => {
                self.passed_over = true;
            }
            Some(Answer::Event(event)) => {
                self.messages += 1;
                let before = self.handed_out.insert(event.sequence, event.event_id.clone());
                if before.as_ref() != Some(&event.event_id) {
                    self.notify(TillNotice::Event(event)).await;
                }
            }
            Some(Answer::CaughtUp(_)) if self.passed_over => {}
            Some(Answer::CaughtUp(caught_up)) => {
                self.notify(TillNotice::CaughtUp { sequence: caught_up.sequence }).await;
            }
            // Nobody's answer, or a newer market's message.
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

    /// Returns whether what was passed over is to be asked for again. Only for much at a time: it costs a
    /// stream, on which all that is held comes again.
    fn may_catch_up(&self) -> bool {
        self.passed_over && !self.is_closed && self.room() >= MAX_HANDED_OUT / 2
    }

    fn forget_taken_in(&mut self, through: i64) {
        self.handed_out = self.handed_out.split_off(&through.saturating_add(1));
    }
}

/// Returns the next sequence that was taken in; never, once the till was closed.
async fn next(taken_in: &mut watch::Receiver<i64>) -> i64 {
    if taken_in.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    *taken_in.borrow_and_update()
}

/// The queue has room for all that may be under way, and is gone only with the stream, whose end is reported there.
fn put(messages: &mpsc::Sender<SyncInventoryRequest>, message: Message) {
    let _ = messages.try_send(SyncInventoryRequest { message: Some(message) });
}

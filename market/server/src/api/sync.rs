//! SyncInventory: synchronizes stock between a till and the market, in both directions.
//!
//! **Guarantee.** An acknowledged line is on disk and takes effect exactly once, however often it is sent: its number
//! is stored with the till, in the same transaction as its effect. Sales and cancellations are delivered at least
//! once and in order, until the till confirms that it has processed them. After a disconnect or crash of either side,
//! both resume where they left off.
//!
//! **Bounds.** At most one batch of lines is in the ledger at a time. Meanwhile nothing is read from the stream, so
//! that HTTP/2 flow control slows down the till. Acknowledgements wait in a short queue.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use souk_domain::{LineAnswer, Till, TillLine, action};
use souk_proto::{
    Reason,
    v1::{self, sync_inventory_request::Message, sync_inventory_response::Message as Answer},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tonic::{Code, Status, Streaming};

use super::{
    Api,
    event::subscribe_end,
    read,
    stream::{out_of_place, within},
};
use crate::{
    access::Caller,
    ledger::OVERLOAD_RETRY_DELAY,
    relay::{SubscribeEnd, SubscribeItem},
    wire::{self, command, query},
};

/// Timeout for the first message.
const HELLO: Duration = Duration::from_secs(30);
/// Capacity of the queue of acknowledgements that wait to be sent.
const ANSWERS: usize = 2 * Till::MAX_LINES_AT_ONCE;
/// Maximum number of attempts to submit lines while the ledger is full, which takes about five seconds.
const MAX_ATTEMPTS: u32 = 20;
/// Timeout for the till to read an acknowledgement when the queue is full.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

type Sent = Result<v1::SyncInventoryResponse, Status>;

/// Why a stream ends early. `None` means that the till has disconnected, so that nobody receives a status.
type End = Option<Status>;

struct Sync {
    api: Api,
    caller: Caller,
    till: Till,
    answers: mpsc::Sender<Answer>,
}

/// Opens the till and starts the tasks that serve its stream.
pub(super) async fn open(
    api: Api,
    caller: Caller,
    mut messages: Streaming<v1::SyncInventoryRequest>,
) -> Result<impl Stream<Item = Sent> + Send + use<>, Status> {
    let first = within(HELLO, "hello", messages.message()).await?;
    let Some(Message::Hello(hello)) = first.and_then(|first| first.message) else {
        return Err(out_of_place("the first message of the stream must be its hello"));
    };
    let (name, cursor) = command::sync_hello(&hello)?;
    // Opened through the ledger, so that its mailbox exists before the subscription below claims it.
    let till = api.carry_out(&caller, api.parsed(action::OpenTill { till: name })).await?;
    let events = api.parts.relay.subscribe_till(till.id, caller.party, cursor).await;
    let events = events.map_err(|end| subscribe_end(&end))?;
    let (answers, waiting) = mpsc::channel(ANSWERS);
    let (end, ended) = oneshot::channel();
    let open = api.parts.streams.tills.enter();
    let sync = Sync { api, caller, till, answers };
    tokio::spawn(async move {
        let _open = open;
        if let Err(Some(status)) = sync.run(messages, events).await {
            // This fails only if the till has disconnected.
            let _ = end.send(status);
        }
    });
    let answers = tokio_stream::wrappers::ReceiverStream::new(waiting);
    let answers = answers.map(|message| Ok(v1::SyncInventoryResponse { message: Some(message) }));
    Ok(answers.chain(stream::once(ended).filter_map(async |status| status.ok().map(Err))))
}

impl Sync {
    async fn run(
        mut self,
        messages: Streaming<v1::SyncInventoryRequest>,
        events: impl Stream<Item = Result<SubscribeItem, SubscribeEnd>> + Send,
    ) -> Result<(), End> {
        let closing = self.api.parts.closing.clone();
        let mut chunks = messages.ready_chunks(Till::MAX_LINES_AT_ONCE);
        let mut events = pin!(events);
        // First of all: from it the client learns which of its lines the market has received.
        self.send(Answer::Resume(v1::SyncResume { last_line: self.till.last_line })).await?;
        loop {
            // A branch that loses has consumed nothing: `ReadyChunks` keeps no messages between polls. While a handler
            // below runs, nothing is read, which is what slows the till down.
            tokio::select! {
                chunk = chunks.next() => match chunk {
                    Some(chunk) => self.take(chunk).await?,
                    None => return self.closed(events).await,
                },
                item = events.next() => self.pass_on(item).await?,
                () = self.answers.closed() => return Err(None),
                () = closing.cancelled() => {
                    let message = "the market is shutting down; begin again in a moment";
                    return Err(self.kept(&wire::try_again(Reason::Unavailable, message, OVERLOAD_RETRY_DELAY)));
                }
            }
        }
    }

    /// Processes the received messages in order. Lines received before an error or a disconnect are still applied.
    async fn take(&mut self, chunk: Vec<Result<v1::SyncInventoryRequest, Status>>) -> Result<(), End> {
        let mut lines = Vec::with_capacity(chunk.len());
        let mut taken_in = None;
        let mut wrong = None;
        for message in chunk {
            match message.map(|message| message.message) {
                Ok(Some(Message::Line(line))) => lines.push(command::till_line(&line)),
                Ok(Some(Message::TakenIn(taken))) => taken_in = Some(taken.sequence),
                Ok(Some(Message::Hello(_))) => wrong = Some(out_of_place("the hello may come but once")),
                Ok(None) => wrong = Some(out_of_place("a message of the stream carries nothing")),
                Err(status) => wrong = Some(status),
            }
            if wrong.is_some() {
                break;
            }
        }
        // Lines before the confirmation, and both before a wrong message: what came before it on the stream
        // still counts.
        self.carry_out(lines).await?;
        if let Some(taken_in) = taken_in {
            self.acknowledge(taken_in).await?;
        }
        match wrong {
            Some(status) if status.code() == Code::Cancelled => Err(None),
            Some(status) => Err(self.kept(&status)),
            None => Ok(()),
        }
    }

    async fn carry_out(&mut self, lines: Vec<TillLine>) -> Result<(), End> {
        if lines.is_empty() {
            return Ok(());
        }
        let answers = self.submit(&lines).await.map_err(|status| self.kept(&status))?;
        for (answer, line) in answers.iter().zip(&lines) {
            let acknowledgement = wire::sync_acknowledgement(answer, line);
            if answer.outcome.is_taken() {
                self.till.last_line = self.till.last_line.max(answer.number);
            }
            self.send(Answer::Acknowledgement(acknowledgement)).await?;
        }
        Ok(())
    }

    /// Submits lines, and retries while the ledger is full. Nothing is read from the till meanwhile.
    async fn submit(&self, lines: &[TillLine]) -> Result<Vec<LineAnswer>, Status> {
        let mut attempts = 1;
        loop {
            let action = action::Sync { till: self.till.name.clone(), lines: lines.to_vec() };
            match self.api.carry_out(&self.caller, self.api.parsed(action)).await {
                // Retried here, not by the till: nothing was changed, and a new stream would send all
                // unacknowledged lines again.
                Err(status) if Reason::of(&status) == Some(Reason::Overloaded) && attempts < MAX_ATTEMPTS => {
                    attempts += 1;
                    sleep(OVERLOAD_RETRY_DELAY).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn acknowledge(&self, taken_in: i64) -> Result<(), End> {
        let through = query::sequence("taken_in.sequence", taken_in).map_err(|status| self.kept(&status))?;
        let acknowledged = self.api.parts.mailboxes.acknowledge(self.till.id.mailbox(), through).await;
        read(acknowledged).map(|_| ()).map_err(|status| self.kept(&status))
    }

    async fn pass_on(&self, item: Option<Result<SubscribeItem, SubscribeEnd>>) -> Result<(), End> {
        let answer = match item {
            Some(Ok(SubscribeItem::Delivery(delivery))) => {
                Answer::Event(wire::event(self.caller.party, &delivery))
            }
            Some(Ok(SubscribeItem::CaughtUp(sequence))) => {
                Answer::CaughtUp(v1::SyncCaughtUp { sequence: sequence.0 })
            }
            // Only streams with a name are greeted.
            Some(Ok(SubscribeItem::Opened { .. })) => return Ok(()),
            Some(Err(end)) => return Err(self.kept(&subscribe_end(&self.or_removed(end).await))),
            None => return Err(self.kept(&too_slow())),
        };
        self.send(answer).await
    }

    /// Distinguishes a removed till from a stream that was replaced: both invalidate the lease in the same way.
    async fn or_removed(&self, end: SubscribeEnd) -> SubscribeEnd {
        // Removing a till raises the epoch of its lease, which other markets see as a replacement.
        let is_gone = matches!(end, SubscribeEnd::Replaced) && self.is_gone().await;
        if is_gone { SubscribeEnd::Removed } else { end }
    }

    async fn is_gone(&self) -> bool {
        let tills = self.api.reads().tills(self.caller.party).await;
        tills.is_ok_and(|tills| tills.iter().all(|till| till.id != self.till.id))
    }

    /// Returns the end of a stream that the till has closed: OK, unless another stream took over or the till was
    /// removed. That news may still be queued behind events.
    async fn closed(
        &self,
        mut events: Pin<&mut impl Stream<Item = Result<SubscribeItem, SubscribeEnd>>>,
    ) -> Result<(), End> {
        // Only what is ready: the till has closed its side, and its sales stay in the mailbox for the next
        // stream.
        while let Some(Some(item)) = events.next().now_or_never() {
            match item {
                Ok(_) | Err(SubscribeEnd::TooSlow) => {}
                Err(end) => return Err(self.kept(&subscribe_end(&self.or_removed(end).await))),
            }
        }
        self.unless_gone().await
    }

    async fn unless_gone(&self) -> Result<(), End> {
        if self.is_gone().await { Err(self.kept(&subscribe_end(&SubscribeEnd::Removed))) } else { Ok(()) }
    }

    async fn send(&self, answer: Answer) -> Result<(), End> {
        match timeout(READ_TIMEOUT, self.answers.send(answer)).await {
            Ok(sent) => sent.map_err(|_| None),
            Err(_) => {
                self.unless_gone().await?;
                Err(self.kept(&too_slow()))
            }
        }
    }

    fn kept(&self, status: &Status) -> End {
        let last = self.till.last_line;
        if last == 0 {
            return Some(status.clone());
        }
        Some(wire::with_message(
            status,
            &format!("{}; the lines up to {last} were applied", status.message()),
        ))
    }
}

fn too_slow() -> Status {
    subscribe_end(&SubscribeEnd::TooSlow)
}

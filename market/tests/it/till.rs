//! A till's side of SyncInventory, message by message, so that no client library hides errors from the tests.

use souk_client::{Connection, Error};
use souk_proto::v1::{
    self, SyncAcknowledgement, SyncLine, sync_acknowledgement::Result as SyncResult,
    sync_inventory_request::Message, sync_inventory_response::Message as Answer, sync_line,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::fixture::{PATIENCE, Party};

pub(crate) fn by(line: i64, item_id: i64, delta: i64) -> SyncLine {
    let item = Some(sync_line::Item::ItemId(item_id));
    SyncLine { line, item, change: Some(sync_line::Change::QuantityDelta(delta)) }
}

pub(crate) fn to(line: i64, sku: &str, quantity: i64) -> SyncLine {
    let item = Some(sync_line::Item::Sku(sku.to_owned()));
    SyncLine { line, item, change: Some(sync_line::Change::Quantity(quantity)) }
}

pub(crate) fn hello(till: &str, cursor: i64) -> Message {
    Message::Hello(v1::SyncHello { till: till.to_owned(), cursor })
}

/// A raw stream, without the client library's retries.
pub(crate) struct Raw {
    messages: mpsc::Sender<v1::SyncInventoryRequest>,
    answers: Streaming<v1::SyncInventoryResponse>,
}

pub(crate) async fn raw(connection: &Connection, first: Vec<Message>) -> Result<Raw, Error> {
    let (messages, stream) = mpsc::channel(1_000);
    for message in first {
        messages.try_send(v1::SyncInventoryRequest { message: Some(message) }).unwrap();
    }
    match connection.seller().sync_inventory(ReceiverStream::new(stream)).await {
        Ok(answers) => Ok(Raw { messages, answers: answers.into_inner() }),
        Err(status) => Err(connection.explain(status).await),
    }
}

impl Raw {
    pub(crate) async fn begin(seller: &Party, cursor: i64) -> (Self, i64) {
        let mut raw = raw(&seller.connection, vec![hello("shop", cursor)]).await.unwrap();
        match raw.next().await {
            Some(Answer::Resume(resume)) => (raw, resume.last_line),
            other => panic!("not where to go on: {other:?}"),
        }
    }

    pub(crate) fn send(&self, message: Message) {
        self.messages.try_send(v1::SyncInventoryRequest { message: Some(message) }).unwrap();
    }

    pub(crate) async fn message(&mut self) -> Result<Option<Answer>, tonic::Status> {
        let message = timeout(PATIENCE, self.answers.message()).await.expect("an answer in time")?;
        Ok(message.map(|message| message.message.unwrap()))
    }

    pub(crate) async fn next(&mut self) -> Option<Answer> {
        self.message().await.unwrap()
    }

    /// Sends lines and collects their answers, skipping the events and marks in between.
    pub(crate) async fn answers_to(&mut self, lines: Vec<SyncLine>) -> Vec<SyncAcknowledgement> {
        let count = lines.len();
        for line in lines {
            self.send(Message::Line(line));
        }
        let mut answers = Vec::new();
        while answers.len() < count {
            match self.next().await {
                Some(Answer::Acknowledgement(answer)) => answers.push(answer),
                Some(_) => {}
                None => panic!("the stream ended after {answers:?}"),
            }
        }
        answers
    }

    pub(crate) async fn next_event(&mut self) -> v1::Event {
        loop {
            match self.next().await {
                Some(Answer::Event(event)) => return event,
                Some(_) => {}
                None => panic!("the stream ended before the event"),
            }
        }
    }

    /// Reads the stream to its end, which must be a failure, and returns that.
    pub(crate) async fn failure(&mut self, connection: &Connection) -> Error {
        loop {
            match self.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended well"),
                Err(status) => return connection.explain(status).await,
            }
        }
    }
}

pub(crate) fn stock(answer: &SyncAcknowledgement) -> i64 {
    match &answer.result {
        Some(SyncResult::Stock(stock)) => stock.quantity,
        other => panic!("refused: {other:?}"),
    }
}

pub(crate) fn refused_for(answer: &SyncAcknowledgement) -> &str {
    match &answer.result {
        Some(SyncResult::Error(error)) => &error.reason,
        other => panic!("not refused: {other:?}"),
    }
}

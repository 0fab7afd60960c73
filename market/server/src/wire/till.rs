//! Conversion of SyncInventory's messages.

use aws_lc_rs::digest;
use prost::Message as _;
use souk_domain::{
    Invalid, ItemId, ItemRef, LineAnswer, LineChange, LineOutcome, LinePrint, Quantity, Refusal, Sequence,
    Sku, StockChange, Till, TillLine, TillName, action,
};
use souk_proto::{
    Reason,
    v1::{self, sync_acknowledgement::Result as SyncResult, sync_line},
};
use tonic::Status;

use super::mutation::{Mutating, Parsed, mutating};
use super::parse::{Fields, fingerprint};
use super::{refusal, timestamp};

/// Converts a RemoveTill request to a command without its caller.
pub fn remove_till(mut request: v1::RemoveTillRequest) -> Result<Parsed<action::RemoveTill>, Status> {
    let call = mutating!(request, "RemoveTill");
    let mut fields = Fields::new();
    let till = fields.take("till", TillName::parse(&request.till));
    call.finish(fields, till.map(|till| action::RemoveTill { till }))
}

/// Parses the first message of SyncInventory.
pub fn sync_hello(hello: &v1::SyncHello) -> Result<(TillName, Sequence), Status> {
    let mut fields = Fields::new();
    let till = fields.take("hello.till", TillName::parse(&hello.till));
    let cursor = fields.sequence("hello.cursor", hello.cursor);
    fields.finish(till.zip(cursor))
}

/// Parses a line. An invalid line is still a line: it uses up its number and is acknowledged with an error.
pub fn till_line(line: &v1::SyncLine) -> TillLine {
    let mut fields = Fields::new();
    let item = match &line.item {
        Some(sync_line::Item::ItemId(id)) => fields.id("item_id", *id).map(|id| ItemRef::Id(ItemId(id))),
        Some(sync_line::Item::Sku(sku)) => fields.take("sku", Sku::parse(sku)).map(ItemRef::Sku),
        None => {
            fields.wrong("sku", "is missing; name the item by item_id or sku");
            None
        }
    };
    let stock = match line.change {
        Some(sync_line::Change::Quantity(units)) => {
            fields.take("quantity", Quantity::parse(units)).map(StockChange::To)
        }
        Some(sync_line::Change::QuantityDelta(0)) => {
            fields.wrong("quantity_delta", "is 0; give the units that came or, negative, went");
            None
        }
        Some(sync_line::Change::QuantityDelta(delta)) => Some(StockChange::By(delta)),
        None => {
            fields.wrong("quantity", "is missing; give quantity or quantity_delta");
            None
        }
    };
    let asks = fields.finish_as_text(item.zip(stock)).map(|(item, stock)| LineChange { item, stock });
    TillLine { number: line.line, print: print(line), asks: asks.map_err(Invalid::new) }
}

fn print(line: &v1::SyncLine) -> LinePrint {
    let content = v1::SyncLine { line: 0, ..line.clone() };
    let hash = digest::digest(&digest::SHA256, &content.encode_to_vec());
    // 64 bits are enough: this detects a till that numbers wrongly, and a till that forges a match deceives only itself.
    let mut short = [0; 8];
    short.copy_from_slice(&hash.as_ref()[..8]);
    LinePrint(u64::from_be_bytes(short))
}

/// Builds the acknowledgement of a line. `line` is used in the text of errors.
pub fn sync_acknowledgement(answer: &LineAnswer, line: &TillLine) -> v1::SyncAcknowledgement {
    let LineAnswer { number, repeated, outcome } = answer;
    let result = match outcome {
        LineOutcome::Stock { item, quantity, version } => Some(SyncResult::Stock(v1::SyncedStock {
            item_id: item.0,
            quantity: *quantity,
            item_version: *version,
        })),
        LineOutcome::Forgotten => None,
        LineOutcome::ItemNotFound => Some(error(Reason::ItemNotFound, not_found(line))),
        LineOutcome::OutOfRange { available, delta } => {
            let refusal = refusal(&Refusal::StockOutOfRange { available: *available, delta: *delta });
            Some(error(Reason::StockOutOfRange, refusal.message()))
        }
        LineOutcome::Invalid(problem) => Some(error(Reason::InvalidField, problem.clone())),
        LineOutcome::OutOfOrder { expected } => {
            let problem = format!("line {number} was not taken: line {expected} is expected next");
            Some(error(Reason::LineOutOfOrder, problem))
        }
        LineOutcome::Reused => {
            let problem = format!("line {number} was not taken: another line {number} came before");
            Some(error(Reason::LineReused, problem))
        }
    };
    v1::SyncAcknowledgement { line: *number, repeated: *repeated, result }
}

fn not_found(line: &TillLine) -> String {
    match line.asks.as_ref().map(|change| &change.item) {
        Ok(ItemRef::Id(id)) => format!("you list no item {id}"),
        Ok(ItemRef::Sku(sku)) => format!("you list no item with the sku {}", sku.as_str()),
        Err(_) => "you list no such item".to_owned(),
    }
}

fn error(reason: Reason, message: impl Into<String>) -> SyncResult {
    SyncResult::Error(v1::SyncError { reason: reason.as_str().to_owned(), message: message.into() })
}

/// Converts a till and the number of its pending events to their message.
pub fn till(till: &Till, pending_count: i64) -> v1::Till {
    v1::Till {
        name: till.name.as_str().to_owned(),
        last_line: till.last_line,
        pending_count,
        open_time: Some(timestamp(till.opened_at)),
    }
}

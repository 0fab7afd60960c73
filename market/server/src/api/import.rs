//! ImportItems and ExportItems: a seller's whole catalogue as a stream.

mod pace;

use std::time::Duration;

use futures::{Stream, stream};
pub use pace::ImportPace;
use souk_domain::{ImportRow, Imported, ItemId, PartyId, action};
use souk_proto::v1::{self, import_items_request::Message};
use souk_store::ItemQuery;
use tonic::{Status, Streaming};

use super::{
    Api, read,
    stream::{in_its_own_task, out_of_place, within},
};
use crate::{
    access::Caller,
    wire::{
        self, BatchKeys, ImportProgress,
        command::{self, Parsed},
    },
};

/// Maximum number of rejected rows described in the response. All are counted.
const MAX_ERRORS: usize = 1_000;
/// Maximum length of a rejected row's SKU in the response, in characters.
const MAX_SHOWN_SKU_CHARS: usize = 64;
/// Maximum time between two messages of a sender.
const IDLE: Duration = Duration::from_secs(30);
/// Number of items read from the store at a time.
const EXPORT_PAGE: usize = 256;
/// The maximum number of bytes that an export holds until its client reads them.
const EXPORT_PAGE_BYTES: usize = 64 * 1024;

/// An import in progress. At most one batch of rows is in the ledger at a time. Meanwhile nothing is read from the
/// stream, so that HTTP/2 flow control slows down the sender and nothing accumulates here.
pub(super) struct Import {
    api: Api,
    caller: Caller,
    validate_only: bool,
    /// `None` if the client gave no id.
    keys: Option<BatchKeys>,
    batch: Vec<ImportRow>,
    done: v1::ImportItemsResponse,
    /// The number of described errors that are in the order of the stream.
    ordered: usize,
    /// The number of rows received.
    received: i64,
    /// The number of the rows up to which all have been imported or rejected, and the line of the last imported one.
    confirmed: (i64, i64),
    /// The number of rows rejected since. If the import is interrupted, its client sends them again.
    failed_since: i64,
}

impl Import {
    /// Imports all rows of a stream. Runs in a separate task: if the sender disconnects, tonic drops the call, but
    /// the rows received before must still be imported.
    pub(super) async fn run(
        api: Api,
        caller: Caller,
        rows: Streaming<v1::ImportItemsRequest>,
    ) -> Result<v1::ImportItemsResponse, Status> {
        in_its_own_task(Self::take_all(api, caller, rows)).await
    }

    async fn take_all(
        api: Api,
        caller: Caller,
        mut rows: Streaming<v1::ImportItemsRequest>,
    ) -> Result<v1::ImportItemsResponse, Status> {
        let Some(Message::Header(header)) =
            within(IDLE, "row", rows.message()).await?.and_then(|first| first.message)
        else {
            return Err(out_of_place("the first message of the stream must be its header"));
        };
        let mut import = Import {
            api,
            caller,
            validate_only: header.validate_only,
            keys: BatchKeys::of(&header)?,
            batch: Vec::with_capacity(ImportRow::MAX_AT_ONCE),
            done: v1::ImportItemsResponse::default(),
            ordered: 0,
            received: 0,
            confirmed: (0, 0),
            failed_since: 0,
        };
        match import.take(&mut rows).await {
            Ok(()) => Ok(import.done),
            Err(status) => Err(import.interrupted(&status)),
        }
    }

    async fn take(&mut self, rows: &mut Streaming<v1::ImportItemsRequest>) -> Result<(), Status> {
        loop {
            let message = match within(IDLE, "row", rows.message()).await {
                Ok(Some(message)) => message.message,
                // The gRPC library reports a stream that its client has cancelled as one that has ended.
                Ok(None) if self.keys.is_some() => {
                    return Err(out_of_place(
                        "the stream of an import with a request_id must end with `end`",
                    ));
                }
                Ok(None) => return self.carry_out().await,
                Err(status) => {
                    // The stream has broken. Rows that were received completely are imported. With an id, they are left
                    // to the retry: if only a part of a batch were recorded under the batch's key, the whole batch
                    // would be refused.
                    if self.keys.is_none() {
                        self.carry_out().await?;
                    }
                    return Err(status);
                }
            };
            match message {
                Some(Message::Row(row)) => self.add(&row).await?,
                Some(Message::End(_)) => return self.carry_out().await,
                Some(Message::Header(_)) => return Err(out_of_place("the header may come but once")),
                None => {
                    return Err(out_of_place("a message of the stream carries neither header, row nor end"));
                }
            }
        }
    }

    async fn add(&mut self, row: &v1::ImportRow) -> Result<(), Status> {
        self.received += 1;
        match command::import_row(row) {
            Ok(parsed) => {
                if let Some(keys) = &mut self.keys {
                    keys.add(row);
                }
                self.batch.push(parsed);
            }
            Err(problem) => {
                let sku = row.item.as_ref().and_then(|item| item.sku.as_deref()).unwrap_or_default();
                self.fail(row.line, sku, problem);
                self.failed_since += 1;
            }
        }
        if self.batch.len() == ImportRow::MAX_AT_ONCE { self.carry_out().await } else { Ok(()) }
    }

    /// Returns the status with the tally of the rows that need not be sent again.
    fn interrupted(mut self, cause: &Status) -> Status {
        self.done.failed_count -= self.failed_since;
        let (rows, line) = self.confirmed;
        wire::import_interrupted(cause, &ImportProgress { rows, line, done: &self.done })
    }

    fn fail(&mut self, line: i64, sku: &str, message: String) {
        self.done.failed_count += 1;
        // The count goes on, but not the list: the response has to stay below the limit of a message.
        if self.done.errors.len() < MAX_ERRORS {
            let sku = sku.chars().take(MAX_SHOWN_SKU_CHARS).collect();
            self.done.errors.push(v1::RowError { line, sku, message });
        }
    }

    /// Submits the batch. An import is idempotent by SKU, so a batch needs no request id from the sender. With one, a
    /// repetition also learns what the first call did.
    async fn carry_out(&mut self) -> Result<(), Status> {
        if self.batch.is_empty() {
            return Ok(());
        }
        // Rejected rows are not in the batch, so one wrong row does not fail the 199 others.
        let rows = std::mem::replace(&mut self.batch, Vec::with_capacity(ImportRow::MAX_AT_ONCE));
        let parts = &self.api.parts;
        parts.imports.admit(self.caller.party, rows.len(), &parts.search).await;
        let (last, skus) = (rows.last().map_or(0, |row| row.line), skus_by_line(&rows));
        let mut parsed =
            Parsed { validate_only: self.validate_only, ..self.api.parsed(action::Import(rows)) };
        if let Some(keys) = &mut self.keys {
            parsed.request = keys.end_batch();
        }
        let Imported { created, updated, unchanged, not_found, incomplete } =
            self.api.carry_out(&self.caller, parsed).await?;
        self.done.created_count += created;
        self.done.updated_count += updated;
        self.done.unchanged_count += unchanged;
        let sku_in = |line: i64| skus.iter().find(|(of, _)| *of == line).map_or("", |(_, sku)| sku);
        for line in not_found {
            let problem = "item_id names no item of yours; check it, or leave it out";
            self.fail(line, sku_in(line), problem.to_owned());
        }
        for line in incomplete {
            let problem =
                "no item of yours has this sku, and a new one needs name, category, price and quantity";
            self.fail(line, sku_in(line), problem.to_owned());
        }
        // Those above came in between the rows that could not be read.
        self.done.errors[self.ordered..].sort_by_key(|error| error.line);
        self.ordered = self.done.errors.len();
        // Only after the commit: an interrupted client resumes after this row.
        self.confirmed = (self.received, last);
        self.failed_since = 0;
        Ok(())
    }
}

/// Returns the SKUs of the rows that may be reported.
fn skus_by_line(rows: &[ImportRow]) -> Vec<(i64, String)> {
    let reported = rows.iter().filter(|row| row.item.is_some() || !row.is_complete());
    let sku = |row: &ImportRow| row.sku.as_ref().map(|sku| sku.as_str().to_owned()).unwrap_or_default();
    reported.map(|row| (row.line, sku(row))).collect()
}

/// Returns a stream of all items of a seller, which reads a page at a time as the client consumes it.
pub(super) fn export(
    api: Api,
    seller: PartyId,
) -> impl Stream<Item = Result<v1::ExportItemsResponse, Status>> + Send {
    let pages = stream::try_unfold((api, Some(None), EXPORT_PAGE), move |(api, after, rows)| async move {
        let Some(after): Option<Option<ItemId>> = after else { return Ok(None) };
        let query = ItemQuery { seller, withdrawn: false, after, limit: rows };
        let items = read(api.reads().seller_items(&query).await)?;
        let messages = items.iter().map(|item| v1::ExportItemsResponse { item: Some(wire::item(item)) });
        // The page waits here until the client has read it, so it is bounded in bytes.
        let page = wire::within(EXPORT_PAGE_BYTES, messages);
        // Continues by item number: items that are listed meanwhile neither shift a page nor appear twice.
        let last = page.len().checked_sub(1).map(|last| items[last].id);
        let next = (page.len() < items.len() || items.len() == rows).then_some(last);
        // The next read returns little more than fits into a page.
        let rows = (2 * page.len()).clamp(1, EXPORT_PAGE);
        Ok::<_, Status>(Some((stream::iter(page.into_iter().map(Ok)), (api, next, rows))))
    });
    futures::TryStreamExt::try_flatten(pages)
}

//! Archive and PruneArchived: operators copy what is past its retention, and then remove it.

use std::{pin::Pin, str::FromStr as _, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use souk_domain::{OrderId, Timestamp};
use souk_proto::{Reason, v1};
use souk_store::{
    DueOrders, ORDERS_STEP, PrunedBy,
    audit::{AuditRow, Head, written_at},
};
use tokio::time::sleep;
use tonic::Status;

use super::{Api, read, stream::in_its_own_task};
use crate::{
    access::Operator,
    ledger::OVERLOAD_RETRY_DELAY,
    wire::{self, Fields},
};

/// The number of audit entries in a message.
const AUDIT_PAGE: usize = 256;
/// The maximum number of orders in a PruneArchived call.
const MAX_ORDERS: usize = 1_000;
/// The maximum number of steps in which a PruneArchived call prunes the audit log, so that it ends long before the limit
/// on the duration of calls.
const AUDIT_STEPS: usize = 16;
/// The pause between two steps of pruning. A step takes the writers' turn for about as long as a batch of purchases, so
/// pruning takes a small part of a busy market's time.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) type Archived = Pin<Box<dyn Stream<Item = Result<v1::ArchiveResponse, Status>> + Send>>;

/// Returns the time before which orders and entries are old. They are dated by the wall clock, so the lower of both clocks
/// counts: one reading of a wall clock that is ahead makes nothing old.
fn old(api: &Api, kept: Duration) -> Timestamp {
    api.parts.clock.now().min(api.parts.steady.now()).minus(kept)
}

/// Begins the stream of what is due.
pub(super) async fn open(api: Api, request: v1::ArchiveRequest) -> Result<Archived, Status> {
    let kept = match request.table() {
        v1::ArchiveTable::Orders => api.parts.retention.finished_orders,
        v1::ArchiveTable::Audit => api.parts.retention.audit,
        v1::ArchiveTable::Unspecified => {
            return wrong("table", "is missing; give ARCHIVE_TABLE_ORDERS or ARCHIVE_TABLE_AUDIT");
        }
    };
    let retention = kept.and_then(|kept| prost_types::Duration::try_from(kept).ok());
    let first = v1::ArchiveResponse { retention, ..Default::default() };
    let begin = stream::iter([Ok(first)]);
    let Some(kept) = kept else { return Ok(Box::pin(begin)) };
    let before = old(&api, kept);
    let count_only = request.count_only;
    let messages: Archived = match request.table() {
        v1::ArchiveTable::Orders => Box::pin(orders(api, before, OrderId(request.after))),
        _ => Box::pin(entries(api, before, request.after).await?),
    };
    Ok(Box::pin(begin.chain(messages.map(move |message| {
        message.map(|message| {
            if !count_only {
                return message;
            }
            v1::ArchiveResponse { orders: Vec::new(), audit_records: Vec::new(), ..message }
        })
    }))))
}

/// Streams the due orders, one message for each look at the store. Messages without any show that the call is alive.
fn orders(
    api: Api,
    before: Timestamp,
    after: OrderId,
) -> impl Stream<Item = Result<v1::ArchiveResponse, Status>> + Send {
    stream::try_unfold((api, Some(after)), move |(api, after)| async move {
        let Some(after) = after else { return Ok(None) };
        unless_closing(&api)?;
        let DueOrders { orders, next } = read(api.parts.archive.due_orders(before, after).await)?;
        let orders: Vec<_> = orders.iter().map(wire::order).collect();
        let message = v1::ArchiveResponse { due_count: count(orders.len()), orders, ..Default::default() };
        Ok(Some((message, (api, next))))
    })
}

/// Streams the due entries of the audit log: the beginning of the log, up to the first entry that is not due, and without
/// the newest one.
async fn entries(
    api: Api,
    before: Timestamp,
    after: i64,
) -> Result<impl Stream<Item = Result<v1::ArchiveResponse, Status>> + Send, Status> {
    let newest = read(api.reads().audit_head().await)?.sequence;
    Ok(stream::try_unfold((api, Some(after.max(0))), move |(api, after)| async move {
        let Some(after) = after else { return Ok(None) };
        unless_closing(&api)?;
        let page = read(api.reads().audit(after, AUDIT_PAGE).await)?;
        let is_full = page.len() == AUDIT_PAGE;
        let is_due = |row: &AuditRow| {
            // An entry that can't be read was altered, and stays for verification to report.
            row.sequence < newest && written_at(&row.line).is_some_and(|at| at < before.0)
        };
        let due: Vec<_> = page.iter().take_while(|row| is_due(row)).collect();
        let audit_records = wire::within(
            wire::MAX_PAGE_BYTES,
            due.iter().map(|row| v1::AuditRecord {
                sequence: row.sequence,
                hash: row.hash.to_string(),
                line: row.line.clone(),
            }),
        );
        let goes_on = audit_records.len() < due.len() || (is_full && due.len() == page.len());
        let next = audit_records.last().filter(|_| goes_on).map(|last| last.sequence);
        let due_count = count(audit_records.len());
        let message = v1::ArchiveResponse { due_count, audit_records, ..Default::default() };
        Ok(Some((message, (api, next))))
    }))
}

/// Deletes what was archived. Goes on if the caller disconnects: a call is short.
pub(super) async fn prune(
    api: Api,
    operator: Operator,
    request: v1::PruneArchivedRequest,
) -> Result<v1::PruneArchivedResponse, Status> {
    if request.order_ids.len() > MAX_ORDERS {
        return wrong("order_ids", &format!("are more than {MAX_ORDERS}; prune them in several calls"));
    }
    let through = match request.audit_through {
        Some(position) => match Head::from_str(&format!("{}:{}", position.sequence, position.hash)) {
            Ok(head) => Some(head),
            Err(_) => return wrong("audit_through.hash", "is not a SHA-256 in 64 hexadecimal digits"),
        },
        None => None,
    };
    let orders = request.order_ids.into_iter().map(OrderId).collect();
    in_its_own_task(async move {
        let pruning = Pruning { by: by(&api, operator), api };
        let pruned_order_count = pruning.orders(orders).await?;
        let pruned_audit_count = match through {
            Some(through) => pruning.audit(through).await?,
            None => 0,
        };
        let base = read(pruning.api.reads().audit_base().await)?;
        let audit_base = (base != Head::START)
            .then(|| v1::AuditPosition { sequence: base.sequence, hash: base.hash.to_string() });
        Ok(v1::PruneArchivedResponse { pruned_order_count, pruned_audit_count, audit_base })
    })
    .await
}

fn by(api: &Api, operator: Operator) -> PrunedBy {
    let origin = operator.origin();
    PrunedBy {
        at: api.parts.clock.now(),
        who: format!("{}/{}", origin.role, operator.id),
        from: origin.address,
    }
}

/// One PruneArchived call.
struct Pruning {
    api: Api,
    by: PrunedBy,
}

impl Pruning {
    async fn orders(&self, orders: Vec<OrderId>) -> Result<i64, Status> {
        let Some(kept) = self.api.parts.retention.finished_orders else { return Ok(0) };
        let mut pruned = 0;
        for step in orders.chunks(ORDERS_STEP) {
            if pruned > 0 {
                sleep(PAUSE).await;
            }
            let before = old(&self.api, kept);
            pruned += read(self.api.parts.archive.prune_orders(step, before, &self.by).await)?;
        }
        Ok(count(pruned))
    }

    async fn audit(&self, through: Head) -> Result<i64, Status> {
        let reads = self.api.reads();
        let Some(kept) = self.api.parts.retention.audit else { return Ok(0) };
        if through.sequence <= read(reads.audit_base().await)?.sequence {
            return Ok(0);
        }
        let found = read(reads.audit(through.sequence - 1, 1).await)?.pop();
        let found = found.filter(|row| row.sequence == through.sequence && row.hash == through.hash);
        let Some(found) = found else {
            return wrong("audit_through", "is not an entry of this market's audit log; archive it again");
        };
        // The entries before it are older, or were written under a clock that was ahead.
        if written_at(&found.line).is_none_or(|at| at >= old(&self.api, kept).0) {
            return Ok(0);
        }
        let mut pruned = 0;
        for _ in 0..AUDIT_STEPS {
            match read(self.api.parts.archive.prune_audit(through.sequence, &self.by).await)? {
                0 => break,
                step => pruned += step,
            }
            sleep(PAUSE).await;
        }
        Ok(count(pruned))
    }
}

/// Fails with a mistake in a field.
fn wrong<T>(field: &str, problem: &str) -> Result<T, Status> {
    let mut fields = Fields::new();
    fields.wrong(field, problem);
    fields.finish(None)
}

/// Fails if the market shuts down.
fn unless_closing(api: &Api) -> Result<(), Status> {
    if api.parts.closing.is_cancelled() {
        let told = "the market is shutting down; archive again in a moment";
        return Err(wire::try_again(Reason::Unavailable, told, OVERLOAD_RETRY_DELAY));
    }
    Ok(())
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

//! A till that is restarted at any point, and the state that it keeps on disk.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::bail;
use souk_client::{Connection, Till, TillNotice, till};
use souk_proto::v1::{SyncLine, event::Kind, sync_acknowledgement::Result as SyncResult, sync_line};
use tokio::sync::{mpsc, watch};

/// The state that survives a restart of the till.
#[derive(Default)]
pub(crate) struct Disk {
    /// The last line that was acknowledged.
    pub(crate) answered: i64,
    /// The number of acknowledgements received for each line.
    pub(crate) answers: BTreeMap<i64, u32>,
    pub(crate) refused: u64,
    /// Acknowledgements of lines that the market had already received, as happens after a cut between a line and its
    /// acknowledgement.
    pub(crate) repeated_answers: u64,
    /// Events that the till had already processed.
    pub(crate) repeated_events: u64,
    /// Number of streams that the market has resumed.
    pub(crate) resumed: u64,
    /// The sequence of the last processed event.
    pub(crate) cursor: i64,
    /// How often each event was processed. The key is the order and whether it was cancelled.
    pub(crate) events: BTreeMap<(i64, bool), u32>,
}

/// The till: its connection and its disk.
pub(crate) struct Shop {
    connection: Connection,
    disk: Arc<Mutex<Disk>>,
}

/// The number of the last line that the till may send.
pub(crate) type Limit = watch::Receiver<i64>;

/// Returns the SKU of the item that a line changes. Each line has its own item, so that a lost line can't be hidden
/// by a duplicated one.
pub(crate) fn sku(line: i64) -> String {
    format!("line-{line}")
}

impl Shop {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, disk: Arc::default() }
    }

    /// Locks the disk. A poisoned lock is safe to use: no update under it can panic half-way.
    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the till once: starts from the state on disk and returns when all lines up to the final limit have been
    /// acknowledged. Dropping the future at any await simulates a crash.
    pub(crate) async fn live(&self, mut limit: Limit) -> anyhow::Result<()> {
        let (answered, cursor) = {
            let disk = self.disk();
            (disk.answered, disk.cursor)
        };
        let (till, mut notices) = till::open(self.connection.clone(), "shop".into(), cursor);
        let mut next = answered + 1;
        loop {
            let last = *limit.borrow_and_update();
            if self.disk().answered >= last && limit.has_changed().is_err() {
                return self.finish(till, notices).await;
            }
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(notice) => self.note(&till, notice)?,
                    None => bail!("the till's stream was closed"),
                },
                room = till.room(), if next <= last => {
                    let change = Some(sync_line::Change::QuantityDelta(1));
                    room?.send(SyncLine { line: next, item: Some(sync_line::Item::Sku(sku(next))), change });
                    next += 1;
                }
                _ = limit.changed(), if next > last => {}
            }
        }
    }

    async fn finish(&self, till: Till, mut notices: mpsc::Receiver<TillNotice>) -> anyhow::Result<()> {
        drop(till);
        while let Some(notice) = notices.recv().await {
            match notice {
                TillNotice::Done => return Ok(()),
                TillNotice::Ended(failure) => bail!("the till's stream ended: {failure}"),
                _ => {}
            }
        }
        bail!("the till's stream was closed")
    }

    /// Processes events until the market reports that none is waiting.
    pub(crate) async fn catch_up(&self) -> anyhow::Result<()> {
        let cursor = self.disk().cursor;
        let (till, mut notices) = till::open(self.connection.clone(), "shop".into(), cursor);
        while let Some(notice) = notices.recv().await {
            match notice {
                TillNotice::CaughtUp { .. } => return Ok(()),
                notice => self.note(&till, notice)?,
            }
        }
        bail!("the till's stream was closed")
    }

    fn note(&self, till: &Till, notice: TillNotice) -> anyhow::Result<()> {
        match notice {
            TillNotice::Acknowledged(answer) => {
                let mut disk = self.disk();
                disk.answered = disk.answered.max(answer.line);
                *disk.answers.entry(answer.line).or_default() += 1;
                disk.repeated_answers += u64::from(answer.repeated);
                disk.refused += u64::from(matches!(answer.result, Some(SyncResult::Error(_))));
            }
            TillNotice::Event(event) => {
                let (order, is_cancelled) = match event.kind {
                    Some(Kind::OrderPlaced(placed)) => (placed.order, false),
                    Some(Kind::OrderCancelled(cancelled)) => (cancelled.order, true),
                    other => bail!("a till received an event of the wrong kind: {other:?}"),
                };
                let order = order.map_or(0, |order| order.order_id);
                let mut disk = self.disk();
                // Like a real till with a cursor: an event up to the cursor has been processed already.
                if event.sequence > disk.cursor {
                    disk.cursor = event.sequence;
                    *disk.events.entry((order, is_cancelled)).or_default() += 1;
                } else {
                    disk.repeated_events += 1;
                }
                till.take_in(event.sequence);
            }
            TillNotice::Ended(failure) => bail!("the till's stream ended: {failure}"),
            TillNotice::Resumed { .. } => self.disk().resumed += 1,
            TillNotice::CaughtUp { .. } | TillNotice::Interrupted { .. } | TillNotice::Done => {}
        }
        Ok(())
    }
}

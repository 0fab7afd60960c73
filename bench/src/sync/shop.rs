//! A till that dies and comes back: what it has on disk, and what it does with it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::bail;
use souk_client::{Connection, Till, TillNotice, till};
use souk_proto::v1::{SyncLine, event::Kind, sync_acknowledgement::Result as Told, sync_line};
use tokio::sync::{mpsc, watch};

/// What survives the till's death.
#[derive(Default)]
pub(crate) struct Disk {
    /// The last line that was answered.
    pub(crate) answered: i64,
    /// Answers of lines that were not answered before, by line: how often each came.
    pub(crate) answers: BTreeMap<i64, u32>,
    pub(crate) refused: u64,
    /// Answers to lines that the market had before, and events that had been taken in before: what a cut between
    /// the two sides leads to.
    pub(crate) repeated_answers: u64,
    pub(crate) repeated_events: u64,
    /// Streams that came to their beginning.
    pub(crate) resumed: u64,
    /// The sequence of the last event that was taken in.
    pub(crate) cursor: i64,
    /// How often each event was taken in: the order, and whether it was a cancellation.
    pub(crate) events: BTreeMap<(i64, bool), u32>,
}

/// The till's program and its disk.
pub(crate) struct Shop {
    connection: Connection,
    disk: Arc<Mutex<Disk>>,
}

/// The till is to send no more lines than up to here.
pub(crate) type Limit = watch::Receiver<i64>;

/// Lines are each for an item of its own, so that one that is lost can't make up for one that is doubled.
pub(crate) fn sku(line: i64) -> String {
    format!("line-{line}")
}

impl Shop {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, disk: Arc::default() }
    }

    /// Nothing that is done under the lock can panic half-way.
    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One life: begins with what is on disk, and ends when all lines up to the limit are answered, or when
    /// the future is dropped at any await.
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
                    None => bail!("the till's stream is gone"),
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
        bail!("the till's stream is gone")
    }

    /// Listens until everything that waits was taken in.
    pub(crate) async fn catch_up(&self) -> anyhow::Result<()> {
        let cursor = self.disk().cursor;
        let (till, mut notices) = till::open(self.connection.clone(), "shop".into(), cursor);
        while let Some(notice) = notices.recv().await {
            match notice {
                TillNotice::CaughtUp { .. } => return Ok(()),
                notice => self.note(&till, notice)?,
            }
        }
        bail!("the till's stream is gone")
    }

    fn note(&self, till: &Till, notice: TillNotice) -> anyhow::Result<()> {
        match notice {
            TillNotice::Acknowledged(answer) => {
                let mut disk = self.disk();
                disk.answered = disk.answered.max(answer.line);
                *disk.answers.entry(answer.line).or_default() += 1;
                disk.repeated_answers += u64::from(answer.repeated);
                disk.refused += u64::from(matches!(answer.result, Some(Told::Error(_))));
            }
            TillNotice::Event(event) => {
                let (order, is_cancelled) = match event.kind {
                    Some(Kind::OrderPlaced(placed)) => (placed.order, false),
                    Some(Kind::OrderCancelled(cancelled)) => (cancelled.order, true),
                    other => bail!("a till was told of {other:?}"),
                };
                let order = order.map_or(0, |order| order.order_id);
                let mut disk = self.disk();
                // As a till would that keeps a cursor: what it has had already is nothing new.
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

//! Publishes hints to the other markets, and listens to theirs.
//!
//! A notification is never part of a lane's transaction. PostgreSQL serialises the commits of transactions
//! that notify, with a lock that is held until the commit is on disk, over all markets. So hints are
//! collected for a moment and sent in a transaction of their own. A lost hint costs the other markets at
//! most [`POLL`].

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use souk_domain::{PartyId, Sequence};
use tokio::{
    runtime::Handle,
    sync::{Mutex as AsyncMutex, mpsc},
    time::{Instant, sleep, timeout_at},
};
use uuid::Uuid;

use super::{
    address::Address,
    connection::{Connection, Session, params},
    convert::{self, first, get},
    error::Failure,
    pool::Pool,
    reads::all,
};
use crate::{Hint, LeaseEpoch, Look, Replicas, Standing, StoreError};

/// How long hints are collected before they are sent.
const GATHERING: Duration = Duration::from_millis(20);
/// The polling interval: twice within the second after which a change must be visible at every market.
const POLL: Duration = Duration::from_millis(400);

const NOTIFY: &str = "SELECT pg_notify('souk', $1)";
const LISTEN: &str = "LISTEN souk";
const FEED_END: &str = "SELECT coalesce(max(feed_position), 0) FROM item";
const STANDINGS: &str = "SELECT id, epoch, suspended_at IS NOT NULL FROM party WHERE epoch <> 0";
const FOLLOWED: &str = "SELECT party, lease_epoch, last_sequence FROM mailbox WHERE party = ANY($1)";

/// The payload of a notification.
#[derive(Serialize, Deserialize)]
struct Message {
    from: Uuid,
    hint: Hint,
}

/// Collects and publishes hints. Clones share one task, which ends when the last of them is dropped.
#[derive(Clone)]
pub(super) struct Herald {
    gathered: Arc<Mutex<Hint>>,
    waker: mpsc::Sender<()>,
}

impl Herald {
    /// Starts publishing on the current runtime. `market` identifies the sender, which ignores its own hints.
    pub(super) fn start(market: Uuid, pool: Arc<Pool>) -> Self {
        let gathered = Arc::new(Mutex::new(Hint::default()));
        let (waker, wake) = mpsc::channel(1);
        tokio::spawn(tell(market, pool, Arc::clone(&gathered), wake));
        Self { gathered, waker }
    }

    /// Adds to the next hint. Never blocks, so that a lane can call it right after a commit.
    pub(super) fn tell(&self, add: impl FnOnce(&mut Hint)) {
        {
            let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut gathered);
            gathered.bound();
        }
        // If the channel is full, the task has been woken already.
        let _ = self.waker.try_send(());
    }
}

async fn tell(market: Uuid, pool: Arc<Pool>, gathered: Arc<Mutex<Hint>>, mut wake: mpsc::Receiver<()>) {
    while wake.recv().await.is_some() {
        // A short delay turns the commits of many batches into one notification.
        sleep(GATHERING).await;
        let hint = std::mem::take(&mut *gathered.lock().unwrap_or_else(PoisonError::into_inner));
        if hint == Hint::default() {
            continue;
        }
        // Ids and flags always serialise.
        let Ok(message) = serde_json::to_string(&Message { from: market, hint }) else { continue };
        if let Err(failure) = pool.query(NOTIFY, || params![message.clone()]).await {
            tracing::debug!(%failure, "can't notify other markets; they will poll");
        }
    }
}

/// Follows the other markets, by notifications and by polling.
pub(super) struct PostgresReplicas {
    market: Uuid,
    address: Arc<Address>,
    pool: Arc<Pool>,
    runtime: Handle,
    listener: AsyncMutex<Listener>,
}

/// The listening session, and the time of the next poll.
struct Listener {
    session: Option<(Connection, mpsc::Receiver<String>)>,
    /// When to poll everything, even if hints arrive until then.
    look_at: Instant,
}

impl PostgresReplicas {
    pub(super) fn new(market: Uuid, address: Arc<Address>, pool: Arc<Pool>) -> Self {
        Self {
            market,
            address,
            pool,
            runtime: Handle::current(),
            listener: AsyncMutex::new(Listener { session: None, look_at: Instant::now() }),
        }
    }

    async fn listen(&self) -> Result<(Connection, mpsc::Receiver<String>), Failure> {
        let session = Session { prepare: &[], durable: false };
        let (connection, notifications) =
            Connection::open_listening(&self.address, &session, &self.runtime).await?;
        connection.batch(LISTEN).await?;
        Ok((connection, notifications))
    }

    /// Waits for a hint; `None` if it is time to poll or if hints may have been missed.
    async fn listen_once(&self, listener: &mut Listener) -> Option<Hint> {
        let Some((_, notifications)) = listener.session.as_mut() else {
            match self.listen().await {
                Ok(open) => listener.session = Some(open),
                Err(failure) => {
                    tracing::debug!(%failure, "can't listen to other markets; polling instead");
                    sleep(POLL).await;
                }
            }
            return None;
        };
        let received = timeout_at(listener.look_at, self.next_hint(notifications)).await;
        // This session never sends a statement, so it would not notice a server that has gone silent. The
        // generation does: another session finds out and marks all of them.
        let is_over = listener.session.as_ref().is_some_and(|(connection, _)| connection.is_closed());
        if is_over || matches!(received, Ok(None)) {
            listener.session = None;
        }
        received.ok().flatten()
    }

    /// Waits for the next hint from another market; `None` if the session has ended.
    async fn next_hint(&self, notifications: &mut mpsc::Receiver<String>) -> Option<Hint> {
        loop {
            let message = notifications.recv().await?;
            match serde_json::from_str(&message) {
                Ok(Message { from, .. }) if from == self.market => {}
                Ok(Message { hint, .. }) => return Some(hint),
                // It may be from a newer market, in a format that this one does not know.
                Err(_) => return Some(Hint { everything: true, ..Hint::default() }),
            }
        }
    }
}

#[async_trait]
impl Replicas for PostgresReplicas {
    async fn hint(&self) -> Hint {
        let mut listener = self.listener.lock().await;
        let received = self.listen_once(&mut listener).await;
        let mut hint = received.unwrap_or(Hint { everything: true, ..Hint::default() });
        // Poll even while hints keep arriving, because one of them may have been lost.
        hint.everything |= Instant::now() >= listener.look_at;
        if hint.everything {
            listener.look_at = Instant::now() + POLL;
        }
        hint
    }

    async fn look(&self, followed: &[PartyId]) -> Result<Look, StoreError> {
        let end = self.pool.query(FEED_END, Vec::new).await?;
        let standings = self.pool.query(STANDINGS, Vec::new).await?;
        let standing = |row: &tokio_postgres::Row| {
            Ok(Standing {
                party: convert::party_id(row, 0)?,
                epoch: get(row, 1)?,
                is_suspended: get(row, 2)?,
            })
        };
        let mut look = Look {
            feed_end: first(&end, |row| convert::position(row, 0))?.unwrap_or_default(),
            standings: all(&standings, standing)?,
            mailboxes: Vec::new(),
        };
        if !followed.is_empty() {
            let parties: Vec<Uuid> = followed.iter().map(|party| party.0).collect();
            let rows = self.pool.query(FOLLOWED, || params![parties.clone()]).await?;
            look.mailboxes = all(&rows, |row| {
                Ok((convert::party_id(row, 0)?, LeaseEpoch(get(row, 1)?), Sequence(get(row, 2)?)))
            })?;
        }
        Ok(look)
    }
}

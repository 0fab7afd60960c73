//! Hints: notifies the other markets of commits, and receives their notifications.
//!
//! A notification is never part of a lane's transaction: PostgreSQL serializes the commits of transactions
//! that notify, each until it is on disk. So hints are gathered for a moment and sent in a statement of their
//! own. A lost hint delays the other markets by at most [`POLL`].

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
    horizon::HorizonWatch,
    pool::Pool,
    rows::all,
};
use crate::{Hint, HorizonState, LeaseEpoch, Look, Replicas, Standing, StoreError};

/// How long hints are gathered before they are sent.
const GATHERING: Duration = Duration::from_millis(20);
/// How often to poll the store in case a hint is lost: twice within the second after which a change must hold
/// everywhere.
const POLL: Duration = Duration::from_millis(400);

const NOTIFY: &str = "SELECT pg_notify('souk', $1)";
const LISTEN: &str = "LISTEN souk";
const FEED_END: &str = "SELECT coalesce(max(feed_position), 0) FROM item";
const STANDINGS: &str = "SELECT id, epoch, suspended_at IS NOT NULL FROM party WHERE epoch <> 0";
const FOLLOWED: &str = "SELECT party, lease_epoch, last_sequence FROM mailbox WHERE party = ANY($1)";

/// A hint as sent in a notification.
#[derive(Serialize, Deserialize)]
struct Message {
    from: Uuid,
    hint: Hint,
}

/// Collects and publishes hints. Clones share one task, which ends when the last of them is dropped.
#[derive(Clone)]
pub(super) struct HintPublisher {
    gathered: Arc<Mutex<Hint>>,
    wake: mpsc::Sender<()>,
}

impl HintPublisher {
    /// Starts publishing on the current runtime. `market` identifies the sender, which ignores its own hints.
    pub(super) fn start(market: Uuid, pool: Arc<Pool>) -> Self {
        let gathered = Arc::new(Mutex::new(Hint::default()));
        let (wake, wakeups) = mpsc::channel(1);
        tokio::spawn(publish_gathered(market, pool, Arc::clone(&gathered), wakeups));
        Self { gathered, wake }
    }

    /// Adds to the next hint. Never blocks.
    pub(super) fn publish(&self, add: impl FnOnce(&mut Hint)) {
        {
            let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut gathered);
            // The payload of a notification must stay below 8,000 bytes (PostgreSQL), and hints pile up while
            // the database does not respond.
            gathered.bound();
        }
        // This fails if the channel is full, and then the task is about to wake anyway.
        let _ = self.wake.try_send(());
    }
}

async fn publish_gathered(
    market: Uuid,
    pool: Arc<Pool>,
    gathered: Arc<Mutex<Hint>>,
    mut wakeups: mpsc::Receiver<()>,
) {
    while wakeups.recv().await.is_some() {
        sleep(GATHERING).await;
        // Taken after the pause. A hint that is added later finds the channel empty and wakes the task again.
        let hint = std::mem::take(&mut *gathered.lock().unwrap_or_else(PoisonError::into_inner));
        if hint == Hint::default() {
            continue;
        }
        // Serializing names and flags can't fail.
        let Ok(message) = serde_json::to_string(&Message { from: market, hint }) else { continue };
        if let Err(failure) = pool.query(NOTIFY, || params![message.clone()]).await {
            tracing::debug!(%failure, "could not notify other markets; they poll");
        }
    }
}

/// Follows the other markets, by notifications and by polling.
pub(super) struct PostgresReplicas {
    market: Uuid,
    address: Arc<Address>,
    pool: Arc<Pool>,
    runtime: Handle,
    subscription: AsyncMutex<Subscription>,
    horizon: HorizonWatch,
}

/// The listening session, and the time of the next poll.
struct Subscription {
    session: Option<(Connection, mpsc::Receiver<String>)>,
    /// When to poll next, however many hints arrive until then.
    look_at: Instant,
}

impl PostgresReplicas {
    /// Creates it, and starts to watch the horizon on the current runtime.
    pub(super) fn new(market: Uuid, address: Arc<Address>, pool: Arc<Pool>) -> Self {
        let horizon = HorizonWatch::start(&pool);
        Self {
            market,
            address,
            pool,
            runtime: Handle::current(),
            subscription: AsyncMutex::new(Subscription { session: None, look_at: Instant::now() }),
            horizon,
        }
    }

    async fn listen(&self) -> Result<(Connection, mpsc::Receiver<String>), Failure> {
        let session = Session { prepare: &[], durable: false, gives_up: false };
        let (connection, notifications) =
            Connection::open_listening(&self.address, &session, &self.runtime).await?;
        // After it, the caller polls: what was notified before LISTEN is never delivered.
        connection.batch(LISTEN).await?;
        Ok((connection, notifications))
    }

    /// Waits for a hint; `None` if it is time to poll or if hints may have been missed.
    async fn listen_once(&self, subscription: &mut Subscription) -> Option<Hint> {
        let Some((_, notifications)) = subscription.session.as_mut() else {
            match self.listen().await {
                Ok(open) => subscription.session = Some(open),
                Err(failure) => {
                    tracing::debug!(%failure, "no notifications from other markets; polling instead");
                    sleep(POLL).await;
                }
            }
            return None;
        };
        let received = timeout_at(subscription.look_at, self.next_hint(notifications)).await;
        // This session never sends a statement, so it would not notice a server that has gone silent. The
        // generation does: another session finds out and marks all of them.
        let is_over = subscription.session.as_ref().is_some_and(|(connection, _)| connection.is_closed());
        if is_over || matches!(received, Ok(None)) {
            subscription.session = None;
        }
        received.ok().flatten()
    }

    /// Waits for the next hint from another market; `None` if the session has ended.
    async fn next_hint(&self, notifications: &mut mpsc::Receiver<String>) -> Option<Hint> {
        loop {
            let message = notifications.recv().await?;
            match serde_json::from_str(&message) {
                // PostgreSQL also delivers a notification to the sessions of the market that sent it.
                Ok(Message { from, .. }) if from == self.market => {}
                Ok(Message { hint, .. }) => return Some(hint),
                // Perhaps from a newer version of the market.
                Err(_) => return Some(Hint { everything: true, ..Hint::default() }),
            }
        }
    }
}

#[async_trait]
impl Replicas for PostgresReplicas {
    async fn hint(&self) -> Hint {
        let mut subscription = self.subscription.lock().await;
        let received = self.listen_once(&mut subscription).await;
        let mut hint = received.unwrap_or(Hint { everything: true, ..Hint::default() });
        // Poll even while hints keep arriving, because one of them may have been lost.
        hint.everything |= Instant::now() >= subscription.look_at;
        if hint.everything {
            // Counted from this poll, so that a slow database is not polled in a burst afterwards.
            subscription.look_at = Instant::now() + POLL;
        }
        hint
    }

    async fn look(&self, followed: &[PartyId]) -> Result<Look, StoreError> {
        let end = self.pool.query(FEED_END, Vec::new).await?;
        // All of them, not only the changes: a market that missed a hint, or has just started, needs no
        // history.
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

    fn horizon(&self) -> HorizonState {
        self.horizon.state()
    }
}

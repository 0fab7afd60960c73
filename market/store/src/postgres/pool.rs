//! A pool of sessions for queries and mailboxes.
//!
//! A session is returned only when it is known to be idle. In every other case (an error, a future that was
//! dropped) it is closed, so that no caller continues another's transaction.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
};
use tokio_postgres::Row;

use super::{
    address::Address,
    connection::{Connection, Param, Session},
    error::Failure,
};

/// How often an operation is attempted if it conflicts with others.
pub(super) const ATTEMPTS: usize = 5;

/// Retries an operation that conflicts with other transactions.
macro_rules! with_patience {
    ($work:expr) => {{
        let mut attempt = 1;
        loop {
            match $work.await {
                Err(failure) if attempt < $crate::postgres::pool::ATTEMPTS && failure.is_collision() => {
                    attempt += 1
                }
                ended => break Ok(ended?),
            }
        }
    }};
}
pub(super) use with_patience;

pub(super) struct Pool {
    address: Arc<Address>,
    session: Session,
    /// The runtime that drives the sessions: the one that the store was opened on, which outlives the
    /// callers'.
    runtime: Handle,
    idle: Mutex<Vec<Connection>>,
    seats: Semaphore,
    /// The numbers of both, for metrics.
    most: (usize, usize),
    /// The sessions and the places in the queue for them, which bounds the queue.
    places: Semaphore,
}

/// A borrowed session. If it is dropped, it is closed; only [`give_back`](Self::give_back) returns it to the
/// pool.
pub(super) struct Seat<'a> {
    pool: &'a Pool,
    // Before the permits, since fields are dropped in this order: a session is closed before its seat is free, so
    // there are never more sessions than seats.
    connection: Connection,
    _seat: SemaphorePermit<'a>,
    _place: SemaphorePermit<'a>,
}

impl Pool {
    /// Creates a pool of up to `seats` sessions. Up to `queue` callers wait for one; more are refused.
    pub(super) fn new(address: Arc<Address>, session: Session, seats: usize, queue: usize) -> Self {
        Self {
            address,
            session,
            runtime: Handle::current(),
            idle: Mutex::default(),
            seats: Semaphore::new(seats),
            most: (seats, seats + queue),
            places: Semaphore::new(seats + queue),
        }
    }

    /// Returns the number of sessions in use.
    pub(super) fn in_use(&self) -> usize {
        self.most.0 - self.seats.available_permits()
    }

    /// Returns the number of callers that wait for a session.
    pub(super) fn waiting(&self) -> usize {
        // The two are read one after the other, and a caller may take its seat in between.
        (self.most.1 - self.places.available_permits()).saturating_sub(self.in_use())
    }

    /// Borrows a session, opening one if none is idle.
    pub(super) async fn take(&self) -> Result<Seat<'_>, Failure> {
        // Bounds the queue: a caller that would wait behind it is better off with an error at once.
        let place = self.places.try_acquire().map_err(|_| Failure::Overloaded)?;
        // Can't fail: the semaphore is never closed.
        let seat = self.seats.acquire().await.map_err(|_| Failure::Overloaded)?;
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            // After a restart of the server, all idle sessions have ended together.
            idle.retain(|connection| !connection.is_closed());
            idle.pop()
        };
        let connection = match idle {
            Some(connection) => connection,
            None => Connection::open(&self.address, &self.session, &self.runtime).await?,
        };
        Ok(Seat { pool: self, connection, _seat: seat, _place: place })
    }

    /// Executes a single statement outside a transaction. It is retried on another session if the first
    /// turns out to have ended, so it may be executed twice and must allow that.
    pub(super) async fn query(
        &self,
        sql: &'static str,
        params: impl Fn() -> Vec<Param> + Send + Sync,
    ) -> Result<Vec<Row>, Failure> {
        let mut tried = 0;
        loop {
            tried += 1;
            let mut seat = self.take().await?;
            match seat.query(sql, params()).await {
                Ok(rows) => {
                    seat.give_back();
                    return Ok(rows);
                }
                // A restart of the server cuts all sessions, so the others are discarded too instead of
                // failing one by one.
                Err(failure) if tried < ATTEMPTS && failure.is_cut() => seat.mistrust(),
                // A single statement is its own transaction, so after a conflict nothing is left to roll
                // back.
                Err(failure) if tried < ATTEMPTS && failure.is_collision() => {}
                Err(failure) => {
                    // The statement was refused, but the session is idle: outside a transaction an error
                    // leaves nothing open.
                    if !failure.is_disconnection() {
                        seat.give_back();
                    }
                    return Err(failure);
                }
            }
        }
    }
}

impl Seat<'_> {
    /// Returns the session to the pool. It must have answered everything and be in no transaction.
    pub(super) fn give_back(self) {
        // The permits stay in `self` and are released at the end, after the session is back. The other order would let
        // the next caller find no idle session and open one too many.
        let Self { pool, connection, .. } = self;
        pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

impl Deref for Seat<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Seat<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

#[cfg(test)]
mod tests {
    use souk_testkit::{database::DatabaseServer, eventually, postgres::is_there};

    use super::{
        super::{READS, address::PostgresOptions},
        *,
    };

    const ENDLESS: &str = "SELECT pg_sleep(600)";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn server_ends_queries_that_take_too_long_or_that_nobody_waits_for() {
        if !is_there() {
            return;
        }
        let server = DatabaseServer::start(&["fsync = off"]).unwrap();
        let address = Address::read(&server.address("postgres", None), &PostgresOptions::default()).unwrap();
        let pool = Pool::new(Arc::new(address), READS, 1, 1);
        let limit = pool.query("SHOW statement_timeout", Vec::new).await.unwrap();
        assert_eq!(limit[0].get::<_, String>(0), "10s");
        let runs = || {
            let sql = format!(
                "SELECT 'it runs' FROM pg_stat_activity WHERE query = '{ENDLESS}' AND state = 'active'"
            );
            server.psql("postgres", &sql).unwrap().contains("it runs")
        };
        let mut query = Box::pin(pool.query(ENDLESS, Vec::new));
        tokio::select! {
            _ = &mut query => unreachable!(),
            () = eventually("the query runs", async || runs()) => {}
        }
        drop(query);
        eventually("the query has ended", async || !runs()).await;
        assert_eq!(pool.in_use(), 0);
    }
}

//! Sessions for queries and mailboxes, taken in turn.
//!
//! A session goes back only when it is provably idle; whatever else becomes of whoever had it (an error, a
//! caller that has gone away), it is cut.

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

/// How often something that collided with others is tried.
pub(super) const ATTEMPTS: usize = 5;

pub(super) struct Pool {
    address: Arc<Address>,
    session: Session,
    /// Where the sessions live: the runtime that the store was opened on, which outlives the callers'.
    runtime: Handle,
    idle: Mutex<Vec<Connection>>,
    seats: Semaphore,
    /// Seats and places to wait for one.
    places: Semaphore,
}

/// A session for a while. Dropped, it is cut; [given back](Self::give_back), it serves others.
pub(super) struct Seat<'a> {
    pool: &'a Pool,
    connection: Connection,
    _seat: SemaphorePermit<'a>,
    _place: SemaphorePermit<'a>,
}

impl Pool {
    /// Up to `seats` sessions at a time; up to `queue` callers wait for one, further ones are refused.
    pub(super) fn new(address: Arc<Address>, session: Session, seats: usize, queue: usize) -> Self {
        Self {
            address,
            session,
            runtime: Handle::current(),
            idle: Mutex::default(),
            seats: Semaphore::new(seats),
            places: Semaphore::new(seats + queue),
        }
    }

    /// Takes a session, an idle one if there is any.
    pub(super) async fn take(&self) -> Result<Seat<'_>, Failure> {
        let place = self.places.try_acquire().map_err(|_| Failure::Overloaded)?;
        // Never closed.
        let seat = self.seats.acquire().await.map_err(|_| Failure::Overloaded)?;
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            // When the server has restarted, all have ended together.
            idle.retain(|connection| !connection.is_closed());
            idle.pop()
        };
        let connection = match idle {
            Some(connection) => connection,
            None => Connection::open(&self.address, &self.session, &self.runtime).await?,
        };
        Ok(Seat { pool: self, connection, _seat: seat, _place: place })
    }

    /// Carries out one statement by itself, which may be done twice: when a session turns out to have ended,
    /// with another one.
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
                Err(failure) if tried < ATTEMPTS && failure.is_cut() => seat.mistrust(),
                Err(failure) if tried < ATTEMPTS && failure.is_collision() => {}
                Err(failure) => {
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
    /// The session has answered to everything and is in no transaction.
    pub(super) fn give_back(self) {
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

//! The PostgreSQL back end: one database, any number of markets.
//!
//! - **Lanes** have a session each. A batch is one transaction of two round trips: the first loads all rows
//!   and locks them in key order, the second saves them in bulk and commits (`lane`). The isolation level is
//!   READ COMMITTED: a statement sees what was committed before it began. Rows that do not exist yet can't be
//!   locked and are guarded by unique keys; rows that are read without a lock are guarded by their revision.
//!   A batch that conflicts with another market's is loaded and decided again ([`SaveError::Conflict`]).
//! - **Commits** wait for the disk and for the synchronous standby, if there is one. A reply that is missing,
//!   or comes with a warning, never counts as success ([`SaveError::Indefinite`]).
//! - **Places**: the item feed and the audit log are ordered by transaction id. A sequence would not do,
//!   because its numbers become visible in any order. Readers stop at the oldest open transaction, the
//!   horizon (`chain`).
//! - **Mailboxes** and **tracks** commit without waiting for the disk (`mailboxes`), except for expansion.
//! - **Other markets** are notified of commits by hints, and poll in case a hint is lost (`hints`).
//! - **Reads** are single statements on pooled sessions; lists and sums have sessions of their own. The server ends a
//!   statement that takes too long or whose caller has gone away.
//!
//! [`SaveError::Conflict`]: super::SaveError::Conflict
//! [`SaveError::Indefinite`]: super::SaveError::Indefinite

mod address;
mod archive;
mod backlog;
mod chain;
mod check;
mod clock;
mod connection;
mod consumers;
mod convert;
mod dead_letters;
mod deliveries;
mod error;
mod expand;
mod hints;
mod horizon;
mod lane;
mod load;
mod mailboxes;
mod market_keys;
mod name_keys;
#[cfg(test)]
mod plans;
mod pool;
mod ranking;
#[cfg(test)]
mod rating_cost;
mod reads;
mod rows;
mod save;
mod schema;
mod settle;
#[cfg(test)]
mod shards;
mod space_probe;
mod statements;
mod summary;
mod tracks;

use std::sync::{Arc, Weak};

use uuid::Uuid;

pub use address::{PostgresOptions, is_address};
pub use check::check;
pub use clock::clock_mark;

use super::{
    Health, Lane, OpeningProgress, Reading, Reads, Replicas, Store, StoreError, StoreQueues, space::Space,
};
use address::Address;
use connection::Session;
use hints::{HintPublisher, PostgresReplicas};
use lane::PostgresLane;
use mailboxes::PostgresMailboxes;
use pool::Pool;
use reads::PostgresReads;

/// Parallel writers. More of them would make batches smaller, and batches are what makes a popular item
/// cheap.
const LANES: u8 = 4;
/// The number of sessions for what is found by its key.
const POINT_READERS: usize = 5;
/// The number of sessions for lists and sums.
const REPORT_READERS: usize = 3;
/// The maximum number of queries that wait for a session; more are refused.
const READ_QUEUE: usize = 1_024;
/// The set-up of sessions that only read.
const READS: Session = Session { prepare: &[], durable: false, gives_up: true };
/// The number of sessions for mailboxes and tracks.
const MAILBOX_SESSIONS: usize = 4;
/// The maximum number of mailbox operations that wait for a session.
const MAILBOX_QUEUE: usize = 1_024;

/// Opens the store in a database and brings its schema up to date. `market` is a random UUID that identifies
/// this market among those on the database.
///
/// Must be called on a runtime that outlives the store's users, because its background tasks run there.
///
/// # Errors
///
/// Fails if no host of the address can be used, or if the schema belongs to another program or a newer
/// market.
pub async fn open(address: &str, options: &PostgresOptions, market: Uuid) -> Result<Store, StoreError> {
    open_reporting(address, options, market, &OpeningProgress::default()).await
}

/// Does the same, and reports how far a migration has come.
///
/// # Errors
///
/// Fails like [`open`].
pub async fn open_reporting(
    address: &str,
    options: &PostgresOptions,
    market: Uuid,
    progress: &OpeningProgress,
) -> Result<Store, StoreError> {
    let address = Arc::new(Address::read(address, options)?);
    schema::migrate(&address, progress).await?;
    let session = Session { prepare: expand::PREPARED, durable: false, gives_up: false };
    // Hints are sent on these sessions as well: a notification needs no durable commit.
    let writers = Arc::new(Pool::new(Arc::clone(&address), session, MAILBOX_SESSIONS, MAILBOX_QUEUE));
    let hints = HintPublisher::start(market, Arc::clone(&writers));
    let health = Health::default();
    let space = Space::new(health.clone());
    tokio::spawn(space_probe::run(Arc::downgrade(&writers), space.clone(), market));
    let lane = |number: u8| {
        let id = Uuid::new_v5(&market, &[number]);
        let lane = PostgresLane::new(Arc::clone(&address), hints.clone(), id, space.clone());
        Box::new(lane) as Box<dyn Lane>
    };
    let lanes = (0..LANES).map(lane).collect();
    let readers = readers(&address);
    let reports = reports(&address);
    let queues = queues(&readers, &reports, &writers);
    let mailboxes = Arc::new(PostgresMailboxes::new(writers, hints));
    let replicas = PostgresReplicas::new(market, Arc::clone(&address), Arc::clone(&readers));
    // Weak, so that the task does not keep the sessions open after the store is dropped.
    tokio::spawn(chain::keep_linked(Arc::downgrade(&readers), market));
    let reads = Arc::new(PostgresReads::new(readers, reports));
    let replicas: Option<Arc<dyn Replicas>> = Some(Arc::new(replicas));
    Ok(Store {
        lanes,
        reads,
        consumers: mailboxes.clone(),
        dead_letters: mailboxes.clone(),
        tracks: mailboxes.clone(),
        clocks: mailboxes.clone(),
        market_keys: mailboxes.clone(),
        upkeep: mailboxes.clone(),
        ranking: mailboxes.clone(),
        archive: mailboxes.clone(),
        mailboxes,
        replicas,
        health,
        log: None,
        queues: Some(queues),
    })
}

/// Opens only the queries, alongside markets that may have the database open.
///
/// # Errors
///
/// Fails if no host of the address can be used, or if the schema is not up to date.
pub async fn open_reads(address: &str, options: &PostgresOptions) -> Result<Arc<dyn Reads>, StoreError> {
    let address = Arc::new(Address::read(address, options)?);
    schema::check(&address).await?;
    Ok(Arc::new(PostgresReads::new(readers(&address), reports(&address))))
}

fn readers(address: &Arc<Address>) -> Arc<Pool> {
    Arc::new(Pool::new(Arc::clone(address), READS, POINT_READERS, READ_QUEUE))
}

fn reports(address: &Arc<Address>) -> Arc<Pool> {
    Arc::new(Pool::new(Arc::clone(address), READS, REPORT_READERS, READ_QUEUE))
}

fn queues(readers: &Arc<Pool>, reports: &Arc<Pool>, writers: &Arc<Pool>) -> StoreQueues {
    // Weak, so that metrics do not keep the sessions open after the store is dropped.
    let [reads, reports, mailboxes] = [readers, reports, writers].map(Arc::downgrade);
    let all = [reads.clone(), reports.clone(), mailboxes.clone()];
    let waiting =
        |pool: Weak<Pool>| -> Reading { Arc::new(move || pool.upgrade().map_or(0, |pool| pool.waiting())) };
    let in_use = move || all.iter().filter_map(Weak::upgrade).map(|pool| pool.in_use()).sum();
    StoreQueues {
        reads: waiting(reads),
        reports: waiting(reports),
        mailboxes: waiting(mailboxes),
        sessions: Some(Arc::new(in_use)),
    }
}

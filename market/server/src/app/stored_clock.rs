//! The clock of a store on which no market runs, for `market clock --store`.

use souk_domain::Keys;
use souk_store::{ClockFinding, ClockMark, ClockReport, Lane, OpeningProgress, Store, StoreError};

use super::data::open_store;
use crate::{audit::clock_accepted, clock::Clock, config::StoreConfig, random::Random};

/// Reads the clock of a store. `None` if no market has run on it yet, or if it is in memory.
///
/// # Errors
///
/// Fails if the store can't be read, or if its schema is not up to date.
pub async fn stored_clock(config: &StoreConfig) -> Result<Option<ClockMark>, StoreError> {
    match config {
        StoreConfig::Memory { .. } => Ok(None),
        StoreConfig::Sqlite { path, .. } => souk_store::sqlite::clock_mark(path),
        StoreConfig::Postgres { address, options, .. } => {
            souk_store::postgres::clock_mark(address, options).await
        }
    }
}

/// Ends a pause on a store, because an operator says that this machine's wall clock is right. The audit log has it.
///
/// # Errors
///
/// Fails if the store can't be opened: a SQLite file, while a market has it open.
pub async fn accept_stored_clock(
    config: &StoreConfig,
    (clock, random): (Clock, Random),
) -> Result<ClockMark, StoreError> {
    let Store { mut lanes, clocks, .. } = open_store(config, random, &OpeningProgress::default()).await?;
    let wall = clock.now();
    if let Some(lane) = lanes.first_mut() {
        // Before anything is changed.
        note(lane, clock).await?;
    }
    clocks.exchange(ClockReport { steady: None, wall, finding: ClockFinding::Accepted }).await
}

async fn note(lane: &mut Box<dyn Lane>, clock: Clock) -> Result<(), StoreError> {
    let mut rows = lane.load(&Keys::default()).await?;
    rows.audit.push(clock_accepted(clock.now(), "store".to_owned(), None));
    lane.save(&rows).await.map(|_| ()).map_err(StoreError::unavailable)
}

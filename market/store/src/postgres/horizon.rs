//! Watches the horizon, and names what holds it.
//!
//! The horizon (see `chain`) is the oldest transaction of the whole *cluster*: transaction ids are shared by all
//! databases. A session of another program that is left in a transaction, or a prepared transaction that nobody ends,
//! holds it for as long as it exists. Nothing fails at once; what is committed meanwhile is just not found.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    chain::HORIZON,
    convert::{first, get},
    error::Failure,
    pool::Pool,
};
use crate::HorizonState;

/// How often the horizon is read.
const LOOK: Duration = Duration::from_secs(1);
/// The age from which the horizon is reported, with what holds it.
const WARN_AGE: Duration = Duration::from_secs(5);

/// The oldest transactions that have an id, oldest first, in words. Only these hold the horizon: a session that has
/// only read has no id. A role without `pg_read_all_stats` does not see the ids of other roles' sessions.
const HOLDERS: &str = "SELECT string_agg(holder, '; ') FROM (SELECT holder FROM \
     (SELECT format('prepared transaction %L of database %s, %s s old (end it with ROLLBACK PREPARED)', gid, database, \
     extract(epoch FROM clock_timestamp() - prepared)::BIGINT) AS holder, age(transaction) AS age FROM pg_prepared_xacts \
     UNION ALL SELECT format('session %s of database %s, %s, in a transaction for %s s (end it with \
     pg_terminate_backend)', pid, datname, state, extract(epoch FROM clock_timestamp() - xact_start)::BIGINT), \
     age(backend_xid) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()) AS open \
     ORDER BY age DESC LIMIT 3) AS oldest";

/// The state of the horizon, kept current by a task.
pub(super) struct HorizonWatch(Arc<Mutex<HorizonState>>);

impl HorizonWatch {
    /// Starts the task on the current runtime. It ends when the pool is dropped.
    pub(super) fn start(pool: &Arc<Pool>) -> Self {
        let state = Arc::new(Mutex::new(HorizonState::default()));
        tokio::spawn(watch(Arc::downgrade(pool), Arc::clone(&state)));
        Self(state)
    }

    pub(super) fn state(&self) -> HorizonState {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn watch(pool: Weak<Pool>, state: Arc<Mutex<HorizonState>>) {
    // What the horizon must reach, and since when.
    let mut wanted: (i64, Instant) = (0, Instant::now());
    let mut is_announced = false;
    while let Some(pool) = pool.upgrade() {
        // An error says nothing about the horizon; a database that can't be reached is reported elsewhere.
        if let Ok((known, taken)) = read(&pool).await {
            if known >= wanted.0 {
                wanted = (taken, Instant::now());
            }
            let age = if known >= taken { Duration::ZERO } else { wanted.1.elapsed() };
            let held_by = if age > WARN_AGE { Some(holders(&pool).await) } else { None };
            announce(&mut is_announced, age, held_by.as_deref());
            *state.lock().unwrap_or_else(PoisonError::into_inner) = HorizonState { age, held_by };
        }
        // Not held while sleeping: the task must not keep the store open.
        drop(pool);
        sleep(LOOK).await;
    }
}

/// Logs that the horizon is held, and that it moves again, once each.
fn announce(is_announced: &mut bool, age: Duration, held_by: Option<&str>) {
    match held_by {
        Some(held_by) if !*is_announced => tracing::warn!(
            held_by,
            age_seconds = age.as_secs(),
            "a transaction is left open: what is committed after it is not found by searches, nor in the audit chain"
        ),
        None if *is_announced => tracing::info!("searches and the audit chain follow again"),
        _ => {}
    }
    *is_announced = held_by.is_some();
}

async fn read(pool: &Pool) -> Result<(i64, i64), Failure> {
    let rows = pool.query(HORIZON, Vec::new).await?;
    Ok(first(&rows, |row| Ok::<_, Failure>((get(row, 0)?, get(row, 1)?)))?.unwrap_or((0, 0)))
}

async fn holders(pool: &Pool) -> String {
    let found = match pool.query(HOLDERS, Vec::new).await {
        Ok(rows) => first(&rows, |row| get::<Option<String>>(row, 0)).ok().flatten().flatten(),
        Err(_) => None,
    };
    found.unwrap_or_else(|| {
        "a transaction that this role can't see (grant it pg_monitor to find out which)".to_owned()
    })
}

//! Following the folder: other processes change it (`gen-certs revoke`, `root new`), and this one keeps it current.

use std::sync::Arc;

use souk_certs::rotation::FileWatch;
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval};

use super::error::ServeError;
use super::limits::{LIST_REFRESHED, REFUSALS_WRITTEN, UPKEEP};
use super::state::State;
use crate::invitation::book::{Book, sha256_hex};
use crate::pki::Pki;

/// The files whose change concerns open connections. Invitations are read when they are used.
const WATCHED: [&str; 7] = [
    "authority.pem",
    "authority.key",
    "authority.toml",
    "ca.pem",
    crate::pki::RETIRED_ROOTS,
    "crl.pem",
    crate::trust::publish::FOLDER,
];

/// Follows the folder until the task is dropped.
pub(super) async fn follow(state: Arc<State>) -> Result<(), ServeError> {
    let watch = FileWatch::new(WATCHED.map(|file| state.dir.join(file)));
    let mut changed = watch.start().map_err(ServeError::Watch)?;
    let mut upkeep_due = interval(UPKEEP);
    let mut writing = interval(REFUSALS_WRITTEN);
    for timer in [&mut upkeep_due, &mut writing] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        let task: fn(&State) -> Result<(), ServeError> = tokio::select! {
            Some(()) = changed.recv() => |state| {
                state.pki()?.complete(state.clock.now())?;
                state.reload()
            },
            // The first tick comes at once, and covers what has changed since the folder was opened.
            _ = upkeep_due.tick() => |state| {
                keep_current(&mut state.pki()?, state.clock.now())?;
                state.reload()
            },
            _ = writing.tick() => write_refusals,
        };
        let worker = Arc::clone(&state);
        match tokio::task::spawn_blocking(move || task(&worker)).await {
            Ok(Ok(())) => {}
            // The next tick tries again; until then everything goes on as it is.
            Ok(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot follow the folder")
            }
            Err(panic) => tracing::error!(%panic, "cannot follow the folder"),
        }
    }
}

/// Signs the service's certificate and the revocation lists again when it is time, and publishes a bundle that is missing.
pub(super) fn keep_current(pki: &mut Pki, now: OffsetDateTime) -> Result<(), ServeError> {
    pki.renew_authority(now)?;
    if pki.lists_signed_at()? + LIST_REFRESHED <= now {
        pki.refresh_crl(now)?;
    }
    Ok(pki.complete(now)?)
}

/// Writes to the disk what was refused and locked since the last time.
pub(super) fn write_refusals(state: &State) -> Result<(), ServeError> {
    let counted = state.refusals.take();
    if counted.is_empty() {
        return Ok(());
    }
    let now = state.clock.now();
    let written = state.pki().and_then(|mut pki| {
        pki.change(|pki| {
            if !counted.locks().is_empty() {
                let mut book = Book::read(pki.dir())?;
                counted.locks().iter().for_each(|id| book.lock(*id, now));
                book.write(pki.dir(), &sha256_hex(pki.root()), pki.random().uuid_v4(), now)?;
            }
            pki.record(&counted.entries(), now)
        })
    });
    if written.is_err() {
        state.refusals.put_back(counted);
    }
    Ok(written?)
}

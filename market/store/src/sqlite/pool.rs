//! Threads with one connection each, which take jobs from one bounded queue.

use std::{io, sync::Arc, thread};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{error::unavailable, open_files::OpenFiles};
use crate::StoreError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The files of the connections; `None` for a reader beside a market, which acknowledges nothing.
type Files = Option<Arc<OpenFiles>>;

/// A queue of jobs for connections. Dropping it waits for the running jobs and closes the connections, so
/// that the file can be moved or deleted afterwards.
pub(super) struct Pool {
    /// `Some` until the pool is dropped. Dropping the sender ends the threads.
    jobs: Option<Sender<Job>>,
    threads: Vec<thread::JoinHandle<()>>,
    files: Files,
}

impl Pool {
    /// Starts one thread for each connection.
    ///
    /// Up to `together` queued jobs share one snapshot of the database, which saves file locks for each of
    /// them. Jobs that begin transactions themselves need `together` to be 1.
    pub(super) fn start(
        name: &str,
        connections: Vec<Connection>,
        queue: usize,
        together: usize,
        files: &Files,
    ) -> io::Result<Self> {
        let (jobs, waiting) = crossbeam_channel::bounded(queue);
        let mut threads = Vec::with_capacity(connections.len());
        for (number, connection) in connections.into_iter().enumerate() {
            let (waiting, files) = (waiting.clone(), files.clone());
            let thread = thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || work_off(&waiting, connection, together, files))?;
            threads.push(thread);
        }
        Ok(Self { jobs: Some(jobs), threads, files: files.clone() })
    }

    /// Runs `work` on one of the connections. Dropping the future does not cancel it.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Fails if the caller has gone away, which is fine.
            let _ = answer.send(work(connection));
        });
        let ended = || StoreError::unavailable("the store's threads have ended");
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        // Never blocks: this runs on a server thread, whose other calls would wait too.
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => ended(),
        })?;
        match answered.await {
            Ok(result) => result.map_err(|error| judge(&self.files, error)),
            Err(_) => Err(StoreError::unavailable("a thread of the store has ended")),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Before the joins: the threads end when the last sender is gone.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

fn work_off(waiting: &Receiver<Job>, mut connection: Connection, together: usize, files: Files) {
    let mut batch = Vec::with_capacity(together);
    while let Ok(first) = waiting.recv() {
        batch.push(first);
        // Takes only what is queued: waiting for more would delay a single query.
        batch.extend(waiting.try_iter().take(together - 1));
        // The snapshot is taken at the first query, after all of these jobs were queued, so that each of
        // them sees what its caller has written before.
        let shared = batch.len() > 1 && begin(&connection);
        for job in batch.drain(..) {
            job(&mut connection);
        }
        if shared {
            end(&connection);
        }
    }
    if let Some(files) = &files {
        files.before_close(&connection);
    }
    // In this order: see `OpenFiles`.
    drop(connection);
    drop(files);
}

fn judge(files: &Files, error: rusqlite::Error) -> StoreError {
    match files {
        Some(files) => files.judge(error),
        None => unavailable(error),
    }
}

/// Begins a shared snapshot. If this fails, every query takes its own, which is only slower.
fn begin(connection: &Connection) -> bool {
    connection.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([])).is_ok()
}

fn end(connection: &Connection) {
    if let Err(error) = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([])) {
        tracing::error!(%error, "a reader can't end its snapshot");
    }
}

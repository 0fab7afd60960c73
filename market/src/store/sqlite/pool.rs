//! Threads with a connection each, working off one bounded queue.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::error::unavailable;
use crate::store::StoreError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A queue of work for connections.
pub(super) struct Pool {
    jobs: mpsc::Sender<Job>,
}

impl Pool {
    pub(super) fn start(name: &str, connections: Vec<Connection>, queue: usize) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>(queue);
        let waiting = Arc::new(Mutex::new(waiting));
        for (number, mut connection) in connections.into_iter().enumerate() {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                loop {
                    // Whoever waits for work holds the lock; the others wait for the lock.
                    let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                    match job {
                        Some(job) => job(&mut connection),
                        None => return,
                    }
                }
            })?;
        }
        Ok(Self { jobs })
    }

    /// Runs `work` on one of the connections.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // A caller that has gone away does not want its answer.
            let _ = answer.send(work(connection));
        });
        self.jobs.try_send(job).map_err(|error| StoreError::unavailable(error.to_string()))?;
        match answered.await {
            Ok(result) => result.map_err(unavailable),
            Err(_) => Err(StoreError::unavailable("a thread of the store has ended")),
        }
    }
}

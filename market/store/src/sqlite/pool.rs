//! Threads with one connection each, which take jobs from one bounded queue.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rusqlite::{Connection, Error, ErrorCode, InterruptHandle};
use tokio::sync::oneshot;

use super::{error::unavailable, open_files::OpenFiles};
use crate::{Reading, StoreError};

/// How long queued queries share a snapshot at most. While it lasts, the write-ahead log can't start again from its
/// beginning.
const SNAPSHOT_MAX: Duration = Duration::from_secs(1);
/// How long a single query may take. It is interrupted then, because the write-ahead log grows meanwhile.
pub(super) const QUERY_MAX: Duration = Duration::from_secs(10);

/// How long a pool that is dropped waits for its jobs in progress. Longer than a query may take to be interrupted.
const END_PATIENCE: Duration = Duration::from_millis(500);
/// How often it looks whether they have ended.
const END_LOOK: Duration = Duration::from_millis(1);

struct Job {
    number: u64,
    work: Box<dyn FnOnce(&mut Connection) + Send>,
}

/// The files of the connections; `None` for a reader beside a market, which acknowledges nothing.
pub(super) type Files = Option<Arc<OpenFiles>>;

/// Watches the queries of a pool.
#[derive(Clone, Default)]
pub(super) struct QueryWatch(Arc<Vec<Watched>>);

struct Watched {
    interrupt: InterruptHandle,
    /// The query in progress.
    running: Mutex<Option<Running>>,
}

/// A query in progress.
struct Running {
    /// The number of its job.
    job: u64,
    since: Instant,
    /// Whether nobody waits for it any more.
    is_given_up: bool,
}

impl QueryWatch {
    pub(super) fn of(connections: &[Connection]) -> Self {
        let watched = connections.iter().map(|connection| Watched {
            interrupt: connection.get_interrupt_handle(),
            running: Mutex::new(None),
        });
        Self(Arc::new(watched.collect()))
    }

    /// Interrupts queries that take too long, and once more those that were given up: an interrupt that comes before a
    /// query's first step has no effect.
    pub(super) fn interrupt_after(&self, longest: Duration) {
        self.interrupt_if(|running| running.is_given_up || running.since.elapsed() > longest);
    }

    fn give_up(&self, job: u64) {
        self.interrupt_if(|running| {
            running.is_given_up |= running.job == job;
            running.job == job
        });
    }

    fn interrupt_if(&self, is_over: impl Fn(&mut Running) -> bool) {
        for Watched { interrupt, running } in self.0.iter() {
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            if running.as_mut().is_some_and(&is_over) {
                // Under the lock, so that the interrupt meets this query and not the next.
                interrupt.interrupt();
            }
        }
    }

    fn set(&self, number: usize, running: Option<Running>) {
        if let Some(watched) = self.0.get(number) {
            *watched.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
        }
    }

    /// Returns whether the pool has queries, which may be given up, rather than changes, which must be carried out.
    fn is_of_queries(&self) -> bool {
        !self.0.is_empty()
    }
}

/// A queue of jobs for connections. Dropping it waits for the running jobs, drops the queued ones, for which
/// nobody waits any more, and closes the connections, so that the file can be moved or deleted afterwards.
pub(super) struct Pool {
    /// `Some` until the pool is dropped. Dropping the sender ends the threads.
    jobs: Option<Arc<Sender<Job>>>,
    threads: Vec<thread::JoinHandle<()>>,
    closing: Arc<AtomicBool>,
    watch: QueryWatch,
    files: Files,
    begun: AtomicU64,
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
        (together, watch): (usize, QueryWatch),
        files: &Files,
    ) -> io::Result<Self> {
        let closing = Arc::new(AtomicBool::new(false));
        let (jobs, waiting) = crossbeam_channel::bounded(queue);
        let mut threads = Vec::with_capacity(connections.len());
        for (number, connection) in connections.into_iter().enumerate() {
            let worker = Worker {
                waiting: waiting.clone(),
                closing: Arc::clone(&closing),
                connection,
                watch: (watch.clone(), number),
                files: files.clone(),
            };
            let thread = thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || worker.work_off(together))?;
            threads.push(thread);
        }
        let (jobs, files) = (Some(Arc::new(jobs)), files.clone());
        Ok(Self { jobs, threads, closing, watch, files, begun: AtomicU64::new(0) })
    }

    /// Returns the number of jobs that wait for a connection, which is 0 after the pool has ended.
    pub(super) fn waiting(&self) -> Reading {
        // Weak, because the threads end with the last sender.
        let jobs = self.jobs.as_ref().map(Arc::downgrade).unwrap_or_default();
        Arc::new(move || jobs.upgrade().map_or(0, |jobs| jobs.len()))
    }

    /// Runs `work` on one of the connections.
    ///
    /// Dropping the future gives up a query, whether it waits or runs: its call has reached its deadline, or the caller
    /// has gone away. Changes are carried out all the same.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let gives_up = self.watch.is_of_queries();
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let work = Box::new(move |connection: &mut Connection| {
            if gives_up && answer.is_closed() {
                return;
            }
            // Fails if the caller has gone away, which is fine.
            let _ = answer.send(work(connection));
        });
        let job = Job { number, work };
        let ended = || StoreError::unavailable("the store's threads have ended");
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        // Never blocks: this runs on a server thread, whose other calls would wait too.
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => ended(),
        })?;
        let mut query = Query { answered, watch: &self.watch, number, is_over: false };
        let answered = (&mut query.answered).await;
        query.is_over = true;
        match answered {
            Ok(Err(error)) if is_interrupted(&error) => {
                Err(StoreError::unavailable(format!("a query took longer than {} s", QUERY_MAX.as_secs())))
            }
            Ok(result) => result.map_err(|error| match &self.files {
                Some(files) => files.judge(error),
                None => unavailable(error),
            }),
            Err(_) => Err(StoreError::unavailable("a thread of the store has ended")),
        }
    }
}

/// A query that somebody waits for.
struct Query<'a, T> {
    answered: oneshot::Receiver<T>,
    watch: &'a QueryWatch,
    number: u64,
    is_over: bool,
}

impl<T> Drop for Query<'_, T> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Before the running job is checked: a job that begins from now on sees that nobody waits for it.
        self.answered.close();
        self.watch.give_up(self.number);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.watch.interrupt_after(Duration::ZERO);
        self.closing.store(true, Ordering::Relaxed);
        // Before the joins: the threads end when the last sender is gone.
        self.jobs = None;
        let deadline = Instant::now() + END_PATIENCE;
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < deadline {
            thread::sleep(END_LOOK);
        }
        for thread in self.threads.drain(..) {
            if !thread.is_finished() {
                tracing::error!(
                    "the disk or another process blocks a thread of the store: ending without it"
                );
                continue;
            }
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

fn is_interrupted(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// A thread of a pool.
struct Worker {
    waiting: Receiver<Job>,
    closing: Arc<AtomicBool>,
    connection: Connection,
    watch: (QueryWatch, usize),
    /// After the connection, which must be closed before.
    files: Files,
}

impl Worker {
    fn work_off(mut self, together: usize) {
        let mut batch = Vec::with_capacity(together);
        while let Ok(first) = self.waiting.recv() {
            if self.closing.load(Ordering::Relaxed) {
                continue;
            }
            batch.push(first);
            // Takes only what is queued: waiting for more would delay a single query.
            batch.extend(self.waiting.try_iter().take(together - 1));
            self.run(&mut batch);
        }
        if let Some(files) = &self.files {
            files.before_close(&self.connection);
        }
    }

    /// Runs jobs in one snapshot, which is taken at the first query, after all of the jobs were queued: each of
    /// them sees what its caller has written before.
    fn run(&mut self, batch: &mut Vec<Job>) {
        let mut shared = batch.len() > 1 && begin(&self.connection);
        let mut began = Instant::now();
        for job in batch.drain(..) {
            if shared && began.elapsed() > SNAPSHOT_MAX {
                end(&self.connection);
                shared = begin(&self.connection);
                began = Instant::now();
            }
            let (watch, number) = &self.watch;
            let running = Running { job: job.number, since: Instant::now(), is_given_up: false };
            watch.set(*number, Some(running));
            (job.work)(&mut self.connection);
            watch.set(*number, None);
        }
        if shared {
            end(&self.connection);
        }
    }
}

/// Begins a shared snapshot. If this fails, every query takes its own, which is only slower.
fn begin(connection: &Connection) -> bool {
    connection.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([])).is_ok()
}

fn end(connection: &Connection) {
    // An interrupted query may have ended the snapshot.
    if connection.is_autocommit() {
        return;
    }
    if let Err(error) = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([])) {
        tracing::error!(%error, "a reader can't end its snapshot");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDLESS: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    #[tokio::test]
    async fn query_that_takes_too_long_is_interrupted() {
        let connections = vec![Connection::open_in_memory().unwrap()];
        let watch = QueryWatch::of(&connections);
        let pool = Pool::start("test", connections, 1, (1, watch.clone()), &None).unwrap();
        let query = pool.run(|connection| connection.query_row(ENDLESS, [], |row| row.get::<_, i64>(0)));
        let interrupting = async {
            // Again and again, because the query may not have begun yet.
            loop {
                watch.interrupt_after(Duration::ZERO);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = tokio::select! {
            ended = query => ended,
            () = interrupting => unreachable!(),
        };
        assert!(ended.unwrap_err().to_string().contains("took longer"));
        let one = pool.run(|connection| connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0)));
        assert_eq!(one.await.unwrap(), 1, "the connection goes on");
    }

    #[tokio::test]
    async fn query_that_nobody_waits_for_is_given_up() {
        let connections = vec![Connection::open_in_memory().unwrap()];
        let watch = QueryWatch::of(&connections);
        let pool = Pool::start("test", connections, 2, (1, watch.clone()), &None).unwrap();
        let (begins, begun) = oneshot::channel();
        let mut endless = Box::pin(pool.run(move |connection| {
            let _ = begins.send(());
            connection.query_row(ENDLESS, [], |row| row.get::<_, i64>(0))
        }));
        tokio::select! {
            _ = &mut endless => unreachable!(),
            begun = begun => begun.unwrap(),
        }
        let has_run = Arc::new(AtomicBool::new(false));
        let runs = Arc::clone(&has_run);
        let mut queued = Box::pin(pool.run(move |_| {
            runs.store(true, Ordering::Relaxed);
            Ok(())
        }));
        assert!(futures::poll!(&mut queued).is_pending());
        drop((queued, endless));
        let one = pool.run(|connection| connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0)));
        let looking = async {
            loop {
                watch.interrupt_after(QUERY_MAX);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            one = one => assert_eq!(one.unwrap(), 1),
            () = looking => unreachable!(),
        }
        assert!(!has_run.load(Ordering::Relaxed), "nobody waited for it");
    }
}

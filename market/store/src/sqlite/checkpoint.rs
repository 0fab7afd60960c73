//! Checkpoints: copies committed pages from the write-ahead log into the database file, in the background.
//!
//! SQLite's automatic checkpoint would run inside a commit, and that commit would wait for it. A passive
//! checkpoint on another thread blocks nobody, but while commits keep arriving it never catches up, and the
//! log grows. So above a size limit the checkpointer takes the writers' turn and copies what is left.
//!
//! **It never waits while it holds the turn.** Its connection has no busy timeout: a reader that still uses the log,
//! such as a backup, makes the checkpoint give up at once, and the log grows until the reader is done. A warning
//! names it then. Every writer counts, whichever part of the market it belongs to (see [`super::turn`]).

#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use rustix::fs::statvfs;

use super::{
    database_file::companion,
    error::{Class, classify},
    log_readers,
    open_files::OpenFiles,
    pool::{QUERY_MAX, QueryWatch},
    turn::Turn,
};
use crate::WriteAheadLog;

/// How often to look whether a full disk has space again.
const SPACE_PROBE: Duration = Duration::from_secs(2);
/// The free space in bytes from which on the disk is not full any more: enough for a few large batches. With less, a
/// small change may still find room, and the state would alternate.
const SPACE_MIN: u64 = 16 << 20;
/// The free space in bytes below which the log is truncated in every round: a log that fills the disk could be copied
/// neither into the database, which has to grow for that, nor into a new log at the next start.
const SPACE_LOW: u64 = 4 * SPACE_MIN;
/// The size in bytes up to which a log is not truncated even then.
const SMALL_LOG: u64 = 4 << 20;

/// The longest time that changed pages wait for more of them.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The number of pages that may be left for the checkpoint during which the writers pause.
const LEFT_MAX: u64 = 256;
/// How often to copy what has been written meanwhile, before the writers pause for what is left.
const PASSES: usize = 4;

/// The limits of the log. A page has 4 KiB.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// How often to look for what was written.
    interval: Duration,
    /// The number of pages to wait for while writers are busy: a page that they change again meanwhile is copied once.
    enough_pages: u64,
    /// The number of pages in the log above which the writers have to pause for a checkpoint.
    pages: u64,
    /// The size in bytes to which the file shrinks when the log starts again. Twice the other limit, so that in
    /// normal operation it keeps its size: overwriting is cheaper to sync than appending.
    kept_bytes: u64,
    /// The size in bytes above which there is a warning.
    warned_bytes: u64,
}

impl Limits {
    pub(super) const DEFAULT: Self = Self {
        interval: Duration::from_millis(500),
        enough_pages: 4_096,
        pages: 16_384,
        kept_bytes: 128 << 20,
        warned_bytes: 256 << 20,
    };

    /// Limits that are never reached.
    #[cfg(test)]
    pub(super) const NEVER: Self = Self {
        interval: Duration::from_secs(3_600),
        enough_pages: 0,
        pages: u64::MAX,
        kept_bytes: 1 << 40,
        warned_bytes: 1 << 40,
    };

    /// Sets the size to which each of these writers shrinks the log when it starts it again.
    pub(super) fn apply_to(self, writers: &[&Connection]) -> Result<(), rusqlite::Error> {
        let bytes = i64::try_from(self.kept_bytes).unwrap_or(i64::MAX);
        let mut writers = writers.iter();
        writers.try_for_each(|writer| {
            writer.query_row(&format!("PRAGMA journal_size_limit = {bytes}"), [], |_| Ok(()))
        })
    }
}

/// What the checkpoint thread works with.
pub(super) struct Parts {
    /// A connection without a busy timeout.
    pub(super) connection: Connection,
    /// The database file.
    pub(super) path: PathBuf,
    pub(super) turn: Turn,
    /// After the connection, which must be closed before.
    pub(super) files: Arc<OpenFiles>,
    /// One for each pool of readers.
    pub(super) queries: [QueryWatch; 2],
    pub(super) log: WriteAheadLog,
    pub(super) limits: Limits,
}

/// The checkpoint thread. Dropping this ends it and waits for it.
pub(super) struct Checkpointer {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(parts: Parts) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let rounds = Rounds::new(parts);
        let thread =
            thread::Builder::new().name("souk-checkpoint".into()).spawn(move || rounds.run(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and does no harm: the log is checkpointed at the next start.
            let _ = thread.join();
        }
    }
}

/// The state of the log after a checkpoint.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Whether a reader or another process kept the checkpoint from completing.
    is_blocked: bool,
    /// The number of pages in the log.
    pages: u64,
    /// The number of those that are in the database file.
    copied: u64,
}

impl Progress {
    fn pending(self) -> u64 {
        self.pages.saturating_sub(self.copied)
    }
}

struct Rounds {
    parts: Parts,
    wal: PathBuf,
    shm: PathBuf,
    last: Progress,
    /// Whether the last checkpoint failed, so that a failure is logged once.
    has_failed: bool,
    has_warned: bool,
    /// Whether everything in a log that has lost its name is in the database.
    is_rescued: bool,
    probed: Instant,
    /// When the last checkpoint began.
    copied: Instant,
}

impl Rounds {
    fn new(parts: Parts) -> Self {
        let (wal, shm) = (companion(&parts.path, "-wal"), companion(&parts.path, "-shm"));
        let last = Progress::default();
        let (has_failed, has_warned, is_rescued) = (false, false, false);
        let (probed, copied) = (Instant::now(), Instant::now());
        Self { parts, wal, shm, last, has_failed, has_warned, is_rescued, probed, copied }
    }

    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        let (mut seen, mut looked) = (0, 0);
        let mut is_settled = true;
        while stopped.recv_timeout(self.parts.limits.interval) == Err(RecvTimeoutError::Timeout) {
            for watch in &self.parts.queries {
                watch.interrupt_after(QUERY_MAX);
            }
            // Also on an idle market, so that its readiness does not depend on writes.
            self.parts.files.look();
            if self.parts.files.may_write().is_err() {
                self.rescue();
                continue;
            }
            self.is_rescued = false;
            self.probe_space();
            self.parts.turn.probe(&self.parts.connection);
            // Read before the checkpoint: what is written during it counts as new and is copied the next time.
            let ended = self.parts.turn.ended();
            // An idle market runs no checkpoint and lets the disk sleep, once everything is copied.
            let is_busy = ended != looked;
            looked = ended;
            if (ended != seen || !is_settled) && !(is_busy && self.is_little()) {
                seen = ended;
                self.copied = Instant::now();
                is_settled = self.checkpoint();
            }
        }
        self.rescue();
        self.parts.files.before_close(&self.parts.connection);
    }

    /// Copies a log that has lost its name into the database, because the next start would not find it.
    ///
    /// Not if another file has the name: the next start would apply that one to a database that is newer.
    fn rescue(&mut self) {
        if self.is_rescued || !self.parts.files.has_lost_only_its_log() {
            return;
        }
        // Without the writers' turn: no writer begins any more.
        let Some(now) = self.copy("PASSIVE") else { return };
        self.parts.log.note(self.bytes(), now.pending());
        self.is_rescued = now.pending() == 0;
        if self.is_rescued {
            tracing::warn!(
                "everything that was acknowledged is in {} now; the market can be started again",
                self.parts.path.display()
            );
        }
    }

    /// Returns whether the log is still too short to be worth copying.
    fn is_little(&mut self) -> bool {
        self.copied.elapsed() < WAIT_MAX
            && self.copy("NOOP").is_some_and(|now| now.pending() < self.parts.limits.enough_pages)
    }

    /// Runs a checkpoint. Returns whether nothing is left to do until somebody writes again.
    fn checkpoint(&mut self) -> bool {
        let Limits { pages: most, kept_bytes, .. } = self.parts.limits;
        let Some(mut now) = self.copy("PASSIVE") else { return false };
        // A reader pins the log at the page where its snapshot ends. Nothing after it can be copied while the
        // reader is there, so taking the turn would only cost the writers time.
        let is_pinned = now.pending() > 0 && now.copied == self.last.copied && self.last.pages > now.copied;
        let is_short = self.bytes() > SMALL_LOG && self.free() < SPACE_LOW;
        if (now.pages > most || is_short) && !is_pinned {
            self.catch_up(now);
            // RESTART makes the next writer begin again at the start of the file. TRUNCATE also empties it.
            let mode = if is_short || self.bytes() > kept_bytes { "TRUNCATE" } else { "RESTART" };
            // With the turn held no writer can begin, so the checkpoint reaches the end of the log, and only
            // a reader can keep it from starting again.
            let turn = self.parts.turn.pause();
            now = self.copy(mode).unwrap_or(now);
            drop(turn);
        }
        self.last = now;
        let bytes = self.bytes();
        self.parts.log.note(bytes, now.pending());
        self.warn(bytes);
        now.pending() == 0 && bytes <= kept_bytes
    }

    /// Copies what the writers have added since, until that is little. What is left is copied while they pause, which
    /// delays all purchases.
    fn catch_up(&mut self, mut before: Progress) {
        for _ in 0..PASSES {
            let Some(now) = self.copy("PASSIVE") else { return };
            // A checkpoint does not report what was written during it, but the next one does.
            let added = now.pages.saturating_sub(before.pages);
            if added <= LEFT_MAX || now.is_blocked {
                return;
            }
            before = now;
        }
    }

    /// Runs a checkpoint in a mode; `None` if it failed.
    fn copy(&mut self, mode: &str) -> Option<Progress> {
        let pages = |row: &rusqlite::Row<'_>, column| row.get(column).map(|pages: i64| pages.max(0) as u64);
        let copied = self.parts.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            Ok(Progress { is_blocked: row.get(0)?, pages: pages(row, 1)?, copied: pages(row, 2)? })
        });
        match copied {
            Ok(progress) => {
                self.has_failed = false;
                if progress.is_blocked {
                    tracing::debug!(mode, "a reader is in the way of a checkpoint");
                }
                Some(progress)
            }
            Err(error) => {
                // Want of space is not noted: as long as the log takes changes, nothing is refused.
                if classify(&error) != Class::Full {
                    self.parts.files.note(&error);
                }
                if !self.has_failed {
                    tracing::warn!(%error, "a checkpoint failed; retrying");
                }
                self.has_failed = true;
                None
            }
        }
    }

    /// Returns the free space on the disk. If it can't be read, there is enough.
    fn free(&self) -> u64 {
        statvfs(&self.parts.path).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Returns the size of the log's file. 0 if it can't be read; this is only a matter of reporting.
    fn bytes(&self) -> u64 {
        fs::metadata(&self.wal).map_or(0, |file| file.len())
    }

    fn warn(&mut self, bytes: u64) {
        let megabytes = bytes >> 20;
        if bytes > self.parts.limits.warned_bytes && !self.has_warned {
            self.has_warned = true;
            let cause = log_readers::describe(&self.shm);
            tracing::warn!(megabytes, "the write-ahead log of the store keeps growing: {cause}");
        } else if bytes <= self.parts.limits.kept_bytes && self.has_warned {
            self.has_warned = false;
            tracing::info!(megabytes, "the write-ahead log of the store has shrunk again");
        }
    }

    /// While the disk is full, looks whether there is space again, and writes a page without changing it to be sure.
    /// A market that is not ready gets no calls, so nothing else may ever find out.
    fn probe_space(&mut self) {
        if !self.parts.files.space().is_used_up() || self.probed.elapsed() < SPACE_PROBE {
            return;
        }
        self.probed = Instant::now();
        if self.free() < SPACE_MIN {
            return;
        }
        let _turn = self.parts.turn.take_blocking();
        // First what the log holds, before new changes take the space that the database needs for it.
        if self.copy("TRUNCATE").is_none() {
            return;
        }
        match self.parts.connection.execute("UPDATE counter SET value = value WHERE name = 'feed'", []) {
            Ok(_) => self.parts.files.space().is_back(),
            Err(error) => tracing::debug!(%error, "there is still no space on the disk"),
        }
    }
}

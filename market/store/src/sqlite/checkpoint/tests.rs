//! The write-ahead log under readers that stay, and writers that never stop.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use souk_domain::{Place, RideId, Timestamp};
use uuid::Uuid;

use super::*;
use crate::{Fix, OpeningProgress, Store, sqlite::open_with};

/// Small limits, so that few writes exceed them.
const SMALL: Limits = Limits {
    interval: Duration::from_millis(20),
    enough_pages: 8,
    pages: 64,
    kept_bytes: 512 << 10,
    warned_bytes: 1 << 20,
};

/// How long to wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// No write may wait longer than this. A checkpoint that waits for readers would make it 5 s.
const WRITE_MAX: Duration = Duration::from_secs(3);

struct Shop {
    store: Store,
    path: PathBuf,
    at: i64,
    slowest: Duration,
    _folder: tempfile::TempDir,
}

impl Shop {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let store = open_with(&path, SMALL, &OpeningProgress::default()).unwrap();
        Self { store, path, at: 0, slowest: Duration::ZERO, _folder: folder }
    }

    /// Writes positions of a ride, which the lane has no part in.
    async fn write(&mut self) {
        let place = Place::parse(48.0, 11.0).unwrap();
        let fixes: Vec<_> = (1..=50).map(|step| Fix { place, at: Timestamp(self.at + step) }).collect();
        self.at += 50;
        let began = Instant::now();
        // Another ride each time, so that each write changes pages of its own.
        let ride = RideId(Uuid::from_u128((self.at as u128) << 64));
        self.store.tracks.lengthen(ride, &fixes, Timestamp(0)).await.unwrap();
        self.slowest = self.slowest.max(began.elapsed());
    }

    async fn write_until(&mut self, is_reached: impl Fn(&WriteAheadLog) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_reached(&self.log()) {
            assert!(Instant::now() < deadline, "{:?}", self.log());
            self.write().await;
        }
    }

    /// Waits without writing.
    async fn rest_until(&self, is_reached: impl Fn(&WriteAheadLog) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_reached(&self.log()) {
            assert!(Instant::now() < deadline, "{:?}", self.log());
            tokio::time::sleep(SMALL.interval).await;
        }
    }

    fn log(&self) -> WriteAheadLog {
        self.store.log.clone().unwrap()
    }

    fn file_bytes(&self) -> u64 {
        fs::metadata(companion(&self.path, "-wal")).unwrap().len()
    }
}

#[tokio::test]
async fn open_reader_delays_no_writer_and_the_log_shrinks_after_it() {
    let mut shop = Shop::open();
    shop.write().await;
    // As a backup does: a transaction that stays open.
    let reader = Connection::open(&shop.path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM track;").unwrap();
    shop.write_until(|log| log.bytes() > SMALL.warned_bytes).await;
    let rounds = shop.log().checkpoints();
    shop.write_until(|log| log.checkpoints() > rounds + 5).await;
    assert!(shop.slowest < WRITE_MAX, "a write took {:?}", shop.slowest);
    assert!(shop.log().pending_pages() > SMALL.pages);

    reader.execute_batch("COMMIT").unwrap();
    // Nothing is written any more: the market may be idle when the backup is done.
    shop.rest_until(|log| log.pending_pages() == 0 && log.bytes() <= SMALL.kept_bytes).await;
    assert!(shop.file_bytes() <= SMALL.kept_bytes);
}

#[tokio::test]
async fn tracks_and_mailboxes_are_checkpointed_without_any_command() {
    let mut shop = Shop::open();
    shop.write().await;
    // Copied soon, although no lane has ever committed.
    shop.rest_until(|log| log.checkpoints() > 0 && log.pending_pages() == 0).await;
    // More than the limit many times over: the log starts again from its beginning in between.
    let mut written = 0;
    let mut largest = 0;
    while written < 40 * SMALL.pages {
        let before = shop.log().checkpoints();
        for _ in 0..8 {
            shop.write().await;
            // At least two pages each: a row's and its index's.
            written += 2;
        }
        shop.rest_until(|log| log.checkpoints() > before).await;
        largest = largest.max(shop.file_bytes());
    }
    assert!(largest <= SMALL.warned_bytes, "{largest} bytes");
}

/// The next start would not find the log, so the database gets what is in it.
#[tokio::test]
async fn log_that_lost_its_name_is_copied_into_the_database() {
    let mut shop = Shop::open();
    shop.write().await;
    let reader = Connection::open(&shop.path).unwrap();
    let count = "SELECT count(*) FROM track";
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap();
    // Not copied as long as the reader is there.
    for _ in 0..5 {
        shop.write().await;
    }
    shop.rest_until(|log| log.pending_pages() > 0).await;
    let expected: i64 = Connection::open(&shop.path).unwrap().query_row(count, [], |row| row.get(0)).unwrap();
    let mut health = shop.store.health.changed();
    fs::remove_file(companion(&shop.path, "-wal")).unwrap();
    let detached = |state: &crate::HealthState| matches!(state, crate::HealthState::Detached { .. });
    tokio::time::timeout(PATIENCE, health.wait_for(detached)).await.unwrap().unwrap();
    reader.execute_batch("COMMIT").unwrap();
    shop.rest_until(|log| log.pending_pages() == 0).await;
    let copy = shop.path.with_extension("copy");
    fs::copy(&shop.path, &copy).unwrap();
    let found: i64 = Connection::open(&copy).unwrap().query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(found, expected);
}

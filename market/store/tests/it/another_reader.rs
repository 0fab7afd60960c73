//! A start beside another program that has had the database open since before the market was killed.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use souk_store::sqlite;

use super::{
    ALICE, Shop,
    files::{beside, remains},
};

/// Names the database that [`holds_a_database_open`] opens.
const DATABASE: &str = "SOUK_TEST_DATABASE";

/// Another program. A process of its own, because a process does not see its own POSIX locks.
struct Reader(Child);

impl Reader {
    fn of(path: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "another_reader::holds_a_database_open", "--ignored", "--nocapture"]);
        let child = command.env(DATABASE, path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains("has read")), "it can't read");
        Self(child)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Ends it, and with it the wait for its standard input.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "a part of the other tests, in a process of its own"]
fn holds_a_database_open() {
    let Ok(path) = std::env::var(DATABASE) else { return };
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row("SELECT count(*) FROM item", [], |_| Ok(())).unwrap();
    println!("has read");
    let _ = std::io::stdin().read(&mut [0]);
}

/// Returns the number of frames that the index of the log knows of.
fn known_frames(path: &Path) -> u32 {
    let mut frames = [0; 4];
    File::open(beside(path, "-shm")).unwrap().read_exact_at(&mut frames, 16).unwrap();
    u32::from_ne_bytes(frames)
}

/// The killed market had copied the log into the database, but the sync failed and the pages are lost.
#[tokio::test]
async fn log_is_copied_again_whatever_the_shared_index_says() {
    let mut shop = Shop::sqlite().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let (_folder, path) = remains(&shop);
    let reader = Reader::of(&path);
    let index = File::options().write(true).open(beside(&path, "-shm")).unwrap();
    index.write_all_at(&known_frames(&path).to_ne_bytes(), 96).unwrap();
    let store = sqlite::open(&path).unwrap();
    assert_eq!(store.reads.item(lamp).await.unwrap().unwrap().quantity, 5);
    drop((store, reader));
    let store = sqlite::open(&path).unwrap();
    assert_eq!(store.reads.item(lamp).await.unwrap().unwrap().quantity, 5);
}

#[tokio::test]
async fn start_is_refused_if_the_shared_index_knows_more_than_the_log() {
    let mut shop = Shop::sqlite().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let (_folder, path) = remains(&shop);
    let reader = Reader::of(&path);
    // The last page of the log was lost, with its sync.
    let log = File::options().write(true).open(beside(&path, "-wal")).unwrap();
    let frame_bytes = 24 + 4_096;
    log.set_len(32 + u64::from(known_frames(&path)) * frame_bytes - 4_096).unwrap();
    let refused = sqlite::open(&path).err().unwrap().to_string();
    assert!(refused.contains("another program has") && refused.contains("fuser -v"), "{refused}");
    drop(reader);
    let store = sqlite::open(&path).unwrap();
    assert!(store.reads.item(lamp).await.is_ok());
}

//! Backups of a store in a file, and what they are restored over.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use souk_store::sqlite::{self, backup, restore};
use tempfile::TempDir;

use super::{
    ALICE, Shop,
    files::{beside, remains},
    path_in,
};

/// Creates a store of more than 24 MiB, which takes several steps to copy.
fn long_store() -> (TempDir, PathBuf, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    drop(sqlite::open(&path).unwrap());
    let writer = Connection::open(&path).unwrap();
    writer
        .execute_batch(
            "CREATE TABLE filler (content BLOB);
             WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 6144)
             INSERT INTO filler SELECT zeroblob(4000) FROM n",
        )
        .unwrap();
    (folder, path, writer)
}

fn rows(path: &Path) -> i64 {
    let copy = Connection::open(path).unwrap();
    copy.query_row("SELECT count(*) FROM filler", [], |row| row.get(0)).unwrap()
}

/// A copy that began again after each change would never end on a busy market.
#[test]
fn backup_ends_although_each_step_meets_a_commit() {
    let (folder, path, writer) = long_store();
    let (copy, mut steps) = (folder.path().join("copy.db"), 0);
    backup(&path, &copy, |_| {
        steps += 1;
        assert!(steps <= 10, "the copy begins again and again");
        writer.execute("INSERT INTO filler VALUES (zeroblob(4000))", []).unwrap();
    })
    .unwrap();
    assert!(steps >= 6, "{steps}");
    assert_eq!(rows(&copy), 6_144, "the state at the start");
    assert_eq!(rows(&path), 6_144 + steps);
}

/// The file that gets the name must not be another backup's, half written.
#[test]
fn file_is_written_by_one_backup_at_a_time() {
    let (folder, path, _writer) = long_store();
    let (copy, mut refusals) = (folder.path().join("copy.db"), Vec::new());
    fs::write(beside(&copy, ".partial"), "left by a backup that was killed").unwrap();
    backup(&path, &copy, |_| {
        let second = backup(&path, &copy, |_| ());
        refusals.push(second.unwrap_err().to_string());
    })
    .unwrap();
    assert!(refusals.len() >= 6, "{refusals:?}");
    assert!(refusals.iter().all(|why| why.contains("another process is writing")), "{refusals:?}");
    assert_eq!(rows(&copy), 6_144);
    assert!(!beside(&copy, ".partial").exists());
}

/// SQLite applies a log to whatever database has its name.
#[tokio::test]
async fn log_of_another_store_is_not_applied_to_the_restored_one() {
    let mut shop = Shop::sqlite().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    backup(&path_in(shop.folder.as_ref()), &copy, |_| ()).unwrap();
    for left in ["-wal", "-journal", "-shm"] {
        let (_folder, path) = remains(&shop);
        fs::copy(beside(&path, "-wal"), beside(&path, "-journal")).unwrap();
        for other in ["", "-wal", "-journal", "-shm"] {
            if other != left {
                fs::remove_file(beside(&path, other)).unwrap();
            }
        }
        let refused = restore(&copy, &path, None).unwrap_err().to_string();
        assert!(refused.contains("--replace") && refused.contains(left), "{refused}");
        assert!(!path.exists() && beside(&path, left).exists(), "{left}: nothing is changed");
        let restored = restore(&copy, &path, Some(".old")).unwrap();
        let kept = if left == "-shm" { vec![] } else { vec![beside(&path, &format!(".old{left}"))] };
        assert_eq!(restored.replaced, kept);
        assert!(!beside(&path, left).exists());
        let store = sqlite::open(&path).unwrap();
        assert_eq!(store.reads.item(lamp).await.unwrap().unwrap().quantity, 5);
    }
}

/// Whenever the renaming is cut off, no database is without the log that belongs to it.
#[tokio::test]
async fn replaced_store_is_complete_without_its_log() {
    let mut shop = Shop::sqlite().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    backup(&path_in(shop.folder.as_ref()), &copy, |_| ()).unwrap();
    let lamp = shop.lamp(ALICE, 5).await;
    let (_folder, path) = remains(&shop);
    let restored = restore(&copy, &path, Some(".old")).unwrap();
    assert_eq!(restored.replaced, [beside(&path, ".old")], "there is no log");
    assert!(!beside(&path, "-wal").exists());
    let old = sqlite::open(&beside(&path, ".old")).unwrap();
    assert_eq!(old.reads.item(lamp).await.unwrap().unwrap().quantity, 5);
    let new = sqlite::open(&path).unwrap();
    assert!(new.reads.item(lamp).await.unwrap().is_none());
}

/// A damaged store is replaced too, and keeps its log.
#[tokio::test]
async fn damaged_store_is_moved_aside_with_its_log() {
    let shop = Shop::sqlite().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    backup(&path_in(shop.folder.as_ref()), &copy, |_| ()).unwrap();
    for damage in ["", "no database at all"] {
        let (_folder, path) = remains(&shop);
        let log = fs::read(beside(&path, "-wal")).unwrap();
        fs::write(&path, damage).unwrap();
        restore(&copy, &path, Some(".old")).unwrap();
        assert_eq!(fs::read_to_string(beside(&path, ".old")).unwrap(), damage);
        assert!(fs::read(beside(&path, ".old-wal")).unwrap() == log, "{damage}");
        drop(sqlite::open(&path).unwrap());
    }
}

//! Promises that only a store in a file makes.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use souk_domain::{Action, Context, EventId, Keys, OrderId, Outcome, decide};
use souk_store::{Fix, HealthState, SaveError, StoreError, sqlite};
use uuid::Uuid;

use super::{ALICE, BOB, Shop, buy, party, path_in};

#[tokio::test]
async fn everything_survives_reopening() {
    let mut shop = Shop::sqlite().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let Outcome::Order(order) = shop.act(BOB, buy(lamp, 2)).await.unwrap() else { panic!("no order") };
    let replay = shop.command(BOB, buy(lamp, 1));
    let (first, _) = shop.batch(std::slice::from_ref(&replay)).await;
    let before = shop.store.reads.totals().await.unwrap();
    let mut shop = shop.reopen().await;
    assert_eq!(shop.store.reads.totals().await.unwrap(), before);
    assert_eq!(shop.store.reads.order(order.id).await.unwrap().unwrap(), order);
    let (again, _) = shop.batch(std::slice::from_ref(&replay)).await;
    assert_eq!(first, again, "a request id is remembered");
    assert!(shop.lamp(ALICE, 1).await > lamp, "numbers go on");
    let Outcome::Order(next) = shop.act(BOB, buy(lamp, 1)).await.unwrap() else { panic!("no order") };
    assert_eq!(next.id, OrderId(order.id.0 + 2));
}

#[tokio::test]
async fn second_opener_is_refused() {
    let shop = Shop::sqlite().await;
    let refused = sqlite::open(&path_in(shop.folder.as_ref())).err().unwrap();
    assert!(refused.to_string().contains("another market"), "{refused}");
}

fn refusal(path: &Path) -> String {
    sqlite::open(path).err().unwrap_or_else(|| panic!("{} was opened", path.display())).to_string()
}

/// The lock is on the file and not on its name.
#[tokio::test]
async fn second_opener_is_refused_by_any_name() {
    let shop = Shop::sqlite().await;
    let path = path_in(shop.folder.as_ref());
    let folder = path.parent().unwrap();
    let link = folder.join("link.db");
    symlink(&path, &link).unwrap();
    let around = folder.join("..").join(folder.file_name().unwrap()).join("shop.db");
    let linked_folder = tempfile::tempdir().unwrap();
    symlink(folder, linked_folder.path().join("folder")).unwrap();
    for name in [link, around, linked_folder.path().join("folder/shop.db")] {
        let refused = refusal(&name);
        assert!(refused.contains("another market has"), "{refused}");
        assert!(refused.contains("shop.db open"), "names the real file: {refused}");
    }
    assert!(!folder.join("shop.db.lock").exists(), "a lock file invites its deletion");
}

#[tokio::test]
async fn file_with_two_hard_links_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("shop.db"), folder.path().join("other.db"));
    drop(sqlite::open(&path).unwrap());
    fs::hard_link(&path, &other).unwrap();
    for name in [&path, &other] {
        let refused = refusal(name);
        assert!(refused.contains("2 hard links"), "{refused}");
    }
    fs::remove_file(other).unwrap();
    drop(sqlite::open(&path).unwrap());
}

/// A clean end leaves one file that is complete by itself, whichever part of the store is dropped last.
#[tokio::test]
async fn log_is_copied_into_the_file_whatever_is_dropped_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    for reads_last in [false, true] {
        let souk_store::Store { lanes, reads, mailboxes, .. } = sqlite::open(&path).unwrap();
        drop(lanes);
        let parts: [Box<dyn std::any::Any>; 2] = if reads_last {
            [Box::new(mailboxes), Box::new(reads)]
        } else {
            [Box::new(reads), Box::new(mailboxes)]
        };
        for part in parts {
            assert!(beside(&path, "-wal").exists(), "it is in use");
            drop(part);
        }
        assert!(!beside(&path, "-wal").exists(), "reads last: {reads_last}");
    }
}

/// Markets before this version locked a file of its own.
#[test]
fn older_market_keeps_its_file_and_leaves_no_lock_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let older = File::create(folder.path().join("shop.db.lock")).unwrap();
    older.lock().unwrap();
    let refused = refusal(&path);
    assert!(refused.contains("another market"), "{refused}");
    drop(older);
    drop(sqlite::open(&path).unwrap());
    assert!(!folder.path().join("shop.db.lock").exists());
}

/// Carries out one command, as a ledger does, without unwrapping.
async fn attempt(shop: &mut Shop, caller: u128, action: Action) -> Result<(), SaveError> {
    let command = shop.command(caller, action);
    let mut keys = Keys::default();
    command.add_keys(&mut keys);
    let mut rows = shop.lane.load(&keys).await.map_err(SaveError::Lost)?;
    let mut event_ids = || EventId(Uuid::from_u128(u128::MAX - command.request.id.0.as_u128()));
    decide(
        &mut rows,
        &command,
        &mut Context { now: shop.now, steady_now: shop.now, event_ids: &mut event_ids },
    )
    .unwrap();
    shop.lane.save(&rows).await.map(drop)
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Whatever happens to the files, no change that goes to them is acknowledged, and each batch says what is
/// known of it: the first may be in a file that comes back.
#[tokio::test]
async fn changes_to_a_file_that_is_gone_are_not_acknowledged() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("deleted", |path| fs::remove_file(path).unwrap()),
        ("moved", |path| fs::rename(path, beside(path, ".away")).unwrap()),
        ("replaced", |path| {
            fs::write(beside(path, ".new"), "").unwrap();
            fs::rename(beside(path, ".new"), path).unwrap();
        }),
        ("linked", |path| fs::hard_link(path, beside(path, ".link")).unwrap()),
        ("log deleted", |path| fs::remove_file(beside(path, "-wal")).unwrap()),
        ("log replaced", |path| {
            fs::copy(beside(path, "-wal"), beside(path, "-wal.copy")).unwrap();
            fs::rename(beside(path, "-wal.copy"), beside(path, "-wal")).unwrap();
        }),
    ];
    for (name, harm) in harms {
        let mut shop = Shop::sqlite().await;
        let lamp = shop.lamp(ALICE, 5).await;
        harm(&path_in(shop.folder.as_ref()));
        let first = attempt(&mut shop, BOB, buy(lamp, 1)).await;
        assert!(
            matches!(first, Err(SaveError::Indefinite(_)) | Err(SaveError::Lost(_))),
            "{name}: {first:?}"
        );
        let next = attempt(&mut shop, BOB, buy(lamp, 1)).await;
        assert!(matches!(next, Err(SaveError::Lost(StoreError::Stopped(_)))), "{name}: {next:?}");
        let mailbox = shop.store.mailboxes.probe(party(ALICE), shop.now).await;
        assert!(mailbox.is_err(), "{name}: {mailbox:?}");
        let fix = Fix { place: souk_domain::Place::trusted(0, 0), at: shop.now };
        let ride = souk_domain::RideId(Uuid::from_u128(1));
        assert!(shop.store.tracks.lengthen(ride, &[fix], fix.at).await.is_err(), "{name}");
        let HealthState::Detached { reason } = shop.store.health.state() else { panic!("{name}") };
        assert!(reason.contains("shop.db"), "{name}: {reason}");
    }
}

/// The answers to retries are acknowledgements too.
#[tokio::test]
async fn replay_from_a_file_that_is_gone_is_not_acknowledged() {
    let mut shop = Shop::sqlite().await;
    fs::remove_file(path_in(shop.folder.as_ref())).unwrap();
    shop.lane.load(&Keys::default()).await.unwrap();
    assert!(shop.lane.confirm(1).await.is_err());
}

/// An idle market notices too, and goes on when its file is back.
#[tokio::test]
async fn file_that_comes_back_is_used_again() {
    let mut shop = Shop::sqlite().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let path = path_in(shop.folder.as_ref());
    let mut health = shop.store.health.changed();
    fs::rename(&path, beside(&path, ".away")).unwrap();
    let detached = |state: &HealthState| matches!(state, HealthState::Detached { .. });
    tokio::time::timeout(super::HOUR / 360, health.wait_for(detached)).await.unwrap().unwrap();
    assert!(attempt(&mut shop, BOB, buy(lamp, 1)).await.is_err());
    fs::rename(beside(&path, ".away"), &path).unwrap();
    attempt(&mut shop, BOB, buy(lamp, 1)).await.unwrap();
    assert_eq!(shop.store.health.state(), HealthState::Healthy);
    let shop = shop.reopen().await;
    assert_eq!(shop.store.reads.item(lamp).await.unwrap().unwrap().quantity, 4);
}

/// Closing a store whose files were replaced touches nothing at their paths.
#[tokio::test]
async fn closing_leaves_another_databases_log_alone() {
    let shop = Shop::sqlite().await;
    let path = path_in(shop.folder.as_ref());
    fs::write(beside(&path, ".copy"), "another log").unwrap();
    fs::rename(beside(&path, ".copy"), beside(&path, "-wal")).unwrap();
    let Shop { store, lane, folder, .. } = shop;
    drop((lane, store));
    assert_eq!(fs::read_to_string(beside(&path, "-wal")).unwrap(), "another log");
    drop(folder);
}

/// What a killed market left: the database and its log, at the moment of the kill.
pub(super) fn remains(shop: &Shop) -> (tempfile::TempDir, PathBuf) {
    let (path, folder) = (path_in(shop.folder.as_ref()), tempfile::tempdir().unwrap());
    let copy = folder.path().join("shop.db");
    for suffix in ["", "-wal", "-shm"] {
        fs::copy(beside(&path, suffix), beside(&copy, suffix)).unwrap();
    }
    assert!(fs::metadata(beside(&copy, "-wal")).unwrap().len() > 0);
    (folder, copy)
}

/// After a failed sync, the kernel takes pages of the old log for written that are not. The content must go
/// to a new file, at whatever point an earlier start was killed.
#[tokio::test]
async fn start_writes_the_log_to_a_new_file() {
    let mut shop = Shop::sqlite().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let totals = shop.store.reads.totals().await.unwrap();
    for killed in ["never", "while copying", "after copying", "after the rename"] {
        let (_folder, path) = remains(&shop);
        let (log, copy) = (beside(&path, "-wal"), beside(&path, "-wal.new"));
        match killed {
            "while copying" => fs::write(&copy, "half of the lo").unwrap(),
            "after copying" => drop(fs::copy(&log, &copy).unwrap()),
            "after the rename" => {
                fs::copy(&log, &copy).unwrap();
                fs::rename(&copy, &log).unwrap();
            }
            _ => {}
        }
        // Kept open, so that its inode number is not used again.
        let old = File::open(&log).unwrap();
        let store = sqlite::open(&path).unwrap();
        assert_ne!(fs::metadata(&log).unwrap().ino(), old.metadata().unwrap().ino(), "{killed}");
        assert_eq!(fs::metadata(&log).unwrap().len(), 0, "{killed}: it is all in the database");
        assert!(!copy.exists(), "{killed}");
        assert_eq!(store.reads.totals().await.unwrap(), totals, "{killed}");
        assert_eq!(store.reads.item(lamp).await.unwrap().unwrap().quantity, 5, "{killed}");
    }
}

/// SQLite deletes the log of an empty database, and with it orders that were acknowledged.
#[tokio::test]
async fn log_without_its_database_keeps_the_store_closed() {
    let mut shop = Shop::sqlite().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let (_folder, path) = remains(&shop);
    let (log, away) = (beside(&path, "-wal"), beside(&path, ".away"));
    let content = fs::read(&log).unwrap();
    fs::rename(&path, &away).unwrap();
    let refused = refusal(&path);
    assert!(refused.contains("shop.db is missing") && refused.contains("put the database back"), "{refused}");
    assert!(!path.exists(), "nothing is in the way of the database");
    fs::write(&path, "").unwrap();
    let refused = refusal(&path);
    assert!(refused.contains("shop.db is empty") && refused.contains("shop.db-wal"), "{refused}");
    assert!(fs::read(&log).unwrap() == content, "the log is as it was");
    fs::rename(&away, &path).unwrap();
    let store = sqlite::open(&path).unwrap();
    assert_eq!(store.reads.item(lamp).await.unwrap().unwrap().quantity, 5);
    drop(store);
    // A first start that ended before the first page was written.
    let fresh = beside(&path, ".fresh");
    for left in ["", "-wal"] {
        fs::write(beside(&fresh, left), "").unwrap();
    }
    drop(sqlite::open(&fresh).unwrap());
}

/// In a mapped file, a read error of the disk is a signal that kills the process.
#[tokio::test]
async fn database_is_not_mapped_into_memory() {
    let mut shop = Shop::sqlite().await;
    let lamp = shop.lamp(ALICE, 5).await;
    let path = path_in(shop.folder.as_ref());
    // Reopened, so that the rows are in the database and not in the log.
    let shop = shop.reopen().await;
    shop.store.reads.item(lamp).await.unwrap().unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let name = path.to_str().unwrap();
    assert!(!maps.lines().any(|line| line.ends_with(name)), "{maps}");
}

/// Who may read what of the store's files.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn files_belong_to_their_owner_only() {
    let shop = Shop::sqlite().await;
    let path = path_in(shop.folder.as_ref());
    let files = |path: &Path| ["", "-wal", "-shm"].map(|suffix| mode(&beside(path, suffix)));
    assert_eq!(files(&path), [0o600; 3]);
    let (_folder, older) = remains(&shop);
    for suffix in ["", "-wal", "-shm"] {
        fs::set_permissions(beside(&older, suffix), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let store = sqlite::open(&older).unwrap();
    assert_eq!(files(&older), [0o600; 3], "tightened");
    drop(store);
}

#[test]
fn foreign_newer_and_damaged_files_are_distinguished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE note (text TEXT)").unwrap();
    drop(other);
    assert!(
        matches!(sqlite::open(&path).err().unwrap(), StoreError::Unsuitable(why) if why.to_string().contains("another program"))
    );

    let path = folder.path().join("newer.db");
    drop(sqlite::open(&path).unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    assert!(
        matches!(sqlite::open(&path).err().unwrap(), StoreError::Unsuitable(why) if why.to_string().contains("newer market"))
    );

    let path = folder.path().join("damaged.db");
    std::fs::write(&path, "not a database at all, just text ".repeat(500)).unwrap();
    assert!(
        matches!(sqlite::open(&path).err().unwrap(), StoreError::Corrupt(why) if why.to_string().contains("damaged.db"))
    );
}

/// The database's constraints reject what the rules must never let through.
#[tokio::test]
async fn constraints_keep_the_accounts_balanced() {
    let mut shop = Shop::sqlite().await;
    shop.lamp(ALICE, 5).await;
    let raw = rusqlite::Connection::open(path_in(shop.folder.as_ref())).unwrap();
    for wrong in [
        "UPDATE item SET quantity = -1, withdrawn = 6",
        "UPDATE item SET quantity = quantity + 1",
        "UPDATE item SET sold = 1",
    ] {
        assert!(raw.execute(wrong, []).is_err(), "{wrong}");
    }
}

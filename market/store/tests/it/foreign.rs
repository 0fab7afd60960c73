//! Files of other programs: a market that is given one by mistake leaves it as it is.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use souk_store::{StoreError, sqlite};

use super::files::beside;

/// The files in a folder, with their permissions and contents.
fn contents(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .map(|file| {
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            (file.file_name().unwrap().to_str().unwrap().to_owned(), (mode, fs::read(&file).unwrap()))
        })
        .collect()
}

/// Makes a database of another program whose only table is in its log.
fn in_its_log(folder: &Path) {
    let made = tempfile::tempdir().unwrap();
    let path = made.path().join("notes.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.pragma_update(None, "journal_mode", "WAL").unwrap();
    other.execute_batch("CREATE TABLE note (text TEXT)").unwrap();
    for part in ["", "-wal"] {
        fs::copy(beside(&path, part), folder.join(format!("notes.db{part}"))).unwrap();
    }
}

#[test]
fn foreign_file_is_left_as_it_is() {
    type Make = fn(&Path);
    let kinds: [(&str, Make, &str); 4] = [
        (
            "a database",
            |folder| {
                let other = rusqlite::Connection::open(folder.join("notes.db")).unwrap();
                other.execute_batch("CREATE TABLE note (text TEXT)").unwrap();
            },
            "belongs to another program",
        ),
        ("a database with a log", in_its_log, "belongs to another program"),
        (
            "a text",
            |folder| fs::write(folder.join("notes.db"), "all my notes").unwrap(),
            "damaged or not a store",
        ),
        ("a byte", |folder| fs::write(folder.join("notes.db"), "x").unwrap(), "damaged or not a store"),
    ];
    for (kind, make, says) in kinds {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path());
        fs::write(folder.path().join("notes.db.lock"), "its own").unwrap();
        for (file, _) in contents(folder.path()) {
            fs::set_permissions(folder.path().join(file), fs::Permissions::from_mode(0o664)).unwrap();
        }
        let before = contents(folder.path());
        let refused = sqlite::open(&folder.path().join("notes.db")).err().unwrap();
        assert!(matches!(refused, StoreError::Corrupt(_) | StoreError::Unsuitable(_)), "{kind}: {refused:?}");
        assert!(refused.to_string().contains(says), "{kind}: {refused}");
        assert!(contents(folder.path()) == before, "{kind}");
    }
}

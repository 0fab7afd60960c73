//! Finds out who keeps the write-ahead log from starting again: the processes that read it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// The bytes of the `-shm` file that a reader locks for as long as its snapshot lasts (`WAL_READ_LOCK` in SQLite's
/// `wal.c`, at offset 120).
const READ_LOCKS: std::ops::RangeInclusive<u64> = 123..=127;

/// Describes the readers of the log, for operators.
pub(super) fn describe(shm: &Path) -> String {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut found = fs::metadata(shm).map(|shm| holders(&locks, shm.ino())).unwrap_or_default();
    let is_ours = found.contains(&std::process::id());
    found.retain(|process| *process != std::process::id());
    if found.is_empty() {
        return if is_ours {
            "a query of this market takes long".to_owned()
        } else {
            "a process has the database open for reading, such as a backup or sqlite3, or the disk is slow"
                .to_owned()
        };
    }
    let named = found.iter().map(|process| match fs::read_to_string(format!("/proc/{process}/comm")) {
        Ok(name) => format!("{} (process {process})", name.trim_end()),
        Err(_) => format!("process {process}"),
    });
    format!("{} has the database open for reading", named.collect::<Vec<_>>().join(", "))
}

/// Returns the processes that hold a read lock on the log, from the text of `/proc/locks`.
fn holders(locks: &str, shm_inode: u64) -> Vec<u32> {
    let mut found: Vec<u32> = locks.lines().filter_map(|line| holder(line, shm_inode)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Parses a line such as `7: POSIX  ADVISORY  READ 4711 08:01:131104 124 124`.
fn holder(line: &str, shm_inode: u64) -> Option<u32> {
    let mut fields = line.split_whitespace().skip(1);
    if fields.next()? != "POSIX" || fields.nth(1)? != "READ" {
        return None;
    }
    let process = fields.next()?.parse().ok()?;
    let inode: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
    let start: u64 = fields.next()?.parse().ok()?;
    (inode == shm_inode && READ_LOCKS.contains(&start)).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_told_from_other_locks() {
        let locks = "1: POSIX  ADVISORY  READ 4711 08:01:131104 124 124\n\
                     2: POSIX  ADVISORY  READ 4711 08:01:131104 128 128\n\
                     3: POSIX  ADVISORY  WRITE 4712 08:01:131104 124 124\n\
                     3: -> POSIX  ADVISORY  READ 4716 08:01:131104 124 124\n\
                     4: FLOCK  ADVISORY  READ 4713 08:01:131104 0 EOF\n\
                     5: POSIX  ADVISORY  READ 4714 08:01:131105 124 124\n\
                     6: POSIX  ADVISORY  READ 4715 08:01:131104 127 127\n";
        assert_eq!(holders(locks, 131_104), [4711, 4715]);
    }
}

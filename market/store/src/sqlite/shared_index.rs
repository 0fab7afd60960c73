//! The index of the log (`-shm`) that another program has open while a market starts.
//!
//! It can't be rebuilt from the log as usual, because the other program has it mapped. But it contains what the killed market
//! believed: how long the log is, and how much of it is in the database. After a failed sync, neither need be true of the
//! disk. So the log is read, and the index is corrected: no part of the log counts as copied. If the log is shorter than
//! the index says, the market does not start.
//!
//! The index is laid out as in SQLite's `wal.c` ("WAL-index file format").

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt as _,
};

use super::{
    database_file::DatabaseFile,
    log_format::{FRAME_HEADER, LOG_HEADER, big_endian},
};
use crate::StoreError;

/// The largest page of a database.
const PAGE_MAX: usize = 65_536;
/// The log's magic number, whose last bit is the byte order of its checksums.
const MAGIC: u32 = 0x377f_0682;
/// The part of the index that is read.
const INDEX_BYTES: usize = 100;
/// Where the index says how many frames are in the database.
const COPIED_AT: u64 = 96;

/// Makes sure that the index of another program leads to no loss. The log must have been written again before.
pub(super) fn set_right(database: &DatabaseFile) -> Result<(), StoreError> {
    let (log, index) = (database.companion("-wal"), database.companion("-shm"));
    let failed = |error: io::Error| {
        StoreError::unavailable(format!(
            "can't read {0}, which another program has open: {error}; end that program (fuser -v {0}), then start the market again",
            database.path.display()
        ))
    };
    let on_disk = File::open(&log).and_then(|log| Frames::read(BufReader::new(log))).map_err(failed)?;
    let shared = match File::options().read(true).write(true).open(&index) {
        Ok(shared) => shared,
        // Then the other program shares nothing, and SQLite makes one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut known = [0; INDEX_BYTES];
    match shared.read_exact_at(&mut known, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    if !on_disk.agree_with(&known) {
        return Err(StoreError::unavailable(format!(
            "another program has {0} open and knows of changes that are no longer in {1}, because a sync failed; end that program (fuser -v {0}), then start the market again",
            database.path.display(),
            log.display()
        )));
    }
    // Without a lock: if the other program copies the log at this moment, it does so once more for nothing.
    shared.write_all_at(&0_u32.to_ne_bytes(), COPIED_AT).map_err(failed)
}

/// What a log holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Frames {
    /// Distinguishes this round of the log from the ones before.
    salt: [u8; 8],
    /// The number of frames up to the last commit whose checksums are right.
    committed: u32,
}

impl Frames {
    fn read(mut log: impl Read) -> io::Result<Self> {
        let mut header = [0; LOG_HEADER];
        if !fill(&mut log, &mut header)? {
            return Ok(Self::default());
        }
        let (magic, page_bytes) = (big_endian(&header, 0), big_endian(&header, 8) as usize);
        let mut sum = Checksum { is_big_endian: magic & 1 == 1, words: [0, 0] };
        sum.add(&header[..24]);
        if magic & !1 != MAGIC || page_bytes > PAGE_MAX || !sum.is_at(&header, 24) {
            return Ok(Self::default());
        }
        let mut salt = [0; 8];
        salt.copy_from_slice(&header[16..24]);
        let mut frame = vec![0; FRAME_HEADER + page_bytes];
        let (mut count, mut committed) = (0, 0);
        while fill(&mut log, &mut frame)? {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER..]);
            if frame[8..16] != salt || !sum.is_at(&frame, 16) {
                break;
            }
            count += 1;
            // A frame that ends a transaction says how large the database is then.
            if big_endian(&frame, 4) > 0 {
                committed = count;
            }
        }
        Ok(Self { salt, committed })
    }

    /// Returns whether everything that an index knows of is there. One that is not initialised knows nothing.
    fn agree_with(&self, index: &[u8; INDEX_BYTES]) -> bool {
        let known = u32::from_ne_bytes([index[16], index[17], index[18], index[19]]);
        let is_initialised = index[12] != 0;
        !is_initialised || known == 0 || (index[32..40] == self.salt && known <= self.committed)
    }
}

/// The checksum of a log, which runs on from frame to frame.
struct Checksum {
    is_big_endian: bool,
    words: [u32; 2],
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let [mut first, mut second] = self.words;
        for pair in bytes.chunks_exact(8) {
            first = first.wrapping_add(self.word(pair, 0)).wrapping_add(second);
            second = second.wrapping_add(self.word(pair, 4)).wrapping_add(first);
        }
        self.words = [first, second];
    }

    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let word = big_endian(bytes, at);
        if self.is_big_endian { word } else { word.swap_bytes() }
    }

    fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        self.words == [big_endian(bytes, at), big_endian(bytes, at + 4)]
    }
}

/// Fills the buffer, and returns whether there was enough.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusqlite::Connection;

    use super::*;

    #[test]
    fn index_that_knows_more_than_the_log_holds_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let market = Connection::open(&path).unwrap();
        market.pragma_update(None, "journal_mode", "WAL").unwrap();
        market.execute_batch("CREATE TABLE note (text TEXT); INSERT INTO note VALUES ('a')").unwrap();
        let index = || {
            <[u8; INDEX_BYTES]>::try_from(&fs::read(folder.path().join("shop.db-shm")).unwrap()[..100])
                .unwrap()
        };
        let log = || fs::read(folder.path().join("shop.db-wal")).unwrap();
        let early = Frames::read(&*log()).unwrap();
        assert!(early.committed > 0 && early.agree_with(&index()));
        market.execute_batch("INSERT INTO note VALUES ('b')").unwrap();
        let mut bytes = log();
        let now = Frames::read(&*bytes).unwrap();
        assert!(now.committed > early.committed && now.agree_with(&index()) && !early.agree_with(&index()));
        // The last page is not what was written.
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(Frames::read(&*bytes).unwrap(), early);
        bytes[20] ^= 1;
        assert_eq!(Frames::read(&*bytes).unwrap(), Frames::default(), "the header is not what was written");
        assert_eq!(Frames::read(&b"no frames"[..]).unwrap(), Frames::default());
    }
}

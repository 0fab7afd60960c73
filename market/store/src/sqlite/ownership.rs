//! Whether a file is a market's, decided from its first page before anything about it is changed.
//!
//! SQLite could tell more, but opening a file with it recovers and may delete the log. A file that is accepted here is
//! checked again when it is migrated.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use super::{
    log_format::{FRAME_HEADER, LOG_HEADER, big_endian},
    migrate::{APPLICATION_ID, SchemaProblem},
};
use crate::StoreError;

/// How a database begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The part of the first page that is read: the header of the file and that of the page, which says how many tables there
/// are.
const FIRST_BYTES: usize = 108;

/// Refuses a file that is neither a market's nor empty.
pub(super) fn refuse_foreign(file: &File, path: &Path, log: &Path) -> Result<(), StoreError> {
    let failed =
        |error: io::Error| StoreError::unavailable(format!("can't read {}: {error}", path.display()));
    let Some(first) = first_page(file, log).map_err(failed)? else { return Ok(()) };
    match Owner::of(&first) {
        Owner::Market | Owner::Nobody => Ok(()),
        Owner::Other => Err(SchemaProblem::Foreign.at(path)),
        Owner::NoDatabase => Err(StoreError::corrupt(format!(
            "{} is damaged or not a store of a market (it does not begin like a database); restore it from a backup, or use another file",
            path.display()
        ))),
    }
}

/// Returns whether a file begins like a database.
pub(super) fn begins_like_a_database(file: &File) -> bool {
    let mut first = [0; MAGIC.len()];
    file.read_exact_at(&mut first, 0).is_ok() && first == *MAGIC
}

#[derive(Debug, PartialEq, Eq)]
enum Owner {
    Market,
    /// A database without tables.
    Nobody,
    Other,
    NoDatabase,
}

impl Owner {
    fn of(first: &[u8; FIRST_BYTES]) -> Self {
        if !first.starts_with(MAGIC) {
            return Self::NoDatabase;
        }
        if i64::from(big_endian(first, 68)) == APPLICATION_ID {
            return Self::Market;
        }
        // A page of the schema without entries is a leaf (13) with no cells.
        let is_empty = first[100] == 13 && first[103..105] == [0, 0];
        if is_empty { Self::Nobody } else { Self::Other }
    }
}

/// Returns the beginning of the first page, as it is in the log or else in the file; `None` if the file is empty.
fn first_page(file: &File, log: &Path) -> io::Result<Option<[u8; FIRST_BYTES]>> {
    let mut first = [0; FIRST_BYTES];
    if read_up_to(file, &mut first, 0)? == 0 {
        return Ok(None);
    }
    if Owner::of(&first) == Owner::Market {
        return Ok(Some(first));
    }
    // The tables of a young database are in its log.
    match File::open(log) {
        Ok(log) => Ok(Some(first_page_in_log(&log)?.unwrap_or(first))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(first)),
        Err(error) => Err(error),
    }
}

/// Returns the beginning of the last version of the first page in a log; `None` if it has none.
fn first_page_in_log(log: &File) -> io::Result<Option<[u8; FIRST_BYTES]>> {
    let mut header = [0; LOG_HEADER];
    if read_up_to(log, &mut header, 0)? < LOG_HEADER {
        return Ok(None);
    }
    let (page_bytes, salt) = (u64::from(big_endian(&header, 8)), &header[16..24]);
    let mut found = None;
    let mut at = LOG_HEADER as u64;
    loop {
        let mut frame = [0; FRAME_HEADER + FIRST_BYTES];
        // Frames of an earlier round of the log have another salt.
        if read_up_to(log, &mut frame, at)? < frame.len() || &frame[8..16] != salt {
            return Ok(found);
        }
        if big_endian(&frame, 0) == 1 {
            let mut page = [0; FIRST_BYTES];
            page.copy_from_slice(&frame[FRAME_HEADER..]);
            found = Some(page);
        }
        at += FRAME_HEADER as u64 + page_bytes;
    }
}

/// Reads until the buffer is full or the file ends, and returns how much was read.
fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], at + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

//! The layout of the write-ahead log, as described in SQLite's `wal.c` ("WAL file format"): a header, and frames of a header
//! and a page each. All numbers are big-endian, as in the database.

/// The length of the log's header.
pub(super) const LOG_HEADER: usize = 32;
/// The length of a frame's header.
pub(super) const FRAME_HEADER: usize = 24;

/// Reads the number at an offset.
pub(super) fn big_endian(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

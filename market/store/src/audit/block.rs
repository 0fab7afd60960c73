//! Sealed parts of the log: many entries, compressed together.
//!
//! A line names a party, a request and an item in about 200 bytes, most of which are like those of the lines around
//! it. Compressed in blocks they take about a fifth, and hashes need not be stored: they follow from the lines and
//! from the end of the part before. A block keeps the first bytes of each hash, so that verification still names the
//! entry that was altered.

use super::{AuditHash, AuditRow, Broken, Head, Verifier};

/// The number of entries in a block. Small enough that reading one entry costs less than a millisecond.
pub(crate) const BLOCK_ENTRIES: usize = 512;
/// zstd's own default, at which it compresses hundreds of megabytes per second.
const LEVEL: i32 = 3;
/// The number of bytes of each hash that a block keeps.
const MARK_BYTES: usize = 4;

/// Consecutive entries of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The number of the first entry.
    pub(crate) first: i64,
    /// The end of the log after the last entry.
    pub(crate) end: Head,
    /// The size of the lines in bytes before they were compressed.
    pub(crate) bytes: usize,
    /// The lines, each followed by a line feed, compressed with zstd.
    pub(crate) lines: Vec<u8>,
    /// The first [`MARK_BYTES`] of the hash of each entry.
    pub(crate) marks: Vec<u8>,
}

/// A block can't be decompressed, or entries can't be sealed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlockError {
    /// The entries are not a consistent part of the log. They are left as they are, for verification to report.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The lines can't be compressed or decompressed.
    #[error("a block of the audit log can't be read: {0}")]
    Compression(#[from] std::io::Error),
    /// The lines are not UTF-8.
    #[error("a block of the audit log is not text: {0}")]
    Text(#[from] std::string::FromUtf8Error),
}

impl Block {
    /// Seals entries that follow on `start`. `None` if there are no entries.
    ///
    /// # Errors
    ///
    /// Fails if the entries do not continue the chain: a block would hide which of them was altered.
    pub(crate) fn seal(start: Head, rows: &[AuditRow]) -> Result<Option<Self>, BlockError> {
        let Some(first) = rows.first() else { return Ok(None) };
        let mut verifier = Verifier::after(start);
        rows.iter().try_for_each(|row| verifier.check(row))?;
        let mut text = String::with_capacity(rows.iter().map(|row| row.line.len() + 1).sum());
        let mut marks = Vec::with_capacity(rows.len() * MARK_BYTES);
        for row in rows {
            // JSON escapes line feeds, so one ends the line.
            text.push_str(&row.line);
            text.push('\n');
            marks.extend_from_slice(&row.hash.0[..MARK_BYTES]);
        }
        let lines = zstd::bulk::compress(text.as_bytes(), LEVEL)?;
        Ok(Some(Self { first: first.sequence, end: verifier.finish()?, bytes: text.len(), lines, marks }))
    }

    /// Returns the entries, with hashes computed from the end of the part before. An entry whose hash is not the one
    /// that was sealed gets another, so that verification fails at it.
    pub(crate) fn open(&self, before: AuditHash) -> Result<Vec<AuditRow>, BlockError> {
        let text = String::from_utf8(zstd::bulk::decompress(&self.lines, self.bytes)?)?;
        let mut end = before;
        let mut rows = Vec::with_capacity(self.marks.len() / MARK_BYTES);
        let mut marks = self.marks.chunks(MARK_BYTES);
        for (sequence, line) in (self.first..).zip(text.lines()) {
            end = AuditHash::of(end, sequence, line);
            let hash = match marks.next() {
                Some(mark) if end.0.starts_with(mark) => end,
                _ => AuditHash::ALTERED,
            };
            rows.push(AuditRow { sequence, line: line.to_owned(), hash });
        }
        // The whole hash of the last entry is kept, because the next part continues from it.
        if let Some(last) = rows.last_mut()
            && last.hash != AuditHash::ALTERED
        {
            last.hash = self.end.hash;
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Link;
    use super::*;

    fn log(entries: i64) -> Vec<AuditRow> {
        let mut link = Link::after(Head::START);
        (1..=entries).map(|number| link.next_line(format!(r#"{{"what":"item {number}"}}"#))).collect()
    }

    fn head(row: &AuditRow) -> Head {
        Head { sequence: row.sequence, hash: row.hash }
    }

    #[test]
    fn opened_block_is_what_was_sealed() {
        let log = log(600);
        let first = Block::seal(Head::START, &log[..500]).unwrap().unwrap();
        let second = Block::seal(head(&log[499]), &log[500..]).unwrap().unwrap();
        assert_eq!(first.open(AuditHash::START).unwrap(), log[..500]);
        assert_eq!(second.open(first.end.hash).unwrap(), log[500..]);
        assert!(first.lines.len() * 4 < first.bytes);
        assert_eq!(Block::seal(Head::START, &[]).unwrap(), None);
    }

    #[test]
    fn altered_entries_are_not_sealed() {
        let mut log = log(5);
        log[2].line.push(' ');
        assert!(matches!(Block::seal(Head::START, &log), Err(BlockError::Broken(Broken::Altered(3)))));
        assert!(matches!(Block::seal(head(&log[0]), &log[..1]), Err(BlockError::Broken(_))));
    }

    #[test]
    fn altered_block_is_detected_at_the_altered_entry() {
        let log = log(5);
        let mut block = Block::seal(Head::START, &log).unwrap().unwrap();
        let text = String::from_utf8(zstd::bulk::decompress(&block.lines, block.bytes).unwrap()).unwrap();
        block.lines = zstd::bulk::compress(text.replace("item 3", "item 7").as_bytes(), 3).unwrap();
        let mut verifier = Verifier::new(None);
        let rows = block.open(AuditHash::START).unwrap();
        assert_eq!(rows.iter().try_for_each(|row| verifier.check(row)), Err(Broken::Altered(3)));
    }
}

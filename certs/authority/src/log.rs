//! The authority's own log, `audit.ndjson`: every invitation, certificate, refusal, revocation and trust bundle.
//!
//! **Guarantee.** An entry is on the disk before the call that it is about is answered, except for refusals, which are
//! counted and written together, so that a flood can't fill the disk. Each line is chained to those before it
//! ([`souk_chain`]); note the head that `gen-certs audit verify` prints on another machine to detect a log that was cut off.
//! Secrets, codes and keys are never part of an entry.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use souk_chain::{AuditRow, Broken, Head, Link, Verifier, read_line, written_line};
use thiserror::Error;
use time::OffsetDateTime;

/// The name of the file.
pub const FILE: &str = "audit.ndjson";

/// Maximum length of a line in bytes. Names have at most 63 characters, and texts are the authority's own.
const MAX_LINE_BYTES: u64 = 4 * 1024;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    /// An invitation was made.
    Invite,
    /// An invitation was cancelled.
    Cancel,
    /// An invitation was used for a certificate.
    Join,
    /// A call was refused.
    Refuse,
    /// An invitation was locked after too many wrong secrets.
    Lock,
    /// A certificate was renewed over the network.
    Renew,
    /// A certificate was issued by a command, or for the enrolment service itself.
    Issue,
    /// A certificate was to be renewed of which another copy was renewed before.
    Conflict,
    /// A party was revoked.
    Revoke,
    /// A trust bundle was published.
    Publish,
}

/// An entry. Fields that do not apply are left out of its line.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What happened.
    pub did: Did,
    /// The name of the party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The role of the party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The id of the invitation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invitation: Option<String>,
    /// The serial number of the certificate, in lower-case hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The sequence of the trust bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The source address of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The reason of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// How many times it happened. Equal refusals are counted in one entry.
    #[serde(skip_serializing_if = "is_once")]
    pub count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_once(count: &u64) -> bool {
    *count == 1
}

impl Entry {
    /// Creates an entry without details.
    #[must_use]
    pub const fn new(did: Did) -> Self {
        Entry {
            did,
            name: None,
            role: None,
            invitation: None,
            serial: None,
            sequence: None,
            from: None,
            why: None,
            count: 1,
        }
    }
}

/// An entry with its time, in the order of the line's fields.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(flatten)]
    entry: &'a Entry,
}

/// Appends entries to the log in a folder, and flushes them to the disk. The caller holds the folder's lock.
///
/// # Errors
/// Returns [`LogError::File`] if the file can't be read or written, and [`LogError::Unreadable`] if its last line is none
/// of the log's.
pub fn append(dir: &Path, entries: &[Entry], now: OffsetDateTime) -> Result<(), LogError> {
    if entries.is_empty() {
        return Ok(());
    }
    let path = dir.join(FILE);
    let failed = LogError::file(&path);
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(&failed)?;
    let mut link = Link::after(end(&mut file, &path)?);
    let mut text = String::new();
    for entry in entries {
        let line = serde_json::to_string(&Line { at: now, entry })
            .map_err(|error| failed(io::Error::other(error)))?;
        text.push_str(&written_line(&link.next_line(line)));
        text.push('\n');
    }
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Returns the end of the log. Cuts off a line that a power failure has left incomplete: nobody was answered because of it.
fn end(file: &mut File, path: &Path) -> Result<Head, LogError> {
    let failed = LogError::file(path);
    let size = file.metadata().map_err(&failed)?.len();
    let from = size.saturating_sub(2 * MAX_LINE_BYTES);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut tail)).map_err(&failed)?;
    let complete = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    if complete < tail.len() {
        file.set_len(from + complete as u64).map_err(&failed)?;
    }
    let Some(line) = tail[..complete].trim_ascii_end().rsplit(|byte| *byte == b'\n').next() else {
        return Ok(Head::START);
    };
    if line.is_empty() && from == 0 {
        return Ok(Head::START);
    }
    let row = std::str::from_utf8(line).ok().and_then(read_line);
    let row = row.ok_or_else(|| LogError::Unreadable { path: path.to_owned() })?;
    Ok(Head { sequence: row.sequence, hash: row.hash })
}

/// Calls `each` with every entry of the log in a folder, in order. A log that does not exist is empty.
///
/// # Errors
/// Returns [`LogError::File`] if the file can't be read, [`LogError::Unreadable`] at a line that is none, and the errors of
/// `each`.
pub fn read<E: From<LogError>>(dir: &Path, mut each: impl FnMut(AuditRow) -> Result<(), E>) -> Result<(), E> {
    let path = dir.join(FILE);
    let failed = LogError::file(&path);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(&failed)?,
    };
    for line in BufReader::new(file).lines() {
        let line = line.map_err(&failed)?;
        each(read_line(&line).ok_or_else(|| LogError::Unreadable { path: path.clone() })?)?;
    }
    Ok(())
}

/// Verifies that no entry was changed, removed, inserted or moved, and returns the log's head. With a head noted before, a
/// missing end and a rewritten log are detected too.
///
/// # Errors
/// Returns [`LogError::Broken`] with the first inconsistency, and the errors of [`read`].
pub fn verify(dir: &Path, noted: Option<Head>) -> Result<Head, LogError> {
    let mut verifier = Verifier::new(noted);
    read(dir, |row| Ok::<_, LogError>(verifier.check(&row)?))?;
    Ok(verifier.finish()?)
}

/// Why the log can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file can't be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// A line is none of the log's.
    #[error("{} has a line that is none of the log's; move the file away to begin another one", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// The log is not as it was written.
    #[error("the audit log was tampered with")]
    Broken(#[from] Broken),
}

impl LogError {
    fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        |source| LogError::File { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-30 12:00 UTC);

    fn entry(name: &str) -> Entry {
        Entry { name: Some(name.to_owned()), ..Entry::new(Did::Join) }
    }

    #[test]
    fn entries_are_chained_across_calls() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(verify(folder.path(), None).unwrap(), Head::START);
        append(folder.path(), &[entry("alice"), entry("bob")], NOW).unwrap();
        append(folder.path(), &[Entry { count: 7, ..Entry::new(Did::Refuse) }], NOW).unwrap();
        let head = verify(folder.path(), None).unwrap();
        assert_eq!(head.sequence, 3);
        assert_eq!(verify(folder.path(), Some(head)).unwrap(), head);
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(
            text.contains(r#""entry":{"at":"2026-11-30T12:00:00Z","did":"join","name":"alice"}}"#),
            "{text}"
        );
        fs::write(folder.path().join(FILE), text.replace("alice", "carol")).unwrap();
        assert!(matches!(verify(folder.path(), None), Err(LogError::Broken(Broken::Altered(1)))));
    }

    #[test]
    fn incomplete_last_line_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        append(folder.path(), &[entry("alice"), entry("bob")], NOW).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for torn in [text.len() - 1, text.len() - 30, 1, 0] {
            fs::write(&path, &text[..torn]).unwrap();
            append(folder.path(), &[entry("carol")], NOW).unwrap();
            let left = text[..torn].matches('\n').count() as i64;
            assert_eq!(verify(folder.path(), None).unwrap().sequence, left + 1);
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        append(folder.path(), &[entry("alice")], NOW).unwrap();
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

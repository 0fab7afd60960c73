//! A log whose entries are lines of text, chained by hashes: the market's audit log and the authority's.
//!
//! The hash of an entry covers all entries before it, so [`Verifier`] detects whether an entry was changed, removed,
//! inserted or moved. It can't detect that the *end* was cut off, or that someone with write access rewrote the whole log.
//! For that, note the [`Head`] on another machine and compare it.
//!
//! A crate of its own, because neither the rules of trade nor the store may depend on certificates and gRPC.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;

/// SHA-256 over the previous entry's hash, the entry's number (8 bytes, big-endian), and its line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditHash(pub [u8; 32]);

impl AuditHash {
    /// The hash that the first entry is chained to: all zeros.
    pub const START: Self = Self([0; 32]);
    /// The hash of an entry that is known to be altered. No entry has it.
    pub const ALTERED: Self = Self([0xff; 32]);

    /// Returns the hash of the entry after the one with the hash `before`.
    #[must_use]
    pub fn of(before: Self, sequence: i64, line: &str) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(&before.0);
        hash.update(&sequence.to_be_bytes());
        hash.update(line.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.finish().as_ref());
        Self(bytes)
    }
}

impl fmt::Display for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An entry as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// The position in the log: 1, 2, 3, … without gaps.
    pub sequence: i64,
    /// The entry as one JSON object. The hash covers these bytes, so they are stored and never re-encoded.
    pub line: String,
    /// The hash that chains the entry to all entries before it.
    pub hash: AuditHash,
}

/// The end of the log at some time. Displayed and parsed as `SEQUENCE:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry; 0 if the log is empty.
    pub sequence: i64,
    /// The hash of the last entry.
    pub hash: AuditHash,
}

impl Head {
    /// The head of an empty log, and the base of one of which nothing was pruned.
    pub const START: Self = Self { sequence: 0, hash: AuditHash::START };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for Head {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected SEQUENCE:HASH, as `audit head` or `audit verify` prints it";
        let (sequence, hash) = text.split_once(':').ok_or(EXPECTED)?;
        let sequence = sequence.parse().map_err(|_| EXPECTED)?;
        let hash = HEXLOWER.decode(hash.as_bytes()).map_err(|_| EXPECTED)?;
        Ok(Self { sequence, hash: AuditHash(hash.try_into().map_err(|_| EXPECTED)?) })
    }
}

/// Chains new entries to the end of a log.
#[derive(Debug)]
pub struct Link(Head);

impl Link {
    /// Continues the log that ends at `head`.
    pub fn after(head: Head) -> Self {
        Self(head)
    }

    /// Returns the row for the next entry, and moves the end past it.
    pub fn next_line(&mut self, line: String) -> AuditRow {
        let sequence = self.0.sequence + 1;
        let hash = AuditHash::of(self.0.hash, sequence, &line);
        self.0 = Head { sequence, hash };
        AuditRow { sequence, line, hash }
    }
}

/// Verifies a log entry by entry, from the beginning.
#[derive(Debug)]
pub struct Verifier {
    end: Head,
    expected: Option<Head>,
    /// The base that an entry has yet to attest.
    unattested: Option<Head>,
    /// Returns the base that an entry attests, if it is about one.
    attested: fn(&str) -> Option<Head>,
}

/// The first inconsistency that was found in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry is missing or was inserted.
    #[error("entry {expected} is missing: {found} follows on {}", expected - 1)]
    Missing {
        /// The number that should follow.
        expected: i64,
        /// The number that was found instead.
        found: i64,
    },
    /// An entry, or its hash, was changed.
    #[error("entry {0} is not as it was written")]
    Altered(i64),
    /// The log ends before the noted head.
    #[error("the log ends at entry {found}, but {noted} was noted: its end was cut off")]
    CutOff {
        /// The number of the last entry in the log.
        found: i64,
        /// The number of the noted entry.
        noted: i64,
    },
    /// The log begins after a base that none of its entries attests.
    #[error("no entry says that entry {0} and those before it were archived: the beginning was cut off")]
    Unattested(i64),
    /// The log was rewritten: its chain is consistent, but it is not the log that was noted.
    #[error("entry {0} is not the one that was noted: the log was rewritten")]
    Rewritten(i64),
}

impl Verifier {
    /// Creates a verifier that also compares the log with a head noted earlier, if there is one.
    pub fn new(noted: Option<Head>) -> Self {
        Self {
            end: Head::START,
            expected: noted.filter(|noted| noted.sequence > 0),
            unattested: None,
            attested: |_| None,
        }
    }

    /// Creates a verifier of a log whose entries up to `base` were pruned ([`Head::START`]: none were). It compares the
    /// log with a noted head if that is one of the entries which are left. `attested` reads the base from the line of the
    /// entry about the pruning, and returns `None` for every other line.
    ///
    /// # Errors
    ///
    /// Returns [`Broken::Rewritten`] if the base itself is not the entry that was noted.
    pub fn from_base(
        base: Head,
        noted: Option<Head>,
        attested: fn(&str) -> Option<Head>,
    ) -> Result<Self, Broken> {
        if let Some(noted) = noted
            && noted.sequence == base.sequence
            && noted.hash != base.hash
        {
            return Err(Broken::Rewritten(base.sequence));
        }
        Ok(Self {
            end: base,
            expected: noted.filter(|noted| noted.sequence > base.sequence),
            unattested: Some(base).filter(|base| *base != Head::START),
            attested,
        })
    }

    /// Creates a verifier of a part of the log that follows on `start`.
    pub fn after(start: Head) -> Self {
        Self { end: start, expected: None, unattested: None, attested: |_| None }
    }

    /// Returns the last entry that was checked.
    pub fn end(&self) -> Head {
        self.end
    }

    /// Checks the next entry.
    ///
    /// # Errors
    ///
    /// Returns how the entry breaks the chain, or differs from the noted head.
    pub fn check(&mut self, row: &AuditRow) -> Result<(), Broken> {
        let expected = self.end.sequence + 1;
        if row.sequence != expected {
            return Err(Broken::Missing { expected, found: row.sequence });
        }
        if row.hash != AuditHash::of(self.end.hash, row.sequence, &row.line) {
            return Err(Broken::Altered(row.sequence));
        }
        self.end = Head { sequence: row.sequence, hash: row.hash };
        if self.unattested.is_some() && (self.attested)(&row.line) == self.unattested {
            self.unattested = None;
        }
        match self.expected {
            Some(noted) if noted.sequence == row.sequence && noted.hash != row.hash => {
                Err(Broken::Rewritten(row.sequence))
            }
            _ => Ok(()),
        }
    }

    /// Ends the verification and returns the log's head.
    ///
    /// # Errors
    ///
    /// Returns [`Broken::CutOff`] if the log ends before the noted head, which the chain alone can't show, and
    /// [`Broken::Unattested`] if no entry attests its base.
    pub fn finish(self) -> Result<Head, Broken> {
        if let Some(base) = self.unattested {
            return Err(Broken::Unattested(base.sequence));
        }
        match self.expected {
            Some(noted) if noted.sequence > self.end.sequence => {
                Err(Broken::CutOff { found: self.end.sequence, noted: noted.sequence })
            }
            _ => Ok(self.end),
        }
    }
}

const SEQUENCE: &str = r#"{"sequence":"#;
const HASH: &str = r#","hash":""#;
const ENTRY: &str = r#"","entry":"#;

/// Returns an entry as a line of a file: `{"sequence":…,"hash":"…","entry":{…}}`. The entry is kept byte by byte,
/// because its hash covers these bytes.
pub fn written_line(row: &AuditRow) -> String {
    let AuditRow { sequence, line, hash } = row;
    format!("{SEQUENCE}{sequence}{HASH}{hash}{ENTRY}{line}}}")
}

/// Reads a line that [`written_line`] wrote; `None` if it is not one.
pub fn read_line(line: &str) -> Option<AuditRow> {
    let (sequence, rest) = line.strip_prefix(SEQUENCE)?.split_once(HASH)?;
    let (hash, rest) = rest.split_once(ENTRY)?;
    let hash = HEXLOWER.decode(hash.as_bytes()).ok()?;
    Some(AuditRow {
        sequence: sequence.parse().ok()?,
        hash: AuditHash(hash.try_into().ok()?),
        line: rest.strip_suffix('}')?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: i64) -> Vec<AuditRow> {
        let mut link = Link::after(Head::START);
        (1..=entries).map(|number| link.next_line(format!(r#"{{"at":{number},"who":"seller/x"}}"#))).collect()
    }

    fn verify(log: &[AuditRow], noted: Option<Head>) -> Result<Head, Broken> {
        let mut verifier = Verifier::new(noted);
        log.iter().try_for_each(|row| verifier.check(row))?;
        verifier.finish()
    }

    fn head(log: &[AuditRow], entry: usize) -> Head {
        Head { sequence: log[entry - 1].sequence, hash: log[entry - 1].hash }
    }

    #[test]
    fn unchanged_log_verifies() {
        let log = log(5);
        assert_eq!(verify(&log, None).unwrap(), head(&log, 5));
        assert_eq!(verify(&log, Some(head(&log, 3))).unwrap(), head(&log, 5));
        assert_eq!(verify(&[], None).unwrap(), Head::START);
        assert_eq!(head(&log, 3).to_string().parse::<Head>().unwrap(), head(&log, 3));
    }

    #[test]
    fn any_change_to_an_entry_is_detected() {
        for entry in 0..5 {
            let mut altered = log(5);
            altered[entry].line = altered[entry].line.replace("seller/x", "seller/y");
            assert_eq!(verify(&altered, None), Err(Broken::Altered(entry as i64 + 1)));
            let mut rehashed = log(5);
            rehashed[entry].hash = AuditHash([7; 32]);
            assert_eq!(verify(&rehashed, None), Err(Broken::Altered(entry as i64 + 1)));
        }
        for entry in 0..4 {
            let mut without = log(5);
            without.remove(entry);
            assert!(matches!(verify(&without, None), Err(Broken::Missing { .. })));
            let mut renumbered = log(5);
            renumbered.remove(entry);
            renumbered.iter_mut().zip(1..).for_each(|(row, sequence)| row.sequence = sequence);
            assert_eq!(verify(&renumbered, None), Err(Broken::Altered(entry as i64 + 1)));
            let mut swapped = log(5);
            swapped.swap(entry, entry + 1);
            assert!(verify(&swapped, None).is_err());
        }
    }

    #[test]
    fn noted_head_detects_what_the_chain_alone_can_not() {
        let log = log(5);
        let noted = Some(head(&log, 5));
        assert_eq!(verify(&log[..3], None).unwrap().sequence, 3);
        assert_eq!(verify(&log[..3], noted), Err(Broken::CutOff { found: 3, noted: 5 }));
        // An attacker rewrites the entries and recomputes all hashes.
        let mut link = Link::after(Head::START);
        let rewritten: Vec<_> =
            (0..5).map(|number| link.next_line(format!(r#"{{"at":{number}}}"#))).collect();
        assert!(verify(&rewritten, None).is_ok());
        assert_eq!(verify(&rewritten, noted), Err(Broken::Rewritten(5)));
    }

    #[test]
    fn written_line_is_json_and_keeps_every_byte() {
        let mut link = Link::after(Head::START);
        let row = link.next_line(r#"{"at":1,"who":"x","did":"SellItem","what":"\"entry\": } \n"}"#.into());
        let written = written_line(&row);
        let json: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!((json["sequence"].as_i64(), json["entry"]["who"].as_str()), (Some(1), Some("x")));
        assert_eq!(read_line(&written).unwrap(), row);
        for wrong in [
            "",
            "{}",
            &written[1..],
            &written[..written.len() - 70],
            r#"{"sequence":1,"hash":"00","entry":{}}"#,
        ] {
            assert_eq!(read_line(wrong), None, "{wrong}");
        }
    }
}

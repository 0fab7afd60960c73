//! Archived entries: how they are written to files, and how the log attests what was pruned.

use std::str::FromStr as _;

use data_encoding::HEXLOWER;
use serde::Deserialize;

use super::{AuditHash, AuditRow, Head};

/// The name of pruning in the audit log.
pub(crate) const PRUNED: &str = "PruneArchived";

const SEQUENCE: &str = r#"{"sequence":"#;
const HASH: &str = r#","hash":""#;
const ENTRY: &str = r#"","entry":"#;

/// Returns an entry as a line of an archive file: `{"sequence":…,"hash":"…","entry":{…}}`. The entry is kept byte by byte,
/// because its hash covers these bytes.
pub fn archived_line(row: &AuditRow) -> String {
    let AuditRow { sequence, line, hash } = row;
    format!("{SEQUENCE}{sequence}{HASH}{hash}{ENTRY}{line}}}")
}

/// Reads a line that [`archived_line`] wrote; `None` if it is not one.
pub fn read_archived(line: &str) -> Option<AuditRow> {
    let (sequence, rest) = line.strip_prefix(SEQUENCE)?.split_once(HASH)?;
    let (hash, rest) = rest.split_once(ENTRY)?;
    let hash = HEXLOWER.decode(hash.as_bytes()).ok()?;
    Some(AuditRow {
        sequence: sequence.parse().ok()?,
        hash: AuditHash(hash.try_into().ok()?),
        line: rest.strip_suffix('}')?.to_owned(),
    })
}

/// An entry's time, and what it is about.
#[derive(Deserialize)]
struct Entry<'a> {
    at: i64,
    #[serde(borrow)]
    did: &'a str,
    what: String,
}

/// Returns when an entry was written, in microseconds since 1970; `None` if it can't be read.
pub fn written_at(line: &str) -> Option<i64> {
    serde_json::from_str::<Entry<'_>>(line).ok().map(|entry| entry.at)
}

/// Returns the base that an entry attests: the last of the audit entries that were pruned with it.
pub(super) fn attested(line: &str) -> Option<Head> {
    // A cheap test first, because every line is looked at.
    if !line.contains(PRUNED) {
        return None;
    }
    let entry: Entry<'_> = serde_json::from_str(line).ok().filter(|entry: &Entry<'_>| entry.did == PRUNED)?;
    Head::from_str(entry.what.strip_prefix("audit entries ")?.split_once(" to ")?.1).ok()
}

#[cfg(test)]
mod tests {
    use souk_domain::Timestamp;

    use super::super::{Link, line};
    use super::*;
    use crate::PrunedBy;

    fn by() -> PrunedBy {
        PrunedBy { at: Timestamp(5), who: "operator/x".into(), from: None }
    }

    #[test]
    fn archived_line_is_json_and_keeps_every_byte() {
        let mut link = Link::after(Head::START);
        let row = link.next_line(r#"{"at":1,"who":"x","did":"SellItem","what":"\"entry\": } \n"}"#.into());
        let written = archived_line(&row);
        let json: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!((json["sequence"].as_i64(), json["entry"]["who"].as_str()), (Some(1), Some("x")));
        assert_eq!(read_archived(&written).unwrap(), row);
        for wrong in [
            "",
            "{}",
            &written[1..],
            &written[..written.len() - 70],
            r#"{"sequence":1,"hash":"00","entry":{}}"#,
        ] {
            assert_eq!(read_archived(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn entry_attests_the_base_that_it_names() {
        let base = Head { sequence: 7, hash: AuditHash([7; 32]) };
        assert_eq!(attested(&line(&by().audit(3, base))), Some(base));
        assert_eq!(written_at(&line(&by().audit(3, base))), Some(5));
        // Other entries may have its words in a text that somebody chose.
        let fake = format!(r#"{{"at":1,"did":"Suspend","what":"PruneArchived audit entries 1 to {base}"}}"#);
        assert_eq!(attested(&fake), None);
        let orders = by().orders(crate::archive::PrunedOrders { count: 1, first: 1, last: 1 });
        assert_eq!(attested(&line(&orders)), None);
    }
}

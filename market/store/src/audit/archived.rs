//! How the log attests what was archived and pruned.

use std::str::FromStr as _;

use serde::Deserialize;

use super::Head;

/// The name of pruning in the audit log.
pub(crate) const PRUNED: &str = "PruneArchived";

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
pub fn attested(line: &str) -> Option<Head> {
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

    use super::super::{AuditHash, line};
    use super::*;
    use crate::PrunedBy;

    fn by() -> PrunedBy {
        PrunedBy { at: Timestamp(5), who: "operator/x".into(), from: None }
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

//! The audit log: who changed what, when, and from where.
//!
//! **Guarantee.** An entry is committed in the same transaction as its change, so there is no change without
//! its entry. Each entry is one line of JSON in a hash chain ([`souk_chain`]); [`Verifier`] detects whether an entry was
//! changed, removed, inserted or moved. For a log that was cut off or rewritten as a whole, note the head (`market audit
//! head`, also in the market's own log) on another machine and compare it.
//!
//! The oldest entries may have been archived and pruned. Then the chain begins after a *base*, the last of them, and an
//! entry about the pruning names that base. So a beginning that was cut off is detected too.

mod archived;
pub(crate) mod block;

use std::net::IpAddr;

use serde::Serialize;
use souk_domain::AuditEntry;
use uuid::Uuid;

pub(crate) use archived::PRUNED;
pub use archived::{attested, written_at};
pub use souk_chain::{
    AuditHash, AuditRow, Broken, Head, Link, Verifier, read_line as read_archived,
    written_line as archived_line,
};

/// The JSON encoding. The order of the fields is part of the hashed bytes.
#[derive(Serialize)]
struct Line<'a> {
    at: i64,
    who: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<IpAddr>,
    did: &'a str,
    what: &'a str,
    #[serde(skip_serializing_if = "is_once")]
    count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Uuid>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_once(count: &u32) -> bool {
    *count == 1
}

/// Encodes an entry as one JSON object.
pub fn line(entry: &AuditEntry) -> String {
    let AuditEntry { at, who, from, did, what, count, request } = entry;
    let request = request.map(|request| request.0);
    let line = Line { at: at.0, who, from: *from, did, what, count: *count, request };
    #[expect(clippy::expect_used, reason = "an empty line would enter the hash chain")]
    serde_json::to_string(&line).expect("numbers and strings can always be encoded")
}

#[cfg(test)]
mod tests {
    use souk_domain::{RequestId, Timestamp};

    use super::*;

    #[test]
    fn an_entry_is_one_line_of_json() {
        let entry = AuditEntry {
            at: Timestamp(1),
            who: "seller/x".into(),
            from: Some([192, 0, 2, 7].into()),
            did: "SellItem",
            what: "item 1".into(),
            count: 1,
            request: Some(RequestId(Uuid::from_u128(7))),
        };
        let expected = r#"{"at":1,"who":"seller/x","from":"192.0.2.7","did":"SellItem","what":"item 1","request":"00000000-0000-0000-0000-000000000007"}"#;
        assert_eq!(line(&entry), expected);
    }
}

//! Collects rejected identities for the audit log ([`souk_store::audit`]).
//!
//! The rate of entries is bounded ([`Refusals`]), so that rejected callers can't fill the disk.

mod refusals;

use std::net::IpAddr;

use souk_certs::identity::Identity;
use souk_domain::{AuditEntry, Timestamp};

pub use refusals::{Refusals, keep};

/// Returns the name of a party in the audit log, `role/UUID`.
pub fn name(identity: Identity) -> String {
    match identity.uuid() {
        Some(uuid) => format!("{}/{uuid}", identity.role().as_str()),
        None => identity.role().as_str().to_owned(),
    }
}

/// Creates the entry for the confirmation that the wall clock is right, by a call or on a store without a market.
pub fn clock_accepted(at: Timestamp, who: String, from: Option<IpAddr>) -> AuditEntry {
    let what = "the wall clock is right".to_owned();
    AuditEntry { at, who, from, did: "AcceptClock", what, count: 1, request: None }
}

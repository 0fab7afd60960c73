//! Collects rejected identities for the audit log ([`souk_store::audit`]).
//!
//! The rate of entries is bounded ([`Refusals`]), so that rejected callers can't fill the disk.

mod refusals;

use souk_certs::identity::Identity;

pub use refusals::{Refusals, keep};

/// Returns the name of a party in the audit log, `role/UUID`.
pub fn name(identity: Identity) -> String {
    match identity.uuid() {
        Some(uuid) => format!("{}/{uuid}", identity.role().as_str()),
        None => identity.role().as_str().to_owned(),
    }
}

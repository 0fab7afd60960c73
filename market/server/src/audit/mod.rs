//! Refused identities on their way into the audit log ([`souk_store::audit`]).
//!
//! The number of entries is bounded ([`Refusals`]): being refused can't fill the disk.

mod refusals;

use souk_certs::identity::Identity;

pub use refusals::{Refusals, keep};

/// A party as it stands in the log.
pub fn name(identity: Identity) -> String {
    match identity.uuid() {
        Some(uuid) => format!("{}/{uuid}", identity.role().as_str()),
        None => identity.role().as_str().to_owned(),
    }
}

//! The audit log: who changed what, when, from where; and which identities were turned away.
//!
//! **What is promised.** An entry is committed in the same transaction as the change that it tells of, so
//! there is no change without its entry. Each entry is one line of JSON, and holds together with all before
//! it by a hash; [`Verifier`] tells whether anything was changed, taken out, put in or put in another order.
//! What it can't tell by itself is that the *end* was cut off or that somebody with the store in hand wrote
//! the whole log anew: for that, note its head (`market audit head`, also in the market's own log) somewhere
//! else and have it compared.
//!
//! Refused identities are entered as well ([`Refusals`]), within bounds: nobody can fill the disk by being
//! refused.

mod chain;
mod refusals;

use souk_certs::identity::Identity;

pub use chain::{AuditHash, AuditRow, Broken, Head, Link, Verifier, line};
pub use refusals::{Refusals, keep};

/// A party as it stands in the log.
pub fn name(identity: Identity) -> String {
    match identity.uuid() {
        Some(uuid) => format!("{}/{uuid}", identity.role().as_str()),
        None => identity.role().as_str().to_owned(),
    }
}

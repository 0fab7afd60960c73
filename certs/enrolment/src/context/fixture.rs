//! Folders of contexts for tests.

use souk_certs::identity::{Identity, Role, TrustDomain};
use tempfile::TempDir;
use uuid::Uuid;

use super::{ContextFolder, ContextName, Description, Generation, Locked};
use crate::code::InvitationId;

/// Returns an empty folder of contexts, which is removed with the first value.
pub(super) fn folder() -> (TempDir, ContextFolder) {
    let home = tempfile::tempdir().unwrap();
    let folder = ContextFolder::at(home.path().join(".config/souk"));
    (home, folder)
}

/// Describes the party `party`, which joined with the invitation of that number.
pub(super) fn described(role: Role, party: u128, invitation: u8) -> Description {
    Description {
        identity: Identity::new(role, Uuid::from_u128(party)),
        name: "alice".into(),
        market: Vec::new(),
        authority: Vec::new(),
        nearby: Vec::new(),
        trust_domain: TrustDomain::default(),
        invitation: InvitationId([invitation; 8]),
        ephemeral: false,
    }
}

pub(super) fn name(text: &str) -> ContextName {
    text.parse().unwrap()
}

/// Completes a context with files that all contain a text.
pub(super) fn complete(locked: &Locked, text: &str) {
    locked.install(&Generation::of_text(text)).unwrap();
}

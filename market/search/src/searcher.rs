//! Whose search it is.

use souk_domain::PartyId;

/// The caller of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Searcher {
    /// The party whose own writes the search must include.
    pub party: PartyId,
    /// Whether the party may have just changed something at another market on the same store. Then the
    /// search includes every change up to now, as far as the index catches up within [`VISIBILITY_WAIT`](super::VISIBILITY_WAIT).
    pub was_elsewhere: bool,
}

impl From<PartyId> for Searcher {
    fn from(party: PartyId) -> Self {
        Self { party, was_elsewhere: false }
    }
}

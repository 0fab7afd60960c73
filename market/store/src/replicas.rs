//! Other markets on the same store: what they tell each other, and where to look when nobody tells.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use souk_domain::{PartyId, RideId, Sequence};

use super::{FeedPosition, LeaseEpoch, Receipt, Standing, StoreError};

/// What another market has just done. Only a hint: it may come late, twice or not at all, and whoever gets it
/// looks at the store. Without any, markets look by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hint {
    /// These mailboxes got something.
    pub filled: BTreeSet<PartyId>,
    /// These mailboxes were taken over by a stream, under these claims.
    pub taken: BTreeMap<PartyId, LeaseEpoch>,
    /// These rides have come further.
    pub rides: BTreeSet<RideId>,
    /// The feed has moved.
    pub feed: bool,
    /// Somebody was suspended or reinstated.
    pub standings: bool,
    /// Look at everything: it is time to, or there was too much to name.
    pub everything: bool,
}

impl Hint {
    /// The most mailboxes and rides that are named, so that a hint has a bounded size.
    pub const NAMES: usize = 96;

    /// Adds what a commit did.
    pub fn add(&mut self, receipt: &Receipt) {
        self.filled.extend(&receipt.recipients);
        self.feed |= receipt.feed_position.is_some();
        self.standings |= !receipt.standings.is_empty();
        self.bound();
    }

    /// Names nothing rather than too much.
    pub fn bound(&mut self) {
        if self.filled.len() + self.taken.len() + self.rides.len() > Self::NAMES {
            *self = Self { everything: true, feed: self.feed, standings: self.standings, ..Self::default() };
        }
    }
}

/// How things stand, for a market that follows the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Where the feed is.
    pub feed_end: FeedPosition,
    /// All parties that were ever suspended.
    pub standings: Vec<Standing>,
    /// The mailboxes that were asked for: their latest claim, and the last sequence given.
    pub mailboxes: Vec<(PartyId, LeaseEpoch, Sequence)>,
}

/// The other markets on a store.
#[async_trait]
pub trait Replicas: Send + Sync {
    /// Waits for a hint. After a while without any, [`Hint::everything`] says that it is time to look.
    async fn hint(&self) -> Hint;

    /// Looks, also at the mailboxes that somebody follows by a stream of this market.
    async fn look(&self, followed: &[PartyId]) -> Result<Look, StoreError>;
}

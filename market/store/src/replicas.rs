//! Other markets on the same store: the hints that they exchange, and the state to poll when no hint arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use souk_domain::{PartyId, RideId, Sequence};

use super::{FeedPosition, LeaseEpoch, Receipt, Standing, StoreError};

/// What another market has just changed. It is only a hint: it may arrive late, twice or not at all, and the
/// receiver reads the actual state from the store. Markets poll as well, so that a lost hint only costs time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hint {
    /// Mailboxes that got a delivery.
    pub filled: BTreeSet<PartyId>,
    /// Mailboxes that were taken over by a stream, with the epochs of its claims.
    pub taken: BTreeMap<PartyId, LeaseEpoch>,
    /// Rides whose tracks got longer.
    pub rides: BTreeSet<RideId>,
    /// Whether the item feed has advanced.
    pub feed: bool,
    /// Whether a party was suspended or reinstated.
    pub standings: bool,
    /// Whether to poll everything, because it is time to or because there was too much to list.
    pub everything: bool,
}

impl Hint {
    /// The maximum number of mailboxes and rides in a hint. PostgreSQL limits a notification to 8,000 bytes.
    pub const NAMES: usize = 96;

    /// Adds what a commit changed.
    pub fn add(&mut self, receipt: &Receipt) {
        self.filled.extend(&receipt.recipients);
        self.feed |= receipt.feed_position.is_some();
        self.standings |= !receipt.standings.is_empty();
        self.bound();
    }

    /// Replaces the lists by `everything` if they exceed [`Self::NAMES`].
    pub fn bound(&mut self) {
        if self.filled.len() + self.taken.len() + self.rides.len() > Self::NAMES {
            *self = Self { everything: true, feed: self.feed, standings: self.standings, ..Self::default() };
        }
    }
}

/// The state that a market polls to follow the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The end of the item feed.
    pub feed_end: FeedPosition,
    /// The standing of all parties that were ever suspended.
    pub standings: Vec<Standing>,
    /// The requested mailboxes, with the epoch of the latest claim and the last sequence assigned.
    pub mailboxes: Vec<(PartyId, LeaseEpoch, Sequence)>,
}

/// The horizon of a shared store: the oldest transaction that is still open. What was committed after it began is not
/// in the item feed and the audit chain yet, because it could still put something in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HorizonState {
    /// For how long the horizon has lagged behind. About a second at most if nothing holds it.
    pub age: Duration,
    /// The transactions that hold it, in words. `None` unless it is so old that they were looked for.
    pub held_by: Option<String>,
}

/// The other markets on a store.
#[async_trait]
pub trait Replicas: Send + Sync {
    /// Waits for a hint. Sets [`Hint::everything`] at least once per polling interval, whether or not hints
    /// arrive.
    async fn hint(&self) -> Hint;

    /// Reads the current state, including the mailboxes that streams of this market follow.
    async fn look(&self, followed: &[PartyId]) -> Result<Look, StoreError>;

    /// Returns the horizon as it was a moment ago. Does not access the store.
    fn horizon(&self) -> HorizonState;
}

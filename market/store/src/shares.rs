//! A share of the reports for each party: how many of its lists and sums may be under way at a time.
//!
//! A report may read millions of rows. Each party has at most one in the queue for a connection, so the queue serves
//! parties in turn, and a slow report delays only those of its own party.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use souk_domain::PartyId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::StoreError;

/// How many reports of a party may be under way at a time.
const UNDER_WAY: usize = 1;
/// How many more may wait; further ones are refused.
const WAITING: usize = 64;

/// The shares of all parties.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// The parties that have reports under way. Others have no entry, so the map stays small.
    by_party: Mutex<HashMap<PartyId, Share>>,
}

#[derive(Debug)]
struct Share {
    turns: Arc<Semaphore>,
    /// Those under way and those that wait.
    entered: usize,
}

/// A report that is under way. Dropping it lets the party's next one begin.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    // Before `_entered`: the turn ends before the entry may be removed.
    _turn: OwnedSemaphorePermit,
    _entered: Entered<'a>,
}

#[derive(Debug)]
struct Entered<'a> {
    shares: &'a Shares,
    party: PartyId,
}

impl Shares {
    /// Waits for the party's turn. Fails with [`StoreError::Overloaded`] if too many of its reports wait.
    pub(crate) async fn enter(&self, party: PartyId) -> Result<Report<'_>, StoreError> {
        let turns = {
            let mut by_party = self.by_party();
            let share = by_party
                .entry(party)
                .or_insert_with(|| Share { turns: Arc::new(Semaphore::new(UNDER_WAY)), entered: 0 });
            if share.entered >= UNDER_WAY + WAITING {
                return Err(StoreError::Overloaded);
            }
            share.entered += 1;
            Arc::clone(&share.turns)
        };
        let entered = Entered { shares: self, party };
        // Fails only if the semaphore is closed, which nobody does.
        let turn = turns.acquire_owned().await.map_err(|_| StoreError::Overloaded)?;
        Ok(Report { _turn: turn, _entered: entered })
    }

    /// Locks the map. A poisoned lock is safe to use: no update under it can panic half-way.
    fn by_party(&self) -> MutexGuard<'_, HashMap<PartyId, Share>> {
        self.by_party.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut by_party = self.shares.by_party();
        if let Some(share) = by_party.get_mut(&self.party) {
            share.entered -= 1;
            // Removed at zero; otherwise the map would grow by every party that ever asked.
            if share.entered == 0 {
                by_party.remove(&self.party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn reports_of_a_party_take_turns_and_those_of_others_go_on() {
        let shares = Shares::default();
        let (one, other) = (PartyId(Uuid::from_u128(1)), PartyId(Uuid::from_u128(2)));
        let first = shares.enter(one).await.unwrap();
        let mut second = Box::pin(shares.enter(one));
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        let others = shares.enter(other).await.unwrap();
        drop(first);
        let second = second.await.unwrap();
        // A report that is given up while it waits leaves nothing behind.
        assert!(shares.enter(one).now_or_never().is_none());
        drop((second, others));
        assert!(shares.by_party().is_empty());
    }

    #[tokio::test]
    async fn number_of_waiting_reports_is_bounded() {
        let shares = Shares::default();
        let party = PartyId(Uuid::from_u128(1));
        let first = shares.enter(party).await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(shares.enter(party))).collect();
        assert!(waiting.iter_mut().all(|next| next.as_mut().now_or_never().is_none()));
        assert!(matches!(shares.enter(party).await, Err(StoreError::Overloaded)));
        drop((waiting, first));
        assert!(shares.by_party().is_empty());
    }
}

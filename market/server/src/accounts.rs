//! The accounts of parties in memory. What a caller asks about its own account is answered at once, without the store's
//! threads.
//!
//! An account is kept until a commit changes it; the lanes report that before they answer. If other markets may change the
//! store, it is also kept no longer than [`FRESH_FOR`]. That a party has not registered is never kept. Whether a party is
//! suspended, and its token epoch, are not decided by this: see [`access`](crate::access).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quick_cache::sync::Cache;
use souk_domain::{Party, PartyId};
use souk_store::{Reads, StoreError};
use tokio::time::Instant;

/// How long an account is kept if other markets may change it.
pub const FRESH_FOR: Duration = Duration::from_secs(1);
/// Maximum number of accounts that are kept: those that were asked for last.
const ACCOUNTS: usize = 65_536;

/// The accounts of a store.
#[derive(Clone)]
pub struct Accounts {
    reads: Arc<dyn Reads>,
    is_shared: bool,
    kept: KeptAccounts,
}

/// The accounts that were asked for last. Clones share them. They don't keep the store open.
#[derive(Clone)]
pub struct KeptAccounts(Arc<Kept>);

struct Kept {
    known: Cache<PartyId, Known>,
    /// The number of changes so far. Locked while an account is added or dropped.
    changes: Mutex<u64>,
}

#[derive(Clone)]
struct Known {
    party: Arc<Party>,
    /// When it began to be read. `None` if it never gets too old.
    since: Option<Instant>,
}

impl Accounts {
    /// Creates the accounts of a store, which other markets may change if it `is_shared`.
    pub fn new(reads: Arc<dyn Reads>, is_shared: bool) -> Self {
        let kept = Kept { known: Cache::new(ACCOUNTS), changes: Mutex::default() };
        Self { reads, is_shared, kept: KeptAccounts(Arc::new(kept)) }
    }

    /// Returns a party's account; `None` if it has not registered.
    ///
    /// # Errors
    /// The account is not known yet, and can't be read.
    pub async fn find(&self, id: PartyId) -> Result<Option<Arc<Party>>, StoreError> {
        let known = self.kept.0.known.get(&id).filter(Known::is_fresh);
        match known {
            Some(known) => Ok(Some(known.party)),
            None => self.read(id).await,
        }
    }

    /// Returns the part to which commits are reported.
    pub fn kept(&self) -> KeptAccounts {
        self.kept.clone()
    }

    async fn read(&self, id: PartyId) -> Result<Option<Arc<Party>>, StoreError> {
        // Both before the account is read: it may have been changed from then on.
        let (changes, since) = (*self.kept.changes(), self.is_shared.then(Instant::now));
        let Some(party) = self.reads.party(id).await? else { return Ok(None) };
        let party = Arc::new(party);
        self.kept.keep(Known { party: Arc::clone(&party), since }, changes);
        Ok(Some(party))
    }
}

impl KeptAccounts {
    /// Drops accounts that a commit has changed. Called before the commit is reported to anyone.
    pub fn changed(&self, parties: impl Iterator<Item = PartyId>) {
        for party in parties {
            let mut changes = self.changes();
            *changes += 1;
            self.0.known.remove(&party);
        }
    }

    /// Drops all accounts, after a commit whose outcome is unknown.
    pub fn forget(&self) {
        let mut changes = self.changes();
        *changes += 1;
        self.0.known.clear();
    }

    /// Keeps an account that was read after this number of changes, unless there have been more: one of them may be of
    /// this account.
    fn keep(&self, known: Known, changes: u64) {
        let present = self.changes();
        if *present == changes {
            self.0.known.insert(known.party.id, known);
        }
    }

    /// Locks the number of changes. A poisoned lock is safe to use: nothing under it can be left half done.
    fn changes(&self) -> MutexGuard<'_, u64> {
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.since.is_none_or(|since| since.elapsed() < FRESH_FOR)
    }
}

#[cfg(test)]
mod tests {
    use souk_domain::{DisplayName, Role, Timestamp};
    use souk_store::memory;
    use uuid::Uuid;

    use super::*;

    const BOB: PartyId = PartyId(Uuid::from_u128(0xb0b));

    /// Returns the accounts of an empty store, so that an account that is found was kept.
    fn accounts(is_shared: bool) -> Accounts {
        Accounts::new(memory::open().reads, is_shared)
    }

    fn bob(since: Option<Instant>) -> Known {
        let party = Party {
            id: BOB,
            role: Role::Buyer,
            display_name: DisplayName::parse("Bob").unwrap(),
            callback: None,
            registered_at: Timestamp(0),
            epoch: 0,
            suspension: None,
            tills: Vec::new(),
        };
        Known { party: Arc::new(party), since }
    }

    async fn is_kept(accounts: &Accounts) -> bool {
        accounts.find(BOB).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn changed_account_is_read_again() {
        let accounts = accounts(false);
        accounts.kept.keep(bob(None), 0);
        assert!(is_kept(&accounts).await);
        accounts.kept.changed([PartyId(Uuid::nil())].into_iter());
        assert!(is_kept(&accounts).await, "another's change");
        accounts.kept.changed([BOB].into_iter());
        assert!(!is_kept(&accounts).await);
        accounts.kept.keep(bob(None), 2);
        accounts.kept.forget();
        assert!(!is_kept(&accounts).await);
    }

    #[tokio::test]
    async fn account_that_was_changed_while_it_was_read_is_not_kept() {
        let accounts = accounts(false);
        let changes = *accounts.kept.changes();
        accounts.kept.changed([BOB].into_iter());
        accounts.kept.keep(bob(None), changes);
        assert!(!is_kept(&accounts).await);
        let changes = *accounts.kept.changes();
        accounts.kept.forget();
        accounts.kept.keep(bob(None), changes);
        assert!(!is_kept(&accounts).await, "nor after a commit whose outcome is unknown");
    }

    #[tokio::test(start_paused = true)]
    async fn other_markets_changes_are_seen_within_a_second() {
        let accounts = accounts(true);
        accounts.kept.keep(bob(Some(Instant::now())), 0);
        tokio::time::advance(FRESH_FOR - Duration::from_millis(1)).await;
        assert!(is_kept(&accounts).await);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!is_kept(&accounts).await);
    }

    #[tokio::test]
    async fn absence_is_not_kept() {
        let accounts = accounts(false);
        assert!(!is_kept(&accounts).await);
        accounts.kept.keep(bob(None), 0);
        assert!(is_kept(&accounts).await);
    }
}

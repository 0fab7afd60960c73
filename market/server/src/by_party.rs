//! What the connections of a party share, such as counts. A connection looks it up once, when it begins; its calls then
//! need no lock.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use souk_certs::identity::Identity;

/// A value for each party with open connections. Clones share the values.
pub(crate) struct ByParty<T>(Parties<T>);

type Parties<T> = Arc<Mutex<HashMap<Identity, Weak<OfParty<T>>>>>;

/// The value of a party. It is forgotten with the last reference.
pub(crate) struct OfParty<T> {
    party: Identity,
    value: T,
    parties: Parties<T>,
}

impl<T> ByParty<T> {
    /// Returns the value of a party, which is created if there is none.
    pub(crate) fn of(&self, party: Identity, create: impl FnOnce() -> T) -> Arc<OfParty<T>> {
        let mut parties = lock(&self.0);
        let known = parties.get(&party).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let created = Arc::new(OfParty { party, value: create(), parties: Arc::clone(&self.0) });
            parties.insert(party, Arc::downgrade(&created));
            created
        })
    }

    /// Returns whether no party is remembered.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

/// Locks the map. A poisoned lock is safe to use: no update under it can panic half-way.
fn lock<T>(parties: &Parties<T>) -> MutexGuard<'_, HashMap<Identity, Weak<OfParty<T>>>> {
    parties.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Clone for ByParty<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for ByParty<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> fmt::Debug for ByParty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByParty").finish_non_exhaustive()
    }
}

impl<T> Deref for OfParty<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for OfParty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfParty")
            .field("party", &self.party)
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}

impl<T> Drop for OfParty<T> {
    fn drop(&mut self) {
        // Another connection of the party may have begun since the last one ended.
        if let Entry::Occupied(party) = lock(&self.parties).entry(self.party)
            && party.get().strong_count() == 0
        {
            party.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn connections_of_a_party_share_its_value_until_the_last_ends() {
        let parties = ByParty::default();
        let (one, other) = (Identity::Buyer(Uuid::from_u128(1)), Identity::Seller(Uuid::from_u128(1)));
        let first = parties.of(one, || 1);
        assert_eq!((**first, **parties.clone().of(one, || 2), **parties.of(other, || 3)), (1, 1, 3));
        drop(first);
        assert!(parties.is_empty());
        assert_eq!(**parties.of(one, || 4), 4);
    }
}

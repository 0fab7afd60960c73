//! Notifies the watchers of a ride that it has new positions.
//!
//! A notification carries no data. Watchers read the track from the store, so that they see the same regardless of
//! the market that wrote it, and a slow watcher misses only intermediate notifications.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use souk_domain::RideId;
use tokio::sync::watch;

/// One entry per watched ride. The number of entries is bounded by that of open streams. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RideNews {
    watched: Arc<Mutex<HashMap<RideId, Watched>>>,
}

#[derive(Debug)]
struct Watched {
    news: watch::Sender<()>,
    watchers: usize,
}

/// The registration of a watcher, removed on drop.
#[derive(Debug)]
pub struct RideWatch {
    ride: RideId,
    news: watch::Receiver<()>,
    all: RideNews,
}

impl RideNews {
    /// Notifies the watchers of a ride. Never blocks.
    pub fn notify(&self, ride: RideId) {
        if let Some(watched) = self.lock().get(&ride) {
            watched.news.send_replace(());
        }
    }

    /// Registers a watcher of a ride. It misses no notification sent after this call.
    pub fn watch(&self, ride: RideId) -> RideWatch {
        let mut all = self.lock();
        let watched =
            all.entry(ride).or_insert_with(|| Watched { news: watch::Sender::new(()), watchers: 0 });
        watched.watchers += 1;
        let news = watched.news.subscribe();
        drop(all);
        RideWatch { ride, news, all: self.clone() }
    }

    /// Returns the number of watchers of all rides.
    pub fn watchers(&self) -> usize {
        self.lock().values().map(|watched| watched.watchers).sum()
    }

    /// Locks the entries. A poisoned lock is safe to use: no update under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, HashMap<RideId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RideWatch {
    /// Waits for a notification sent since the last call.
    pub async fn news(&mut self) {
        // This can't fail: the sender is dropped only with the last watcher.
        let _ = self.news.changed().await;
    }
}

impl Drop for RideWatch {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(watched) = all.get_mut(&self.ride) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                all.remove(&self.ride);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn news_reaches_those_who_watch_and_nothing_is_left_behind() {
        let news = RideNews::default();
        let (one, other) = (RideId(Uuid::from_u128(1)), RideId(Uuid::from_u128(2)));
        let mut watchers = [news.watch(one), news.watch(one)];
        assert_eq!(news.watchers(), 2);
        news.notify(other);
        news.notify(one);
        for watcher in &mut watchers {
            watcher.news().await;
        }
        drop(watchers);
        assert!(news.lock().is_empty());
    }
}

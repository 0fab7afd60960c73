//! Rides that are watched: who waits for news of which.
//!
//! News is only that there is some: watchers read the track from the store, so that they see the same
//! wherever it was written, and a slow one misses nothing but intermediate news.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use souk_domain::RideId;
use tokio::sync::watch;

/// One entry for each ride that somebody watches; bounded by the open streams. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RideNews {
    watched: Arc<Mutex<HashMap<RideId, Watched>>>,
}

#[derive(Debug)]
struct Watched {
    news: watch::Sender<()>,
    watchers: usize,
}

/// One watcher's place.
#[derive(Debug)]
pub struct RideWatch {
    ride: RideId,
    news: watch::Receiver<()>,
    all: RideNews,
}

impl RideNews {
    /// Tells those who watch a ride that there is something new. Never blocks.
    pub fn notify(&self, ride: RideId) {
        if let Some(watched) = self.lock().get(&ride) {
            watched.news.send_replace(());
        }
    }

    /// Watches a ride: what is told from now on is not missed.
    pub fn watch(&self, ride: RideId) -> RideWatch {
        let mut all = self.lock();
        let watched =
            all.entry(ride).or_insert_with(|| Watched { news: watch::Sender::new(()), watchers: 0 });
        watched.watchers += 1;
        let news = watched.news.subscribe();
        drop(all);
        RideWatch { ride, news, all: self.clone() }
    }

    /// Nothing that is done under the lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, HashMap<RideId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RideWatch {
    /// Waits for news since the last time.
    pub async fn news(&mut self) {
        // The sender goes only when no watcher is left.
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
        news.notify(other);
        news.notify(one);
        for watcher in &mut watchers {
            watcher.news().await;
        }
        drop(watchers);
        assert!(news.lock().is_empty());
    }
}

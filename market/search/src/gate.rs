//! How many searches may run and wait.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::SearchError;

/// How many searches may be under way at a time, waiting ones included.
const MAX_SEARCHES: usize = 1_024;
/// How many of them may keep a thread busy.
const MAX_RUNNING: usize = 8;
/// How long one waits for a thread.
const SEAT_WAIT: Duration = Duration::from_millis(45);

/// Lets searches in.
pub(super) struct Gate {
    places: Arc<Semaphore>,
    seats: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_SEARCHES)), seats: Arc::new(Semaphore::new(MAX_RUNNING)) }
    }
}

impl Gate {
    /// Lets one search in, or refuses it at once.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, SearchError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| SearchError::Overloaded)
    }

    /// The right to keep a thread busy; refused after [`SEAT_WAIT`].
    pub(super) async fn seat(&self) -> Result<OwnedSemaphorePermit, SearchError> {
        match timeout(SEAT_WAIT, Arc::clone(&self.seats).acquire_owned()).await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(SearchError::Overloaded),
        }
    }

    /// How many searches are under way.
    pub(super) fn taken(&self) -> usize {
        MAX_SEARCHES - self.places.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn overload_is_refused() {
        let gate = Gate::default();
        let mut seats = Vec::new();
        for _ in 0..MAX_RUNNING {
            seats.push(gate.seat().await.unwrap());
        }
        assert!(matches!(gate.seat().await, Err(SearchError::Overloaded)));
        seats.pop();
        assert!(gate.seat().await.is_ok());

        let entered: Vec<_> = (0..MAX_SEARCHES).map(|_| gate.enter().unwrap()).collect();
        assert!(matches!(gate.enter(), Err(SearchError::Overloaded)));
        assert_eq!(gate.taken(), entered.len());
    }
}

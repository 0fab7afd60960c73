//! Admission of searches: bounds how many run and how many wait, so that overload is refused within 50 ms.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::SearchError;

/// The maximum number of searches in progress, including those that wait.
const MAX_SEARCHES: usize = 1_024;
/// The maximum number of searches that occupy a blocking thread.
const MAX_RUNNING: usize = 8;
/// How long a search waits for a thread. With the time to respond, it stays within the promised 50 ms.
const SEAT_WAIT: Duration = Duration::from_millis(45);

/// The two limits. They are separate because a search that waits for the index to catch up must not occupy a
/// thread.
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
    /// Admits a search, or refuses it immediately.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, SearchError> {
        // Owned permits, because they move to a blocking thread, which may outlive the call.
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| SearchError::Overloaded)
    }

    /// Waits for the right to occupy a thread; refuses after [`SEAT_WAIT`].
    pub(super) async fn seat(&self) -> Result<OwnedSemaphorePermit, SearchError> {
        match timeout(SEAT_WAIT, Arc::clone(&self.seats).acquire_owned()).await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(SearchError::Overloaded),
        }
    }

    /// Returns the number of searches in progress, including those that wait.
    pub(super) fn taken(&self) -> usize {
        // Cannot underflow: permits are only ever taken and returned, never added.
        MAX_SEARCHES - self.places.available_permits()
    }

    /// Returns the number of searches that occupy a thread.
    pub(super) fn running(&self) -> usize {
        MAX_RUNNING - self.seats.available_permits()
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

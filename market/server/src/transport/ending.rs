//! Why the market ended a connection, for the log and the metrics.

use std::{
    borrow::Cow,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use souk_certs::acceptor::{PeerInfo, Sources};
use tokio_util::sync::CancellationToken;

use crate::audit;

/// The end of one connection, if the market is the cause. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Ending(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reason: OnceLock<Cow<'static, str>>,
    /// Of the connection alone, so that the threads do not contend for the lock inside.
    asked: CancellationToken,
}

impl Ending {
    /// Creates the ending of a new connection. `stop` ends all of them, without a reason.
    pub(super) fn new(stop: &CancellationToken) -> Self {
        Self(Arc::new(Shared { reason: OnceLock::new(), asked: stop.child_token() }))
    }

    /// Records why the connection ends. Only the first reason counts; those that follow are its consequences.
    pub(super) fn record(&self, reason: impl Into<Cow<'static, str>>) {
        self.0.reason.get_or_init(|| reason.into());
    }

    /// Asks for the end of the connection, with GOAWAY.
    pub(super) fn ask(&self, reason: &'static str) {
        self.record(reason);
        self.0.asked.cancel();
    }

    /// Waits until the end is asked for, or the market stops.
    pub(super) async fn asked(&self) {
        self.0.asked.cancelled().await;
    }

    /// Returns whether the end is asked for.
    #[cfg(test)]
    pub(super) fn is_asked(&self) -> bool {
        self.0.asked.is_cancelled()
    }

    /// Returns why the market ended the connection; `None` if it did not.
    pub(super) fn reason(&self) -> Option<&str> {
        self.0.reason.get().map(AsRef::as_ref)
    }
}

/// Counts the connections that the market ended. Clones share the count.
#[derive(Clone, Debug)]
pub(super) struct EndedConnections {
    sources: Sources,
    total: Arc<AtomicU64>,
}

impl EndedConnections {
    /// Creates the count of the connections from these sources.
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, total: Arc::default() }
    }

    /// If the market ended a connection, counts and logs it, and charges its source.
    pub(super) fn report(&self, peer: &PeerInfo, ending: &Ending) {
        let Some(reason) = ending.reason() else { return };
        self.total.fetch_add(1, Ordering::Relaxed);
        self.sources.charge_ended(peer.address.ip());
        let who = audit::name(peer.certificate.identity());
        tracing::warn!(peer = %peer.address, %who, reason, "ended a connection");
    }

    /// Returns the number.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_is_kept() {
        let stop = CancellationToken::new();
        let ending = Ending::new(&stop);
        assert_eq!((ending.reason(), ending.is_asked()), (None, false));
        ending.record("a flood");
        ending.clone().ask("what the flood caused");
        assert_eq!((ending.reason(), ending.is_asked()), (Some("a flood"), true));
        let other = Ending::new(&stop);
        assert!(!other.is_asked());
        stop.cancel();
        assert_eq!((other.reason(), other.is_asked()), (None, true));
    }
}

//! Why the market ended a connection, for the log and the metrics.

use std::{
    borrow::Cow,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use souk_certs::acceptor::PeerInfo;
use tokio_util::sync::CancellationToken;

use crate::audit;

/// The end of one connection, if the market is the cause. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    reason: OnceLock<Cow<'static, str>>,
    asked: CancellationToken,
}

impl Ending {
    /// Records why the connection ends. Only the first reason counts; those that follow are its consequences.
    pub(super) fn record(&self, reason: impl Into<Cow<'static, str>>) {
        self.0.reason.get_or_init(|| reason.into());
    }

    /// Asks for the end of the connection, with GOAWAY.
    pub(super) fn ask(&self, reason: &'static str) {
        self.record(reason);
        self.0.asked.cancel();
    }

    /// Waits until the end is asked for.
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
#[derive(Clone, Debug, Default)]
pub(super) struct EndedConnections(Arc<AtomicU64>);

impl EndedConnections {
    /// Counts and logs a connection, if the market ended it.
    pub(super) fn report(&self, peer: &PeerInfo, ending: &Ending) {
        let Some(reason) = ending.reason() else { return };
        self.0.fetch_add(1, Ordering::Relaxed);
        let who = audit::name(peer.certificate.identity());
        tracing::warn!(peer = %peer.address, %who, reason, "ended a connection");
    }

    /// Returns the number.
    pub(super) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_is_kept() {
        let ending = Ending::default();
        assert_eq!((ending.reason(), ending.is_asked()), (None, false));
        ending.record("a flood");
        ending.clone().ask("what the flood caused");
        assert_eq!((ending.reason(), ending.is_asked()), (Some("a flood"), true));
    }
}

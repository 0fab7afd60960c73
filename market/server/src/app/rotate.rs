//! Reloads changed certificates, keys and revocation lists while the market runs, and closes the connections whose
//! certificates are no longer accepted.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use souk_certs::{
    acceptor::{Acceptor, PeerInfo},
    client::ClientTls,
    clock,
    credentials::Credentials,
    rotation::{FileWatch, Rotation, RotationError},
    server::{ClientPolicy, server_config},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, TokenKeyError, TokenKeyFiles, TokenKeys, Tokens},
    audit::{self, Refusals},
    observe::manager,
    relay::RelayHandle,
};

/// How often open connections are checked for certificates that have expired or been revoked.
const SWEEP: Duration = Duration::from_secs(1);

/// How often the certificates of open connections are fully verified.
const REVIEW: Duration = Duration::from_secs(60);

/// The components that use the market's certificates and keys, and the files to reload.
pub(super) struct Rotator {
    pub(super) changes: Changes,
    pub(super) rotation: Rotation,
    pub(super) token_keys: TokenKeyFiles,
    pub(super) acceptor: Acceptor,
    pub(super) outgoing: ClientTls,
    pub(super) access: Arc<Access>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) relay: RelayHandle,
    pub(super) refusals: Refusals,
    /// The current credentials, shared with the metrics.
    pub(super) present: Arc<ArcSwap<Credentials>>,
}

/// Why changed files were not adopted.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Credentials(#[from] RotationError),
    #[error(transparent)]
    TokenKeys(#[from] TokenKeyError),
    #[error(transparent)]
    Tls(#[from] souk_certs::TlsError),
}

/// Signals that the files may have changed, or that the operator requested a reload with SIGHUP. Created before the
/// first load, so that a change during startup is not missed.
pub(super) struct Changes {
    files: mpsc::Receiver<()>,
    hangup: Signal,
}

impl Changes {
    pub(super) fn watch(paths: impl IntoIterator<Item = PathBuf>) -> io::Result<Self> {
        Ok(Self { files: FileWatch::new(paths).start()?, hangup: signal(SignalKind::hangup())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            Some(()) = self.files.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

impl Rotator {
    /// Adopts changes until the market shuts down.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut review = interval(REVIEW);
        review.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = self.changes.next() => self.take_over().await,
                _ = sweep.tick() => self.sweep(),
                _ = review.tick() => self.review("it is not accepted any more").await,
            }
        }
    }

    /// Adopts the changed files as a whole or not at all, then closes connections that are no longer acceptable.
    async fn take_over(&mut self) {
        manager::reloading();
        match self.replace() {
            Ok(()) => {
                let until = self.rotation.current().identity().not_after();
                tracing::info!(%until, "reloaded certificates, revocation lists and token keys");
                self.sweep();
                self.review("its authority is no longer trusted").await;
            }
            Err(error) => {
                tracing::error!(%error, "changed files were not adopted; the previous ones remain in use");
            }
        }
        manager::reloaded();
    }

    fn replace(&mut self) -> Result<(), Refused> {
        let keys = TokenKeys::load(&self.token_keys)?;
        let next = Arc::clone(self.rotation.reload(clock::now())?);
        // The last steps that can fail. Everything after them only swaps pointers, so that no failure leaves old and
        // new files mixed.
        let incoming = server_config(&next, ClientPolicy::AnyParty)?;
        self.outgoing.swap(&next)?;
        // First reject calls with revoked certificates, then new handshakes. The caller sweeps open connections
        // afterwards; handshakes that overlap the swap are rejected by the acceptor.
        self.access.revoke(next.revoked_serials());
        self.acceptor.swap(incoming);
        self.present.store(next);
        if self.tokens.replace_keys(keys) {
            self.access.forget_tokens();
        }
        self.relay.hang_up();
        Ok(())
    }

    /// Closes connections by serial number and expiry. That is cheap enough to run every second.
    fn sweep(&self) {
        let (now, revoked) = (clock::now(), self.rotation.current().revoked_serials());
        let cut = self
            .acceptor
            .cut(|peer, _| !peer.certificate.is_valid_at(now) || revoked.contains(peer.certificate.serial()));
        self.report(&cut, "its certificate has ended or was revoked");
    }

    /// Closes connections by full verification, which also covers removed roots and, in strict mode, revocation lists
    /// past their `nextUpdate`. It verifies a signature per connection, so it runs rarely and off the runtime's
    /// threads.
    async fn review(&self, why: &str) {
        let (credentials, acceptor) = (Arc::clone(self.rotation.current()), self.acceptor.clone());
        let review = move || acceptor.cut(|_, leaf| !credentials.accept(leaf, clock::now()));
        match tokio::task::spawn_blocking(review).await {
            Ok(cut) => self.report(&cut, why),
            Err(error) => tracing::error!(%error, "open connections could not be verified"),
        }
    }

    fn report(&self, cut: &[PeerInfo], why: &str) {
        for peer in cut {
            let (party, address) = (peer.certificate.spiffe_id(), peer.address);
            tracing::warn!(party, %address, "connection closed: {why}");
            let who = audit::name(peer.certificate.identity());
            self.refusals.add(Some(who), Some(address.ip()), &format!("connection cut: {why}"));
        }
    }
}

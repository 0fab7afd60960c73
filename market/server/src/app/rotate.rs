//! Takes over changed certificates, keys and revocation lists while the market is open, and cuts the
//! connections of those whom they shut out.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use souk_certs::{
    acceptor::{Acceptor, PeerInfo},
    client::ClientTls,
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
    access::{Access, TokenKeyError, TokenKeys, Tokens},
    audit::{self, Refusals},
    clock::Clock,
    config::TokenKeyFiles,
    observe::manager,
    relay::RelayHandle,
};

/// How often open connections are looked through for certificates that have ended or were revoked.
const SWEEP: Duration = Duration::from_secs(1);

/// How often they are verified as a whole.
const REVIEW: Duration = Duration::from_secs(60);

/// What the market's files are used for.
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
    pub(super) clock: Clock,
    /// Those in use, for whoever wants to know.
    pub(super) present: Arc<ArcSwap<Credentials>>,
}

/// Why changed files were not taken over.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Credentials(#[from] RotationError),
    #[error(transparent)]
    TokenKeys(#[from] TokenKeyError),
    #[error(transparent)]
    Tls(#[from] souk_certs::TlsError),
}

/// Tells that the files may have changed. Made before they are loaded for the first time, so that nothing
/// that happens while the market is being opened is missed.
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
    /// Takes changes over until the market closes.
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

    /// All or nothing: everything is loaded and checked before anything is replaced.
    async fn take_over(&mut self) {
        manager::reloading();
        match self.replace() {
            Ok(()) => {
                let until = self.rotation.current().identity().not_after();
                tracing::info!(%until, "certificates, revocation lists and token keys were taken over");
                self.sweep();
                self.review("its authority is no longer trusted").await;
            }
            Err(error) => {
                tracing::error!(%error, "changed files were not taken over; those from before stay in use");
            }
        }
        manager::reloaded();
    }

    fn replace(&mut self) -> Result<(), Refused> {
        let keys = TokenKeys::load(&self.token_keys)?;
        let next = Arc::clone(self.rotation.reload(self.clock.now().into())?);
        // The last two steps that can fail; both were tried by loading.
        let incoming = server_config(&next, ClientPolicy::AnyParty)?;
        self.outgoing.swap(&next)?;
        self.access.revoke(next.revoked_serials());
        self.acceptor.swap(incoming);
        self.present.store(next);
        if self.tokens.replace_keys(keys) {
            self.access.forget_tokens();
        }
        self.relay.hang_up();
        Ok(())
    }

    /// By serial number and time, which is quick.
    fn sweep(&self) {
        let (now, revoked) = (self.clock.now().into(), self.rotation.current().revoked_serials());
        let cut = self
            .acceptor
            .cut(|peer, _| !peer.certificate.is_valid_at(now) || revoked.contains(peer.certificate.serial()));
        self.report(&cut, "its certificate has ended or was revoked");
    }

    /// By the whole verification, for roots that were taken away and lists that have gone out of date.
    async fn review(&self, why: &str) {
        let (credentials, acceptor) = (Arc::clone(self.rotation.current()), self.acceptor.clone());
        let clock = self.clock;
        let review = move || acceptor.cut(|_, leaf| !credentials.accept(leaf, clock.now().into()));
        match tokio::task::spawn_blocking(review).await {
            Ok(cut) => self.report(&cut, why),
            Err(error) => tracing::error!(%error, "open connections were not reviewed"),
        }
    }

    fn report(&self, cut: &[PeerInfo], why: &str) {
        for peer in cut {
            let (party, address) = (peer.certificate.spiffe_id(), peer.address);
            tracing::warn!(party, %address, "a connection was cut: {why}");
            let who = audit::name(peer.certificate.identity());
            self.refusals.add(Some(who), Some(address.ip()), &format!("connection cut: {why}"));
        }
    }
}

//! Reloads changed certificates, keys and revocation lists while the market runs, and closes the connections whose
//! certificates are no longer accepted.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{ClientConfig, ServerConfig};
use souk_certs::{
    acceptor::{Acceptor, PeerInfo},
    client::{ClientTls, client_config},
    credentials::Credentials,
    rotation::{self, FileWatch, Rotation, RotationError},
    server::{ClientPolicy, server_config},
};
use souk_domain::Timestamp;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    access::{Access, PublishedKeys, TokenKeyError, TokenKeys, Tokens},
    audit::{self, Refusals},
    clock::Clock,
    config::TokenKeyFiles,
    observe::manager,
    random::Random,
    relay::RelayHandle,
};

/// How often open connections are checked for certificates that have expired or been revoked.
const SWEEP: Duration = Duration::from_secs(1);

/// How often the certificates of open connections are fully verified.
const REVIEW: Duration = Duration::from_secs(60);

/// Reloads the market's files and replaces the credentials and keys of all components.
pub(super) struct Rotator {
    pub(super) changes: Changes,
    pub(super) rotation: Rotation,
    pub(super) token_keys: TokenKeyFiles,
    pub(super) users: CredentialUsers,
    pub(super) refusals: Refusals,
    pub(super) clock: Clock,
    pub(super) random: Random,
}

/// The components that use the market's certificates and keys.
pub(super) struct CredentialUsers {
    pub(super) acceptor: Acceptor,
    pub(super) outgoing: ClientTls,
    pub(super) access: Arc<Access>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) published: Arc<PublishedKeys>,
    /// Notified after a change, for the keeper of the market's own token key.
    pub(super) changed: Arc<Notify>,
    pub(super) relay: RelayHandle,
    /// The current credentials, shared with the metrics.
    pub(super) present: Arc<ArcSwap<Credentials>>,
}

/// Changed files, loaded and checked: everything that can fail has succeeded, and nothing has changed yet.
#[must_use = "nothing has changed until it is committed"]
struct Prepared<'a> {
    credentials: rotation::Prepared<'a>,
    incoming: Arc<ServerConfig>,
    outgoing: Arc<ClientConfig>,
    token_keys: TokenKeys,
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

/// Signals that files may have changed, or that the operator requested a reload with SIGHUP. Created before the
/// first load, so that a change during startup is not missed.
pub(super) struct Changes {
    files: mpsc::Receiver<()>,
    hangup: Signal,
    /// Notified when the market itself has changed the files, which saves the time until the watch sees it.
    adopted: Arc<Notify>,
}

impl Changes {
    pub(super) fn watch(paths: impl IntoIterator<Item = PathBuf>) -> io::Result<Self> {
        let (files, hangup) = (FileWatch::new(paths).start()?, signal(SignalKind::hangup())?);
        Ok(Self { files, hangup, adopted: Arc::default() })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            Some(()) = self.files.recv() => {}
            _ = self.hangup.recv() => {}
            () = self.adopted.notified() => {}
        }
    }

    /// Returns what is to be notified by a component that has changed the files.
    pub(super) fn adopted(&self) -> Arc<Notify> {
        Arc::clone(&self.adopted)
    }
}

impl Rotator {
    /// Adopts changes until the market shuts down.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Repeated even without a change: with `StaleLists::Refuse`, a revocation list may go out of date
        // meanwhile.
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

    async fn take_over(&mut self) {
        manager::reloading();
        let unique = self.random.uuid_v4();
        match Prepared::load(&mut self.rotation, (&self.token_keys, unique), self.clock.now()) {
            Ok(prepared) => {
                prepared.commit(&self.users);
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

    /// Closes connections by serial number and expiry. That is cheap enough to run every second.
    fn sweep(&self) {
        let (now, revoked) = (self.clock.now().into(), self.rotation.current().revoked_serials());
        let cut = self
            .users
            .acceptor
            .cut(|peer, _| !peer.certificate.is_valid_at(now) || revoked.contains(peer.certificate.serial()));
        self.report(&cut, "its certificate has ended or was revoked");
    }

    /// Closes connections by full verification, which also covers removed roots and, in strict mode, revocation lists
    /// past their `nextUpdate`. It verifies a signature per connection, so it runs rarely and off the runtime's
    /// threads.
    async fn review(&self, why: &str) {
        let (credentials, acceptor) = (Arc::clone(self.rotation.current()), self.users.acceptor.clone());
        let clock = self.clock;
        let review = move || acceptor.cut(|_, leaf| !credentials.accept(leaf, clock.now().into()));
        // Verifies one signature per open connection, which would stall the runtime with thousands of them.
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

impl<'a> Prepared<'a> {
    /// Loads and checks all files. Every step that can fail is here, so that no failure leaves old and new
    /// files mixed.
    fn load(
        rotation: &'a mut Rotation,
        (token_keys, unique): (&TokenKeyFiles, Uuid),
        now: Timestamp,
    ) -> Result<Self, Refused> {
        let token_keys = TokenKeys::load(token_keys, unique)?;
        let credentials = rotation.prepare(now.into())?;
        let incoming = server_config(credentials.credentials(), ClientPolicy::AnyParty)?;
        let outgoing = client_config(credentials.credentials())?;
        Ok(Self { credentials, incoming, outgoing, token_keys })
    }

    /// Puts the new files into use, which can't fail. Calls with revoked certificates are rejected first,
    /// then new handshakes; a handshake that overlaps the swap is rejected by the acceptor.
    fn commit(self, users: &CredentialUsers) {
        let next = Arc::clone(self.credentials.commit());
        users.outgoing.swap(self.outgoing);
        // Before the acceptor: from here on a revoked party is rejected at each call, even on a connection
        // that is cut only later.
        users.access.revoke(next.revoked_serials());
        users.acceptor.swap(self.incoming);
        users.present.store(next);
        // Only on a real change, because every cached token then needs its signature checked again.
        // The keys of other markets are judged again: one of these markets may have been revoked.
        let (own, others) = (users.tokens.replace_keys(self.token_keys), users.published.judge());
        if own || others {
            users.access.forget_tokens();
        }
        users.changed.notify_one();
        // After the swap of `outgoing`, or a new connection could be opened with the old certificate.
        users.relay.hang_up();
    }
}

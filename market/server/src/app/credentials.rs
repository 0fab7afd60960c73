//! The market's certificates and token keys as they are opened, before there are components that use them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use souk_certs::{
    acceptor::Acceptor,
    client::ClientTls,
    clock::Clock as CertificateClock,
    credentials::Credentials,
    identity::Identity,
    random::Random as CertificateRandom,
    rotation::Rotation,
    server::{ClientPolicy, server_config},
};
use souk_enrolment::context::Context;
use souk_store::Store;

use super::{
    OpenError,
    rotate::{Changes, CredentialUsers, Rotator},
    token_keys::KeyKeeper,
    trust::{MarketContext, Renewer, TrustFollower},
};
use crate::{
    access::{Access, AccessParts, CallbackPolicy, Epochs, PublishedKeys, Suspended, TokenKeys, Tokens},
    audit::Refusals,
    clock::Clock,
    config::{Config, TokenKeyFiles},
    random::Random,
    relay::{Dialer, RelayHandle},
    trust::TrustNews,
};

/// The market's certificates and token keys, and what is built from them.
pub(super) struct MarketCredentials {
    changes: Changes,
    rotation: Rotation,
    token_keys: TokenKeyFiles,
    pub(super) acceptor: Acceptor,
    pub(super) tokens: Arc<Tokens>,
    outgoing: ClientTls,
    /// The current credentials, which the rotator replaces.
    present: Arc<ArcSwap<Credentials>>,
}

impl MarketCredentials {
    /// Creates the connector to callback servers.
    pub(super) fn dialer(&self, config: &Config, callbacks: &CallbackPolicy) -> Dialer {
        Dialer::new(self.outgoing.clone(), config.tls.trust_domain.clone(), callbacks.clone())
    }

    pub(super) fn open(config: &Config, (clock, random): (Clock, Random)) -> Result<Self, OpenError> {
        let trust_domain = config.tls.trust_domain.clone();
        let (files, stale_lists) = (config.tls.files(), config.tls.stale_lists());
        let token_keys = config.tls.token_key_files();
        // Start watching before the first load, so that a change in between is not missed.
        let changes = Changes::watch(files.paths().into_iter().chain(token_keys.paths()))?;
        let mut rotation = Rotation::begin(files, trust_domain.clone(), stale_lists, clock.now().into())?;
        if config.tls.context.is_some() {
            // The context's roots and lists come with trust bundles.
            rotation = rotation.outliving_root();
        }
        let loaded = Arc::clone(rotation.current());
        if loaded.identity().identity() != Identity::Market {
            return Err(OpenError::NotAMarket(config.tls.files().cert.display().to_string()));
        }
        let acceptor = Acceptor::new(
            server_config(&loaded, ClientPolicy::AnyParty)?,
            trust_domain.clone(),
            ClientPolicy::AnyParty,
            config.limits.acceptor(),
        );
        let tokens = Arc::new(Tokens::new(TokenKeys::load(&token_keys, random.uuid_v4())?, &trust_domain));
        let outgoing = ClientTls::new(&loaded)?;
        let present = Arc::new(ArcSwap::from(loaded));
        Ok(Self { changes, rotation, token_keys, acceptor, tokens, outgoing, present })
    }

    /// Publishes the token key that the market has made to the other markets on the store, and reads theirs. If that fails, it is tried
    /// again while the market runs: its own tokens need neither.
    pub(super) async fn publish_key(&self, store: &Store, clock: Clock) -> Arc<PublishedKeys> {
        let (keys, tokens) = (Arc::clone(&store.market_keys), Arc::clone(&self.tokens));
        let tokens = (tokens, self.token_keys.is_own);
        let published = PublishedKeys::new(keys, tokens, Arc::clone(&self.present), clock);
        if let Err(error) = published.refresh().await {
            tracing::warn!(%error, "the token key could not be published to other markets; trying again");
        }
        Arc::new(published)
    }

    /// Prepares to follow the authority and to renew the certificate, if the market has joined.
    pub(super) fn followers(
        &self,
        config: &Config,
        news: &TrustNews,
        (clock, random): (Clock, Random),
    ) -> Option<(TrustFollower, Renewer)> {
        let market = MarketContext {
            context: Context::at(config.tls.context.as_ref()?),
            news: news.clone(),
            adopted: self.changes.adopted(),
            renewal: Arc::default(),
            clock: CertificateClock::SYSTEM,
            random: CertificateRandom::SYSTEM,
        };
        let (domain, outgoing) = (config.tls.trust_domain.clone(), self.outgoing.clone());
        let follower = TrustFollower::new(market.clone(), domain, outgoing, (clock, random));
        Some((follower, Renewer(market)))
    }

    /// Opens the guard.
    pub(super) fn access(
        &self,
        published: Arc<PublishedKeys>,
        (epochs, suspended): (&Epochs, &Suspended),
        refusals: Refusals,
        clock: Clock,
    ) -> Arc<Access> {
        let revoked = self.rotation.current().revoked_serials();
        let (tokens, epochs, suspended) = (Arc::clone(&self.tokens), epochs.clone(), suspended.clone());
        Arc::new(Access::open(AccessParts { tokens, published, revoked, epochs, suspended, refusals, clock }))
    }

    pub(super) fn into_rotator(
        self,
        access: &Arc<Access>,
        relay: RelayHandle,
        refusals: Refusals,
        (clock, random): (Clock, Random),
    ) -> (Rotator, KeyKeeper) {
        let Self { changes, rotation, token_keys, acceptor, tokens, outgoing, present } = self;
        let (access, published, changed) = (Arc::clone(access), access.published(), Arc::default());
        let keeper = KeyKeeper {
            published: Arc::clone(&published),
            access: Arc::clone(&access),
            tokens: Arc::clone(&tokens),
            files: token_keys.clone(),
            changed: Arc::clone(&changed),
            clock,
            random,
        };
        let users =
            CredentialUsers { acceptor, outgoing, access, tokens, published, changed, relay, present };
        (Rotator { changes, rotation, token_keys, users, refusals, clock, random }, keeper)
    }
}

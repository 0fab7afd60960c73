//! Assembles the market: [`App::build`] opens all components, [`App::run`] serves until shutdown.

mod credentials;
mod data;
mod drain;
mod metrics;
mod opening;
mod readiness;
mod replicas;
mod rotate;
mod serve;
mod stored_clock;
mod synonyms;
mod token_keys;
mod trust;

use std::{io, net::SocketAddr, sync::Arc};

use credentials::MarketCredentials;
use data::Data;
use opening::{OpenPort, refusing_calls};
use replicas::{ReplicaListener, StandingNotes, StoreFreshness};
use rotate::Rotator;
pub use serve::ServeError;
use souk_domain::WorkingSet;
use souk_search::{Search, SearchError};
use souk_store::{Health, OpeningProgress, Receipt, Replicas, Store, StoreError, StoreQueues};
pub use stored_clock::{accept_stored_clock, stored_clock};
pub use synonyms::SynonymFileError;

use souk_certs::{
    acceptor::{Acceptor, Listener},
    credentials::CredentialError,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, CallbackPolicy, PublishedKeys, Suspended},
    accounts::{Accounts, KeptAccounts},
    api::{ImportPace, OpenStreams, Parts, Readiness},
    audit::Refusals,
    clock::{Clock, SteadyClock},
    config::{Config, ConfigError, RetentionConfig},
    ledger::{Lanes, OnCommit},
    observe::{Activity, CallTimes, Outputs, TopTalkers},
    random::Random,
    ranking::Sweeper,
    relay::{Dialer, Relay, RelayHandle, RelayParts},
    rides::RideNews,
    trust::TrustNews,
    upkeep::{self, BacklogLook},
    watches::{WatchParts, Watches},
};

/// A market with all components open and its listener bound, which does not serve yet.
pub struct App {
    config: Config,
    listener: Listener,
    acceptor: Acceptor,
    access: Arc<Access>,
    rotator: Rotator,
    parts: Arc<Parts>,
    lanes: Lanes,
    relay: Relay,
    refusals: Refusals,
    admin: Option<OpenPort>,
    times: Arc<CallTimes>,
    outputs: Outputs,
    store_queues: Option<StoreQueues>,
    backlogs: BacklogLook,
    sweeper: Sweeper,
    /// When the shared store was last reached. `None` for a store that only this market uses.
    freshness: Option<StoreFreshness>,
    /// The other markets on a shared store.
    replicas: Option<Arc<dyn Replicas>>,
    /// Whether the store can keep its promises.
    store_health: Health,
}

/// Why the market could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The certificate, key, authority or revocation list could not be loaded.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// rustls rejected the credentials.
    #[error("can't set up TLS: {0}")]
    Tls(#[from] souk_certs::TlsError),
    /// The token-signing key could not be loaded.
    #[error(transparent)]
    TokenKeys(#[from] crate::access::TokenKeyError),
    /// The certificate names a seller, buyer or operator instead of the market.
    #[error("{0} is not a market's certificate; mint one with gen-certs.sh init")]
    NotAMarket(String),
    /// The store could not be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The search index could not be opened or rebuilt.
    #[error("can't open the search index: {0}")]
    Search(#[from] SearchError),
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file of synonyms can't be used.
    #[error(transparent)]
    Synonyms(#[from] SynonymFileError),
    /// A thread could not be started or a socket could not be bound.
    #[error("can't start: {0}")]
    Io(#[from] io::Error),
}

impl OpenError {
    /// Returns whether the cause is the market's certificate or one of its keys, for the exit code.
    pub fn is_about_identity(&self) -> bool {
        matches!(self, Self::Credentials(_) | Self::Tls(_) | Self::TokenKeys(_) | Self::NotAMarket(_))
    }
}

impl App {
    /// Opens all components of a market that will serve on `listener`. Nothing is accepted until [`App::run`].
    pub async fn build(
        config: Config,
        listener: TcpListener,
        (clock, random): (Clock, Random),
    ) -> Result<Self, OpenError> {
        let open = || MarketCredentials::open(&config, (clock, random));
        let credentials = match open() {
            Err(OpenError::Credentials(problem)) if trust::restore(&config.tls, &problem).await => open()?,
            opened => opened?,
        };
        let progress = OpeningProgress::default();
        let admin = match config.server.admin_listen {
            Some(address) => Some(OpenPort::open(address, &progress).await?),
            None => None,
        };
        let proxies = config.server.proxy_protocol.clone();
        let mut listener = Listener::new(listener, credentials.acceptor.sources().clone(), proxies);
        let data = Data::open((&config.store, &config.search), (clock, random), &progress);
        let data = refusing_calls(&mut listener, &credentials.acceptor, &progress, data).await?;
        let published = credentials.publish_key(&data.store, clock).await;
        Self::assemble(config, (listener, admin), (credentials, published, data), (clock, random))
    }

    /// Builds the components on top of the data.
    fn assemble(
        config: Config,
        (listener, admin): (Listener, Option<OpenPort>),
        (credentials, published, data): (MarketCredentials, Arc<PublishedKeys>, Data),
        (clock, random): (Clock, Random),
    ) -> Result<Self, OpenError> {
        let Data { store, steady, search, synonyms, suspended, epochs } = data;
        let (acceptor, tokens) = (credentials.acceptor.clone(), Arc::clone(&credentials.tokens));
        let callbacks = CallbackPolicy::new(&config.callbacks, listener.local_addr()?);
        let dialer = credentials.dialer(&config, &callbacks);
        let relay = start_relay((&store, dialer), &suspended, config.retention, (steady.clone(), random));
        let (refusals, notes) = (Refusals::default(), StandingNotes::default());
        let access = credentials.access(published, (&epochs, &suspended), refusals.clone(), clock);
        let (activity, closing) = (Activity::start(clock.now()), CancellationToken::new());
        let watches = start_watches(&store, &search, &suspended, &closing)?;
        let accounts = Accounts::new(Arc::clone(&store.reads), store.replicas.is_some());
        let lanes = Lanes::start(store.lanes, &steady, random, || {
            let followers = (relay.handle(), search.clone(), watches.clone());
            on_commit(followers, (Arc::clone(&access), accounts.kept()), notes.clone(), activity.clone())
        })?;
        let users = (&access, relay.handle(), refusals.clone());
        let (rotator, news) = start_keepers(credentials, &config, users, &closing, (clock, random));
        let searches = search.clone();
        let parts = Arc::new(Parts {
            reads: store.reads,
            accounts,
            mailboxes: store.mailboxes,
            consumers: store.consumers,
            dead_letters: store.dead_letters,
            tracks: store.tracks,
            archive: store.archive,
            retention: config.retention,
            rides: RideNews::default(),
            trust: news,
            streams: OpenStreams::default(),
            imports: ImportPace::new(config.limits.import_rows_per_second),
            search,
            watches,
            relay: relay.handle(),
            tokens,
            callbacks,
            suspended,
            epochs,
            clock,
            steady: steady.clone(),
            random,
            closing,
            readiness: Readiness::default(),
            activity,
            talkers: TopTalkers::new(move || searches.take_used()),
            queued: Box::new(lanes.queued()),
            log: store.log,
        });
        let listener_of_replicas = ReplicaListener::of(&parts, Arc::clone(&access), notes);
        let freshness = replicas::start(store.replicas.clone(), listener_of_replicas, parts.closing.clone());
        Ok(Self {
            admin,
            config,
            listener,
            acceptor,
            access,
            rotator,
            backlogs: start_upkeep(store.upkeep, synonyms, &parts),
            parts,
            lanes,
            relay,
            refusals,
            times: Arc::default(),
            outputs: Outputs::default(),
            store_queues: store.queues,
            sweeper: Sweeper::new(store.ranking, steady, random),
            freshness,
            replicas: store.replicas,
            store_health: store.health,
        })
    }

    /// Adds the counts of log lines and spans to the metrics.
    #[must_use]
    pub fn with_outputs(self, outputs: Outputs) -> Self {
        Self { outputs, ..self }
    }

    /// Returns the address on which the market listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns the address of the metrics and health endpoint. `None` if it is not configured.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }
}

/// Starts what keeps the market's certificate, its token key and what it trusts up to date. Returns what takes over changed
/// files, and the news for clients.
fn start_keepers(
    credentials: MarketCredentials,
    config: &Config,
    (access, relay, refusals): (&Arc<Access>, RelayHandle, Refusals),
    closing: &CancellationToken,
    sources: (Clock, Random),
) -> (Rotator, TrustNews) {
    let news = TrustNews::default();
    if let Some((follower, renewer)) = credentials.followers(config, &news, sources) {
        tokio::spawn(follower.run(closing.clone()));
        tokio::spawn(renewer.run(closing.clone()));
    }
    let (rotator, keeper) = credentials.into_rotator(access, relay, refusals, sources);
    tokio::spawn(keeper.run(closing.clone()));
    (rotator, news)
}

fn start_relay(
    (store, dialer): (&Store, Dialer),
    suspended: &Suspended,
    retention: RetentionConfig,
    (clock, random): (SteadyClock, Random),
) -> Relay {
    Relay::start(RelayParts {
        mailboxes: Arc::clone(&store.mailboxes),
        consumers: Arc::clone(&store.consumers),
        dead_letters: Arc::clone(&store.dead_letters),
        tracks: Arc::clone(&store.tracks),
        dialer,
        suspended: suspended.clone(),
        retention,
        clock,
        clocks: Arc::clone(&store.clocks),
        random,
    })
}

/// Starts the background tasks that run until the market closes. Returns the counts of the store's backlogs.
fn start_upkeep(
    upkeep: Arc<dyn souk_store::Upkeep>,
    synonyms: Option<synonyms::SynonymFile>,
    parts: &Parts,
) -> BacklogLook {
    tokio::spawn(parts.steady.clone().run(parts.closing.clone()));
    tokio::spawn(parts.talkers.clone().run(parts.closing.clone()));
    synonyms::follow(synonyms, &parts.closing);
    upkeep::start(upkeep, parts.steady.clone(), parts.closing.clone())
}

fn start_watches(
    store: &Store,
    search: &Search,
    suspended: &Suspended,
    closing: &CancellationToken,
) -> io::Result<Watches> {
    Watches::start(WatchParts {
        reads: Arc::clone(&store.reads),
        search: search.clone(),
        suspended: suspended.clone(),
        is_shared: store.replicas.is_some(),
        closing: closing.clone(),
    })
}

/// Returns the hook that notifies the guard, the search index and the relay of each commit. A lane calls it in commit
/// order, whether or not the callers still wait for the outcome.
fn on_commit(
    (relay, search, watches): (RelayHandle, Search, Watches),
    (access, accounts): (Arc<Access>, KeptAccounts),
    notes: StandingNotes,
    activity: Activity,
) -> OnCommit {
    Box::new(move |commit: Option<(&Receipt, WorkingSet)>| {
        let Some((receipt, rows)) = commit else {
            search.forget_hits();
            return accounts.forget();
        };
        search.committed(rows);
        accounts.changed(receipt.standings.iter().map(|standing| standing.party));
        activity.placed(receipt.orders);
        // Before the streams end: a suspended party that reconnects at once must meet the list, not a new
        // stream.
        notes.take(&access, &receipt.standings);
        for standing in &receipt.standings {
            if standing.is_suspended {
                relay.end_stream(standing.party);
            }
        }
        for till in &receipt.removed_tills {
            relay.end_till_stream(*till);
        }
        if let Some(position) = receipt.feed_position {
            search.feed_moved(position);
        }
        watches.stock_moved(&receipt.stock_moves);
        if !receipt.recipients.is_empty() {
            relay.wake(&receipt.recipients, receipt.has_callback);
        }
        if receipt.needs_expansion {
            relay.expand();
        }
    })
}

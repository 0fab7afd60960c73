//! Puts the market together: [`App::build`] opens everything, [`App::run`] serves until told to stop.

mod figures;
mod replicas;
mod rotate;
mod serve;

use std::{io, net::SocketAddr, sync::Arc};

use replicas::{Ears, Notes, Sight};
use rotate::{Changes, Rotator};
pub use serve::ServeError;
use souk_domain::PartyId;
use souk_search::{IndexHome, Search, SearchError};
use souk_store::{Reads, Receipt, Store, StoreError};

use arc_swap::ArcSwap;
use souk_certs::{
    acceptor::Acceptor,
    client::ClientTls,
    credentials::CredentialError,
    rotation::Rotation,
    server::{ClientPolicy, server_config},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, AccessParts, CallbackPolicy, Suspended, TokenKeyFiles, TokenKeys, Tokens},
    api::Parts,
    audit::Refusals,
    clock::Clock,
    config::{Config, StoreConfig},
    ledger::{Lanes, OnCommit},
    observe::{CallTimes, SpanCounts},
    relay::{Dialer, Relay, RelayHandle, RelayParts},
    rides::RideNews,
};

/// Number of suspended parties read from the store at a time.
const SUSPENDED_PAGE: usize = 1_000;

/// A market with all components open and its listener bound, which does not serve yet.
pub struct App {
    config: Config,
    listener: TcpListener,
    acceptor: Acceptor,
    access: Arc<Access>,
    rotator: Rotator,
    parts: Arc<Parts>,
    lanes: Lanes,
    relay: Relay,
    refusals: Refusals,
    admin: Option<TcpListener>,
    times: Arc<CallTimes>,
    spans: Option<Arc<SpanCounts>>,
    /// When the shared store was last reached. `None` for a store that only this market uses.
    sight: Option<Sight>,
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
    pub async fn build(config: Config, listener: TcpListener, clock: Clock) -> Result<Self, OpenError> {
        let papers = Papers::open(&config)?;
        let (acceptor, tokens) = (papers.acceptor.clone(), Arc::clone(&papers.tokens));
        let Store { lanes, reads, mailboxes, tracks, replicas } = open_store(&config.store).await?;
        let home = config.store.index_directory().map_or(IndexHome::Memory, IndexHome::Directory);
        let search = Search::open(home, Arc::clone(&reads)).await?;
        let suspended = Suspended::new(suspended_parties(&*reads).await?);
        let callbacks = CallbackPolicy::new(&config.callbacks, listener.local_addr()?);
        let relay = Relay::start(RelayParts {
            mailboxes: Arc::clone(&mailboxes),
            tracks: Arc::clone(&tracks),
            dialer: Dialer::new(papers.outgoing.clone(), config.tls.trust_domain(), callbacks.clone()),
            suspended: suspended.clone(),
            clock,
        });
        let refusals = Refusals::default();
        let access = AccessParts {
            tokens: Arc::clone(&tokens),
            revoked: papers.rotation.current().revoked_serials(),
            epochs: reads.raised_epochs().await?,
            suspended: suspended.clone(),
            rates: config.limits,
            refusals: refusals.clone(),
            clock,
        };
        let access = Arc::new(Access::open(access));
        let notes = Notes::default();
        let lanes = Lanes::start(lanes, clock, || {
            on_commit(relay.handle(), search.clone(), Arc::clone(&access), notes.clone())
        })?;
        let rotator = papers.into_rotator(Arc::clone(&access), relay.handle(), refusals.clone());
        let parts = Arc::new(Parts {
            reads,
            mailboxes,
            tracks,
            rides: RideNews::default(),
            search,
            relay: relay.handle(),
            tokens,
            callbacks,
            suspended,
            clock,
            closing: CancellationToken::new(),
        });
        let sight = replicas.map(|replicas| {
            let (ears, sight) = (Ears::of(&parts, Arc::clone(&access), notes), Sight::new());
            tokio::spawn(replicas::follow(replicas, ears, sight.clone(), parts.closing.clone()));
            sight
        });
        let admin = listen(config.server.admin_listen).await?;
        Ok(Self {
            config,
            listener,
            acceptor,
            access,
            rotator,
            parts,
            lanes,
            relay,
            refusals,
            admin,
            times: Arc::default(),
            spans: None,
            sight,
        })
    }

    /// Adds the counts of sent and dropped spans to the metrics.
    #[must_use]
    pub fn telling_of(self, spans: Option<Arc<SpanCounts>>) -> Self {
        Self { spans, ..self }
    }

    /// Returns the address on which the market listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns the address of the metrics and health endpoint. `None` if it is not configured.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }
}

/// The market's certificates and token keys, and what is built from them.
struct Papers {
    changes: Changes,
    rotation: Rotation,
    token_keys: TokenKeyFiles,
    acceptor: Acceptor,
    tokens: Arc<Tokens>,
    outgoing: ClientTls,
}

impl Papers {
    fn open(config: &Config) -> Result<Self, OpenError> {
        let trust_domain = config.tls.trust_domain();
        let (files, stale_lists) = (config.tls.files(), config.tls.stale_lists());
        let token_keys = config.tls.token_key_files();
        // Start watching before the first load, so that a change in between is not missed.
        let changes = Changes::watch(files.paths().into_iter().chain(token_keys.paths()))?;
        let rotation = Rotation::begin(files, trust_domain.clone(), stale_lists, souk_certs::clock::now())?;
        let credentials = Arc::clone(rotation.current());
        if credentials.identity().identity() != souk_certs::identity::Identity::Market {
            return Err(OpenError::NotAMarket(config.tls.cert.display().to_string()));
        }
        let acceptor = Acceptor::new(
            server_config(&credentials, ClientPolicy::AnyParty)?,
            trust_domain.clone(),
            ClientPolicy::AnyParty,
            config.limits.acceptor(),
        );
        let tokens = Arc::new(Tokens::new(TokenKeys::load(&token_keys)?, &trust_domain));
        let outgoing = ClientTls::new(&credentials)?;
        Ok(Self { changes, rotation, token_keys, acceptor, tokens, outgoing })
    }

    fn into_rotator(self, access: Arc<Access>, relay: RelayHandle, refusals: Refusals) -> Rotator {
        let Self { changes, rotation, token_keys, acceptor, tokens, outgoing } = self;
        let present = Arc::new(ArcSwap::from(Arc::clone(rotation.current())));
        Rotator {
            changes,
            rotation,
            token_keys,
            acceptor,
            outgoing,
            access,
            tokens,
            relay,
            refusals,
            present,
        }
    }
}

async fn listen(address: Option<SocketAddr>) -> io::Result<Option<TcpListener>> {
    match address {
        Some(address) => TcpListener::bind(address).await.map(Some),
        None => Ok(None),
    }
}

async fn open_store(config: &StoreConfig) -> Result<Store, StoreError> {
    match config.postgres() {
        Some((address, options)) => souk_store::postgres::open(address, &options).await,
        None if config.is_memory() => Ok(souk_store::memory::open()),
        None => souk_store::sqlite::open(&config.path),
    }
}

/// Reads all suspended parties, a page at a time.
async fn suspended_parties(reads: &dyn Reads) -> Result<Vec<PartyId>, StoreError> {
    let mut found = Vec::new();
    loop {
        let page = reads.parties(found.last().copied(), true, SUSPENDED_PAGE).await?;
        let is_last = page.len() < SUSPENDED_PAGE;
        found.extend(page.iter().map(|party| party.id));
        if is_last {
            return Ok(found);
        }
    }
}

/// Returns the hook that notifies the guard, the search index and the relay of each commit. A lane calls it in commit
/// order, whether or not the callers still wait for the outcome.
fn on_commit(relay: RelayHandle, search: Search, access: Arc<Access>, notes: Notes) -> OnCommit {
    Box::new(move |receipt: &Receipt| {
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
        if !receipt.recipients.is_empty() {
            relay.wake(&receipt.recipients);
        }
        if receipt.needs_expansion {
            relay.expand();
        }
    })
}

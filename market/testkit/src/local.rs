//! A complete market in a temporary folder: authority, certificates, store, server on a loopback port.

use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use souk_authority::pki::{InitOptions, IssueOptions, Pki, PkiError};
use souk_certs::{
    clock,
    connector::{self, ConnectOptions},
    credentials::{CredentialFiles, Credentials},
    identity::{Identity, Role, TrustDomain},
};
use souk_client::{ClientConfig, Error};
use souk_server::{
    app::{App, OpenError, ServeError},
    clock::Clock,
    config::{Config, StoreConfig},
    random::Random,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::port::Port;

/// The rate limit of each party: more than it can reach.
const CALLS_PER_SECOND: u32 = 100_000;

/// Where a market keeps its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// A store in memory.
    Memory,
    /// A SQLite file in the folder.
    #[default]
    Sqlite,
    /// The PostgreSQL database with this address.
    Postgres(String),
}

/// Options of [`LocalMarket::open`]. By default, the store is SQLite and the address a free loopback port.
#[derive(Clone, Debug)]
pub struct LocalMarketOptions {
    /// The kind of store. A SQLite file is deleted with the market.
    pub store: StoreKind,
    /// The address to listen on. Port 0, the default, picks a free one.
    pub listen: SocketAddr,
    /// The number of server threads, 2 by default; 0 means one per core.
    pub threads: usize,
    /// The market's wall clock.
    pub clock: Clock,
    /// How long ago the certificates were issued.
    pub issued_ago: Duration,
    /// Changes other settings. By default, calls are practically unlimited and callbacks to this machine are
    /// allowed.
    pub adjust: fn(&mut Config),
}

impl Default for LocalMarketOptions {
    fn default() -> Self {
        Self {
            store: StoreKind::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            threads: 2,
            clock: Clock::SYSTEM,
            issued_ago: Duration::ZERO,
            adjust: |_| (),
        }
    }
}

/// A running market. Its folder is deleted with it.
pub struct LocalMarket {
    folder: Arc<TempDir>,
    pki: Arc<Mutex<Pki>>,
    config: Config,
    port: Port,
    clock: Clock,
    issued_ago: Duration,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

/// Why a market could not be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum LocalMarketError {
    /// A folder or a socket could not be created.
    #[error("can't set up the market: {0}")]
    Io(#[from] io::Error),
    /// A certificate could not be minted.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] souk_server::config::ConfigError),
    /// The market could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The market failed while it was running.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A party's files could not be loaded.
    #[error(transparent)]
    Client(#[from] Error),
    /// The market's task panicked.
    #[error("the market panicked: {0}")]
    Panic(#[from] tokio::task::JoinError),
}

impl fmt::Debug for LocalMarket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalMarket").field("address", &self.port.address()).finish_non_exhaustive()
    }
}

impl LocalMarket {
    /// Mints an authority and opens a market.
    pub async fn open(options: LocalMarketOptions) -> Result<Self, LocalMarketError> {
        let mut market = Self::prepare(options)?;
        market.start().await?;
        Ok(market)
    }

    /// Makes everything that a market needs, but does not start it.
    pub(crate) fn prepare(options: LocalMarketOptions) -> Result<Self, LocalMarketError> {
        let folder = tempfile::Builder::new().prefix("souk-").tempdir()?;
        let pki = Pki::init(
            &folder.path().join("pki"),
            &InitOptions::default(),
            clock::now() - options.issued_ago,
        )?;
        let mut config = Config::load(None)?;
        config.server.listen = options.listen;
        config.server.threads = options.threads;
        config.tls.cert = folder.path().join("pki/market.pem");
        config.store = match options.store {
            StoreKind::Memory => StoreConfig::at("memory"),
            StoreKind::Sqlite => StoreConfig::at(folder.path().join("souk.db")),
            StoreKind::Postgres(address) => StoreConfig::at(address),
        };
        config.callbacks.allow_loopback = true;
        config.limits.seller_calls_per_second = CALLS_PER_SECOND;
        config.limits.buyer_calls_per_second = CALLS_PER_SECOND;
        config.limits.burst_calls = CALLS_PER_SECOND;
        (options.adjust)(&mut config);
        Ok(Self {
            folder: Arc::new(folder),
            pki: Arc::new(Mutex::new(pki)),
            config,
            port: Port::take(options.listen)?,
            clock: options.clock,
            issued_ago: options.issued_ago,
            running: None,
        })
    }

    /// Has the market use the certificate in a context from its next start on.
    pub(crate) fn use_context(&mut self, folder: &Path) -> Result<(), LocalMarketError> {
        Ok(self.config.tls.use_context(folder)?)
    }

    /// Opens the market again at the same address and on the same store, after [`LocalMarket::stop`].
    pub async fn start(&mut self) -> Result<(), LocalMarketError> {
        let listener = self.port.listen().await?;
        let app = App::build(self.config.clone(), listener, (self.clock, Random::SYSTEM)).await?;
        let stop = CancellationToken::new();
        let served = tokio::spawn(app.run(stop.clone()));
        self.running = Some(Running { stop, served });
        Ok(())
    }

    /// Opens another market with the same certificates on the same store, which must be one that can be
    /// shared.
    pub async fn beside(&self) -> Result<Self, LocalMarketError> {
        self.beside_with(|_| ()).await
    }

    /// Like [`LocalMarket::beside`], with other settings.
    pub async fn beside_with(&self, adjust: impl FnOnce(&mut Config)) -> Result<Self, LocalMarketError> {
        let mut config = self.config.clone();
        adjust(&mut config);
        let mut market = Self {
            folder: Arc::clone(&self.folder),
            pki: Arc::clone(&self.pki),
            config,
            port: Port::take(SocketAddr::new(self.port.address().ip(), 0))?,
            clock: self.clock,
            issued_ago: self.issued_ago,
            running: None,
        };
        market.start().await?;
        Ok(market)
    }

    /// Stops the market, and keeps its folder.
    pub async fn stop(&mut self) -> Result<(), LocalMarketError> {
        if let Some(running) = self.running.take() {
            running.stop.cancel();
            running.served.await??;
        }
        Ok(())
    }

    /// Stops the market and opens it again at the same address, on the same store.
    pub async fn restart(&mut self) -> Result<(), LocalMarketError> {
        self.stop().await?;
        self.start().await
    }

    /// Like [`Self::restart`], under another wall clock.
    pub async fn restart_at(&mut self, clock: Clock) -> Result<(), LocalMarketError> {
        self.clock = clock;
        self.restart().await
    }

    /// Stops the market and removes its folder.
    pub async fn close(mut self) -> Result<(), LocalMarketError> {
        self.stop().await?;
        // The last of the markets that share the folder removes it.
        Arc::into_inner(self.folder).map_or(Ok(()), TempDir::close)?;
        Ok(())
    }

    /// Returns the address on which the market listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Returns the folder with the certificates and the store.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Changes the certificate folder, as `gen-certs` does.
    pub fn change_pki<T>(&self, change: impl FnOnce(&mut Pki) -> T) -> T {
        change(&mut self.pki.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Returns a party's settings. Its certificate is minted on the first call for its name.
    pub async fn identity(&self, role: Role, name: &str) -> Result<ClientConfig, LocalMarketError> {
        let slug = name.to_lowercase().replace(' ', "-");
        let mut pki = self.pki.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let party = match pki.find(&slug) {
            Ok(party) => party,
            Err(_) => pki.issue(&slug, role, &IssueOptions::default(), clock::now() - self.issued_ago)?,
        };
        Ok(ClientConfig::new(self.port.address().into(), party.files()))
    }

    /// Opens a bare connection with a party's certificate, without the client library's session.
    pub async fn channel(&self, role: Role, name: &str) -> Result<Channel, LocalMarketError> {
        self.channel_with(&self.identity(role, name).await?.credentials)
    }

    /// Opens a bare connection with any certificate files.
    pub fn channel_with(&self, files: &CredentialFiles) -> Result<Channel, LocalMarketError> {
        let domain = TrustDomain::default();
        let credentials = Credentials::load(files, &domain, clock::now()).map_err(Error::from)?;
        let tls = souk_certs::client::ClientTls::new(&credentials).map_err(Error::Tls)?;
        let options = ConnectOptions::default();
        Ok(connector::channel(self.port.address().into(), Identity::Market, tls, &domain, options))
    }
}

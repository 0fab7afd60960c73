//! The enrolment service of a local market's authority.

#![expect(clippy::expect_used, reason = "a test whose setup fails has failed")]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration as Wait,
};

use souk_authority::{
    enrolment::Enrolment,
    invitation::book::NewInvitation,
    pki::{IssueOptions, Pki, Setup},
};
use souk_certs::{
    clock::{self, Clock},
    credentials::CredentialFiles,
    identity::Role,
    random::Random,
};
use souk_client::ClientConfig;
use souk_enrolment::{code::InvitationCode, context::Context, host::join_host};
use time::Duration;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::local::{LocalMarket, LocalMarketError, LocalMarketOptions};

/// The deadline for the service to stop, and for its port to be free again.
const PATIENCE: Wait = Wait::from_secs(30);

/// How often a port that is still in use is tried again.
const BIND_POLL: Wait = Wait::from_millis(20);

/// A running enrolment service, which stops when this is dropped.
pub struct LocalAuthority {
    folder: PathBuf,
    address: SocketAddr,
    market: ClientConfig,
    clock: Clock,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl LocalAuthority {
    /// Sets up and runs the enrolment service of a market's authority, which names this market to newcomers.
    pub async fn open(market: &LocalMarket) -> Self {
        Self::open_as(market, false).await
    }

    /// Like [`open`](Self::open), for a demonstration that ends with it, or one that lasts.
    pub async fn open_as(market: &LocalMarket, ephemeral: bool) -> Self {
        Self::open_at(market, ephemeral, Clock::SYSTEM).await
    }

    async fn open_at(market: &LocalMarket, ephemeral: bool, clock: Clock) -> Self {
        let folder = market.path().join("pki");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let mut pki = Pki::open(&folder).expect("the authority");
        let setup = Setup { public: address.into(), markets: vec![market.address().into()], ephemeral };
        pki.set_up(&setup, clock.now()).expect("set up");
        let operator = market.identity(Role::Operator, "olga").await.expect("an operator");
        let mut authority = Self { folder, address, market: operator, clock, stop: None, serving: None };
        authority.serve(listener);
        authority
    }

    /// Opens a market whose authority runs an enrolment service, which the market has joined and follows.
    ///
    /// # Errors
    /// The market can't be opened.
    pub async fn with_market(
        options: LocalMarketOptions,
    ) -> Result<(LocalMarket, LocalAuthority), LocalMarketError> {
        Self::with_market_at(options, Clock::SYSTEM).await
    }

    /// Like [`with_market`](Self::with_market), with an authority that lives by this clock.
    ///
    /// # Errors
    /// The market can't be opened.
    pub async fn with_market_at(
        options: LocalMarketOptions,
        clock: Clock,
    ) -> Result<(LocalMarket, LocalAuthority), LocalMarketError> {
        let mut market = LocalMarket::prepare(options)?;
        let authority = LocalAuthority::open_at(&market, false, clock).await;
        let folder = market.path().join("market");
        authority.admit_market(&folder).await;
        market.use_context(&folder)?;
        market.start().await?;
        Ok((market, authority))
    }

    fn serve(&mut self, listener: TcpListener) {
        let service = Enrolment::open(&self.folder, self.clock, Random::SYSTEM).expect("the service");
        let (stop, stopped) = oneshot::channel::<()>();
        self.stop = Some(stop);
        self.serving = Some(tokio::spawn(async {
            service.serve(listener, async { drop(stopped.await) }).await.expect("it serves");
        }));
    }

    /// Returns the address of the service.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the folder of the authority.
    #[must_use]
    pub fn pki(&self) -> Pki {
        Pki::open(&self.folder).expect("the authority")
    }

    /// Returns an invitation code for a day.
    #[must_use]
    pub fn invite(&self, role: Role, name: &str) -> String {
        self.invite_as(role, name, false)
    }

    /// Returns a code with which a party that exists gets another certificate, or a new party its first one.
    #[must_use]
    pub fn invite_as(&self, role: Role, name: &str, again: bool) -> String {
        let new = NewInvitation { role, name: name.to_owned(), again, validity: Duration::DAY };
        self.pki().invite(new, self.clock.now()).expect("an invitation").0.reveal()
    }

    /// Admits a market as `market join` does: makes a context in the folder.
    pub async fn admit_market(&self, folder: &Path) {
        self.admit_market_as("market-1", folder).await;
    }

    /// Like [`admit_market`](Self::admit_market), for the market of a host with this name.
    pub async fn admit_market_as(&self, name: &str, folder: &Path) {
        let code: InvitationCode = self.invite(Role::Market, name).parse().expect("a code");
        let joined = join_host(&Context::at(folder), &code, Vec::new(), (self.clock, Random::SYSTEM)).await;
        joined.expect("joined");
    }

    /// Issues a certificate as of an earlier time, so that it is due or has ended. Returns the settings of the party.
    #[must_use]
    pub fn issue_ago(&self, role: Role, name: &str, ago: Duration) -> ClientConfig {
        let issued = self.pki().issue(name, role, &IssueOptions::default(), clock::now() - ago);
        let files: CredentialFiles = issued.expect("a certificate").files();
        ClientConfig::new(self.market.market.clone(), files)
    }

    /// Stops the service, as at the end of its process.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            timeout(PATIENCE, serving).await.expect("it stops in time").expect("it stopped");
        }
    }

    /// Runs the service again, by another clock.
    pub async fn start_at(&mut self, clock: Clock) {
        self.clock = clock;
        self.start().await;
    }

    /// Runs the service again at the same address.
    pub async fn start(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => return self.serve(listener),
                Err(error) => assert!(Instant::now() < deadline, "the port stays in use: {error}"),
            }
            sleep(BIND_POLL).await;
        }
    }
}

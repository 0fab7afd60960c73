//! A market, as seen by one of its parties.

use std::{sync::Arc, time::Duration};

use souk_certs::{
    client::ClientTls,
    clock,
    connector::{self, ConnectOptions, Dial},
    credentials::Credentials,
    identity::{Identity, PeerCertificate},
};
use souk_proto::v1::{
    account_service_client::AccountServiceClient, admin_service_client::AdminServiceClient,
    buyer_service_client::BuyerServiceClient, catalog_service_client::CatalogServiceClient,
    event_service_client::EventServiceClient, ride_service_client::RideServiceClient,
    seller_service_client::SellerServiceClient, session_service_client::SessionServiceClient,
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep, timeout_at},
};
use tonic::Status;
use tower::Layer as _;
use uuid::Uuid;

use crate::{
    ClientConfig, Failure, config,
    failure::Step,
    probe::Probe,
    retry::{self, Verdict},
    session::{Session, TokenKeeper},
    timing::{TimingLayer, Timings},
};

/// A handle to a market: one HTTP/2 connection over mutual TLS, opened at the first call and again
/// whenever it broke, and the session of one party on it. Cloning is cheap and shares both.
///
/// The accessors give out the generated clients, every call of which carries the party's id and token.
/// They send a call once; [`call`](Self::call) adds the deadline, the repeats and an error in words.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    timeout: Duration,
    is_silent: bool,
}

#[derive(Debug)]
struct Shared {
    market: Dial,
    certificate: PeerCertificate,
    party: Uuid,
    account: Session,
    session: Session,
    tls: ClientTls,
    timings: Option<Timings>,
    probe: Probe,
    /// One probe at a time: it costs the market a handshake.
    probing: Semaphore,
    /// How many times other credentials were taken up.
    renewals: watch::Sender<u64>,
}

impl Connection {
    /// Loads the credentials and prepares the channel. Nothing is sent before the first call.
    ///
    /// # Errors
    /// The files can't be used, the certificate names no party, or the timeout is out of bounds.
    pub async fn open(config: &ClientConfig) -> Result<Self, Failure> {
        let credentials = Credentials::load(&config.credentials, &config.trust_domain, clock::now())?;
        Self::with_credentials(config, &credentials)
    }

    /// The same with credentials that are loaded already. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The certificate names no party, TLS can't be set up, or the timeout is out of bounds.
    pub fn with_credentials(config: &ClientConfig, credentials: &Credentials) -> Result<Self, Failure> {
        let timeout = config::check_timeout(config.timeout)?;
        let certificate = credentials.identity().clone();
        let Some(party) = certificate.identity().uuid() else {
            return Err(Failure::NotAParty(certificate.spiffe_id().to_owned()));
        };
        let tls = ClientTls::new(credentials).map_err(Failure::Tls)?;
        let domain = &config.trust_domain;
        let options = ConnectOptions::default();
        let channel =
            connector::channel(config.market.clone(), Identity::Market, tls.clone(), domain, options);
        let timings = config.timings.clone();
        let channel = TimingLayer::new(timings.clone()).layer(channel);
        let account = Session::without_token(channel, party);
        let session = account.with_tokens(TokenKeeper::new(account.clone()));
        let probe = Probe::new(config.market.clone(), Identity::Market.dns_name(domain), tls.clone())?;
        let market = config.market.clone();
        let probing = Semaphore::new(1);
        let renewals = watch::Sender::new(0);
        let shared =
            Shared { market, certificate, party, account, session, tls, timings, probe, probing, renewals };
        Ok(Self { shared: Arc::new(shared), timeout, is_silent: false })
    }

    /// Shows other credentials of the same party from the next time that it connects; the open connection
    /// stays up as long as the market lets it.
    ///
    /// # Errors
    /// TLS can't be set up with them; then nothing has changed.
    pub fn take_up(&self, credentials: &Credentials) -> Result<(), Failure> {
        self.shared.tls.swap(credentials).map_err(Failure::Tls)?;
        self.shared.renewals.send_modify(|times| *times += 1);
        Ok(())
    }

    /// Tells of [`take_up`](Self::take_up).
    pub(crate) fn renewals(&self) -> watch::Receiver<u64> {
        self.shared.renewals.subscribe()
    }

    /// The same connection with another time for its calls.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The same connection, whose calls are not told of (see [`timing`](crate::timing)): for what goes on in
    /// the background.
    #[must_use]
    pub fn silent(&self) -> Self {
        Self { is_silent: true, ..self.clone() }
    }

    fn via(&self, session: &Session) -> Session {
        if self.is_silent { session.silent() } else { session.clone() }
    }

    /// Opens an account, changes it, issues tokens.
    pub fn account(&self) -> AccountServiceClient<Session> {
        AccountServiceClient::new(self.via(&self.shared.account))
    }

    /// What operators do, with an operator's certificate.
    pub fn admin(&self) -> AdminServiceClient<Session> {
        AdminServiceClient::new(self.via(&self.shared.account))
    }

    /// Tells who the caller is.
    pub fn session(&self) -> SessionServiceClient<Session> {
        SessionServiceClient::new(self.via(&self.shared.session))
    }

    /// Finds items.
    pub fn catalog(&self) -> CatalogServiceClient<Session> {
        CatalogServiceClient::new(self.via(&self.shared.session))
    }

    /// What sellers do.
    pub fn seller(&self) -> SellerServiceClient<Session> {
        SellerServiceClient::new(self.via(&self.shared.session))
    }

    /// What buyers do.
    pub fn buyer(&self) -> BuyerServiceClient<Session> {
        BuyerServiceClient::new(self.via(&self.shared.session))
    }

    /// The party's mailbox.
    pub fn events(&self) -> EventServiceClient<Session> {
        EventServiceClient::new(self.via(&self.shared.session))
    }

    /// Orders on their way.
    pub fn rides(&self) -> RideServiceClient<Session> {
        RideServiceClient::new(self.via(&self.shared.session))
    }

    /// The market's address.
    pub fn market(&self) -> &Dial {
        &self.shared.market
    }

    /// The party that calls.
    pub fn party(&self) -> Uuid {
        self.shared.party
    }

    /// The certificate that it calls with.
    pub fn certificate(&self) -> &PeerCertificate {
        &self.shared.certificate
    }

    /// How long a call may take with all its repeats.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A new `request_id`. Make one for each thing the user wants done, not for each attempt.
    pub fn request_id(&self) -> String {
        retry::request_id(clock::now()).to_string()
    }

    /// Makes a unary call and sees it through: the deadline covers everything and goes to the market as
    /// `grpc-timeout`; what failed for a moment is repeated with the very same message, and so with the
    /// same `request_id` (see [`retry`]); a refused token is renewed once.
    ///
    /// ```no_run
    /// # async fn buy(connection: souk_client::Connection) -> Result<(), souk_client::Failure> {
    /// use souk_proto::v1::BuyItemRequest;
    ///
    /// let request = BuyItemRequest {
    ///     request_id: connection.request_id(),
    ///     item_id: 7,
    ///     quantity: 1,
    ///     ..BuyItemRequest::default()
    /// };
    /// let bought = connection.call(request, |c, r| async move { c.buyer().buy_item(r).await }).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What the last attempt failed with.
    pub async fn call<M, R, F, Fut>(&self, message: M, send: F) -> Result<R, Failure>
    where
        M: Clone,
        F: Fn(Self, tonic::Request<M>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<R>, Status>>,
    {
        let attempts = self.shared.timings.as_ref().filter(|_| !self.is_silent).map(Timings::begin);
        let deadline = Instant::now() + self.timeout;
        let mut failed_attempts = 0;
        let mut renewed = false;
        loop {
            let mut request = tonic::Request::new(message.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            if let Some(attempts) = &attempts {
                request.extensions_mut().insert(attempts.log());
            }
            let failure = match timeout_at(deadline, send(self.clone(), request)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => self.explain(status).await,
                Err(_) => Failure::TimedOut { market: self.market().clone(), after: self.timeout },
            };
            failed_attempts += 1;
            let wait = match retry::verdict(&failure) {
                Verdict::Renew if !renewed => {
                    renewed = true;
                    continue;
                }
                Verdict::Repeat { at_least } if failed_attempts < retry::MAX_ATTEMPTS => {
                    at_least.max(retry::backoff(failed_attempts, rand::random()))
                }
                _ => return Err(failure),
            };
            if Instant::now() + wait >= deadline {
                return Err(failure);
            }
            tracing::debug!(%failure, ?wait, failed_attempts, "trying again");
            sleep(wait).await;
        }
    }

    /// Puts the status of a failed call into words. When the connection broke under the call, a probe
    /// finds out whether that was the market's verdict on the certificate.
    pub async fn explain(&self, status: Status) -> Failure {
        let failure = Failure::from_status(status, self.market(), self.timeout);
        if !matches!(failure, Failure::Unreachable { step: Step::Call, .. }) {
            return failure;
        }
        let Ok(_permit) = self.shared.probing.try_acquire() else { return failure };
        match self.shared.probe.run().await {
            Err(verdict @ Failure::Untrusted { .. }) => verdict,
            _ => failure,
        }
    }
}

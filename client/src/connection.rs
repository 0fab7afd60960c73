//! The connection of one party to a market.

mod call;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use souk_certs::{
    client::ClientTls,
    clock::Clock,
    connector::{self, ConnectOptions, Dial},
    credentials::Credentials,
    identity::{Identity, PeerCertificate},
    random::Random,
};
use souk_enrolment::context::Context;
use souk_proto::v1::{
    account_service_client::AccountServiceClient, admin_service_client::AdminServiceClient,
    buyer_service_client::BuyerServiceClient, catalog_service_client::CatalogServiceClient,
    event_service_client::EventServiceClient, ride_service_client::RideServiceClient,
    seller_service_client::SellerServiceClient, session_service_client::SessionServiceClient,
};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tonic::Status;
use tower::Layer as _;
use uuid::Uuid;

use crate::{
    ClientConfig, Error, MarketAddresses,
    balance::{AnsweredBy, Balancer},
    budget::RetryBudget,
    config,
    error::Step,
    probe::Probe,
    recovery::Recovery,
    session::{Session, TokenKeeper, Transport},
    timing::{TimingLayer, Timings},
};

/// A handle to a market: one HTTP/2 connection over mutual TLS per address, and the session of one party on
/// them. A connection is opened when a call needs it, and again after it broke. Cloning is cheap and shares
/// both. With several addresses, calls are spread over them, and fail over to the others when one fails.
///
/// [`call`](Self::call) makes unary calls with a deadline and retries, and fails with an [`Error`]. The other
/// accessors return the generated clients, which are needed for streams and send a call only once. Every call
/// carries the party's id and token.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    timeout: Duration,
    is_silent: bool,
}

#[derive(Debug)]
struct Shared {
    market: MarketAddresses,
    certificate: PeerCertificate,
    party: Uuid,
    account: Session,
    session: Session,
    tls: ClientTls,
    timings: Option<Timings>,
    clock: Clock,
    random: Random,
    reach: Reach,
    budget: RetryBudget,
    /// How many times the credentials have been replaced.
    renewals: watch::Sender<u64>,
    /// How many times the market was lost.
    losses: watch::Sender<u64>,
    /// What to do about roots that changed while the program was away; unset without a context.
    recovery: OnceLock<Recovery>,
}

/// Finds out why the market is unreachable.
#[derive(Debug)]
enum Reach {
    /// The market has one address.
    One {
        probe: Probe,
        /// One probe at a time: it costs the market a handshake.
        probing: Semaphore,
    },
    /// The market has several addresses, whose dials report the cause.
    Many(Balancer),
}

impl Connection {
    /// Loads the credentials and prepares the channel. Nothing is sent before the first call.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::{ClientConfig, Connection, CredentialFiles, v1};
    ///
    /// # async fn open() -> Result<(), souk_client::Error> {
    /// let market = "localhost:7443".parse()?;
    /// let config = ClientConfig::new(market, CredentialFiles::beside("bob.pem"));
    /// let connection = Connection::open(&config).await?;
    /// let who = connection.call(v1::WhoAmIRequest {}).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The files can't be used, the certificate names no party, or the timeout is out of bounds.
    pub async fn open(config: &ClientConfig) -> Result<Self, Error> {
        let credentials = Credentials::load(&config.credentials, &config.trust_domain, config.clock.now())?;
        Self::with_credentials(config, &credentials)
    }

    /// Like [`open`](Self::open), with credentials that are already loaded. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// The certificate names no party, TLS can't be set up, or the timeout is out of bounds.
    pub fn with_credentials(config: &ClientConfig, credentials: &Credentials) -> Result<Self, Error> {
        let timeout = config::check_timeout(config.timeout)?;
        let certificate = credentials.identity().clone();
        let Some(party) = certificate.identity().uuid() else {
            return Err(Error::NotAParty(certificate.spiffe_id().to_owned()));
        };
        let tls = ClientTls::new(credentials).map_err(Error::Tls)?;
        let (market, domain) = (config.market.clone(), &config.trust_domain);
        let (transport, reach) = match market.only() {
            Some(only) => {
                let options = ConnectOptions::default();
                let channel =
                    connector::channel(only.clone(), Identity::Market, tls.clone(), domain, options);
                let probe = Probe::new(only.clone(), domain, tls.clone());
                (Transport::One(channel), Reach::One { probe, probing: Semaphore::new(1) })
            }
            None => {
                let balancer = Balancer::new(&market, tls.clone(), domain, config.random);
                (Transport::Many(balancer.clone()), Reach::Many(balancer))
            }
        };
        let (timings, clock, random) = (config.timings.clone(), config.clock, config.random);
        let transport = TimingLayer::new(timings.clone()).layer(transport);
        let account = Session::without_token(transport, party);
        let session = account.with_tokens(TokenKeeper::new(account.clone(), random));
        let renewals = watch::Sender::new(0);
        let shared = Arc::new(Shared {
            market,
            certificate,
            party,
            account,
            session,
            tls,
            timings,
            clock,
            random,
            reach,
            budget: RetryBudget::full(),
            renewals,
            losses: watch::Sender::new(0),
            recovery: OnceLock::new(),
        });
        Ok(Self { shared, timeout, is_silent: false })
    }

    /// Uses other credentials of the same party from the next connection on. Open connections stay.
    ///
    /// # Errors
    /// TLS can't be set up with them; the current credentials are then unchanged.
    pub fn take_up(&self, credentials: &Credentials) -> Result<(), Error> {
        self.shared.tls.swap(souk_certs::client::client_config(credentials).map_err(Error::Tls)?);
        if let Reach::Many(balancer) = &self.shared.reach {
            balancer.forgive();
        }
        self.shared.renewals.send_modify(|times| *times += 1);
        Ok(())
    }

    /// Returns a channel that changes with each [`take_up`](Self::take_up).
    pub(crate) fn renewals(&self) -> watch::Receiver<u64> {
        self.shared.renewals.subscribe()
    }

    /// Returns a channel that changes each time that the market was lost: a connection broke, or none came about.
    pub(crate) fn losses(&self) -> watch::Receiver<u64> {
        self.shared.losses.subscribe()
    }

    /// Records that the market was lost, also if it said so itself before it closed the connection.
    pub(crate) fn note_loss(&self) {
        self.shared.losses.send_modify(|times| *times += 1);
    }

    /// Brings the context that the credentials are from up to date when the market's certificate, or the own one, is not
    /// accepted any more: the authority's roots may have changed while the program was away. The call that failed is then
    /// repeated. Only the first call of this method has an effect.
    pub fn follow_context(&self, context: Context) {
        let Shared { clock, random, recovery, .. } = &*self.shared;
        // Fails only if it is set.
        let _ = recovery.set(Recovery::new(context, *clock, *random));
    }

    /// Returns the same connection with another deadline for its calls.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// Returns the same connection, whose calls are not reported to [`timing`](crate::timing): for what goes
    /// on in the background.
    #[must_use]
    pub fn silent(&self) -> Self {
        Self { is_silent: true, ..self.clone() }
    }

    fn via(&self, session: &Session) -> Session {
        if self.is_silent { session.silent() } else { session.clone() }
    }

    /// Returns the client of AccountService: registration and tokens.
    pub fn account(&self) -> AccountServiceClient<Session> {
        AccountServiceClient::new(self.via(&self.shared.account))
    }

    /// Returns the client of AdminService, for operators.
    pub fn admin(&self) -> AdminServiceClient<Session> {
        AdminServiceClient::new(self.via(&self.shared.account))
    }

    /// Returns the client of SessionService, which reports how the market identifies the caller.
    pub fn session(&self) -> SessionServiceClient<Session> {
        SessionServiceClient::new(self.via(&self.shared.session))
    }

    /// Returns the client of CatalogService: search.
    pub fn catalog(&self) -> CatalogServiceClient<Session> {
        CatalogServiceClient::new(self.via(&self.shared.session))
    }

    /// Returns the client of SellerService: listing items and fulfilling orders.
    pub fn seller(&self) -> SellerServiceClient<Session> {
        SellerServiceClient::new(self.via(&self.shared.session))
    }

    /// Returns the client of BuyerService: purchases, wishlist and ratings.
    pub fn buyer(&self) -> BuyerServiceClient<Session> {
        BuyerServiceClient::new(self.via(&self.shared.session))
    }

    /// Returns the client of EventService: the party's mailbox.
    pub fn events(&self) -> EventServiceClient<Session> {
        EventServiceClient::new(self.via(&self.shared.session))
    }

    /// Returns the client of RideService: tracking of deliveries.
    pub fn rides(&self) -> RideServiceClient<Session> {
        RideServiceClient::new(self.via(&self.shared.session))
    }

    /// Returns the market's addresses, in the order in which they were given.
    pub fn market(&self) -> &MarketAddresses {
        &self.shared.market
    }

    /// Returns the address that sent an answer.
    pub fn answered_by<T>(&self, answer: &tonic::Response<T>) -> Dial {
        let among = answer.extensions().get().map(|AnsweredBy(address)| address);
        among.unwrap_or(self.shared.market.first()).clone()
    }

    /// Registers a function that is called when a certificate is rejected at one of several addresses. Calls
    /// then succeed at the others, so that the rejection might go unnoticed. It is called once per address
    /// until a connection there succeeds again.
    pub fn on_distrust(&self, report: impl Fn(&Error) + Send + 'static) {
        if let Reach::Many(balancer) = &self.shared.reach {
            balancer.on_distrust(report);
        }
    }

    /// Returns the UUID of the calling party, which is in its certificate.
    pub fn party(&self) -> Uuid {
        self.shared.party
    }

    /// Returns the certificate of the calling party.
    pub fn certificate(&self) -> &PeerCertificate {
        &self.shared.certificate
    }

    /// Returns the deadline of a call including all of its retries.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns a new `request_id`. Use one per intended change, not per attempt. It is a UUIDv7 (RFC 9562), so
    /// that ids made one after another are stored next to each other.
    pub fn request_id(&self) -> String {
        let Shared { clock, random, .. } = &*self.shared;
        random.uuid_v7(clock.now()).to_string()
    }

    /// Returns a random number in the range [0, 1), which spreads the waits of clients that failed together.
    pub(crate) fn jitter(&self) -> f64 {
        self.shared.random.unit()
    }

    /// Waits for a stream to open. The timeout applies only to that, and is not sent to the market.
    pub(crate) async fn open_stream<T>(
        &self,
        opening: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Error> {
        match timeout(self.timeout, opening).await {
            Ok(Ok(opened)) => Ok(opened.into_inner()),
            Ok(Err(status)) => Err(self.explain(status).await),
            Err(_) => Err(Error::TimedOut { market: self.market().clone(), after: self.timeout }),
        }
    }

    /// Converts the status of a failed call to an error. If the connection broke during the call, a probe
    /// finds out whether the market had rejected the certificate.
    pub async fn explain(&self, status: Status) -> Error {
        let failure = Error::from_status(status, self.market(), self.timeout);
        let failure = self.distrust_behind(&failure).await.unwrap_or(failure);
        self.recovered(failure).await
    }

    /// Records a loss of the market. If the cause may be that the roots have changed, brings the context up to date;
    /// the error is then one that may pass, so that the call is repeated.
    async fn recovered(&self, failure: Error) -> Error {
        if failure.is_about_the_connection() {
            self.note_loss();
        }
        let recovery = self.shared.recovery.get().filter(|_| Recovery::may_help(&failure));
        match recovery {
            Some(recovery) if recovery.run(|credentials| self.take_up(credentials)).await => {
                // Of this step, a repetition may succeed.
                Error::Unreachable {
                    step: Step::Call,
                    market: self.market().first().clone(),
                    source: "the authority's roots had changed, and are known now".into(),
                }
            }
            _ => failure,
        }
    }

    /// Returns the rejection of a certificate that made a call break, if that was the cause.
    async fn distrust_behind(&self, failure: &Error) -> Option<Error> {
        let Reach::One { probe, probing } = &self.shared.reach else { return None };
        if !matches!(failure, Error::Unreachable { step: Step::Call, .. }) {
            return None;
        }
        // Does not wait: another probe is about to report the cause.
        let _permit = probing.try_acquire().ok()?;
        probe.run().await.err().filter(|verdict| matches!(verdict, Error::Untrusted { .. }))
    }

    /// Returns whether to repeat a call or stream at once, after `moves` consecutive moves: it failed at one
    /// address, and there are others that are not known to fail.
    pub fn may_move(&self, failure: &Error, moves: usize) -> bool {
        match &self.shared.reach {
            Reach::One { .. } => false,
            Reach::Many(balancer) => {
                moves + 1 < self.shared.market.len() && failure.is_of_one_address() && balancer.has_another()
            }
        }
    }
}

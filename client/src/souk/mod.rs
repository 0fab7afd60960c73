//! [`Souk`], the entry point of the library, and the services that it provides.

mod account;
mod admin;
mod buyer;
mod catalog;
mod context;
mod join;
mod options;
mod seller;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use souk_enrolment::context::Context;
use souk_proto::{Unary, v1};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

pub use account::Account;
pub use admin::Admin;
pub use buyer::Buyer;
pub use catalog::Catalog;
pub use join::JoinOptions;
pub use options::Options;
pub use seller::Seller;

use self::context::Kept;
use crate::{
    ClientConfig, Connection, Error, Events, Identity, MarketAddresses, Renewal, Seen, Till, TillNotice,
    renewal::CredentialUsers, till,
};

/// A market, as seen by one of its parties. Cloning is cheap and shares the connection, the token and the
/// record of seen events.
///
/// # Examples
/// ```no_run
/// use souk_client::{Identity, Souk};
///
/// # async fn buy() -> Result<(), souk_client::Error> {
/// let souk = Souk::connect("market.example.org:7443", Identity::from_file("bob.pem")?).await?;
/// let order = souk.buyer().buy(7, 2).await?;
/// println!("order {}: {} × {}", order.order_id, order.quantity, order.item_name);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Souk {
    connection: Connection,
    identity: Identity,
    config: ClientConfig,
    seen: Seen,
    consumer: String,
    /// Keeps a context up to date; `None` if the certificate is of other files.
    kept: Option<Arc<Kept>>,
}

impl Souk {
    /// Joins a market with an invitation code, and registers there: makes a key, gets a certificate for it, and opens the
    /// connection. With a code that was used here before, opens what it has made.
    ///
    /// The files are a context in `~/.config/souk`, which the command lines use as well (`--context NAME`). While the result
    /// lives, its certificate is renewed, and the authority's roots and revocation lists are followed.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The code is damaged or not valid any more, the authority or the market is not reached, or a file can't be written. The
    /// same call continues where it stopped.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn join() -> Result<(), souk_client::Error> {
    /// use souk_client::Souk;
    ///
    /// let souk = Souk::join("souk1ae3k…").await?;
    /// println!("this is {}", souk.party());
    /// # Ok(()) }
    /// ```
    pub async fn join(code: &str) -> Result<Self, Error> {
        Self::join_with(code, JoinOptions::default()).await
    }

    /// Like [`join`](Self::join), with options.
    ///
    /// # Errors
    /// As [`join`](Self::join), or an option is out of bounds.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn join() -> Result<(), souk_client::Error> {
    /// use souk_client::{JoinOptions, Role, Souk};
    ///
    /// let shop = JoinOptions::default().role(Role::Seller).display_name("Alice's lamps");
    /// let souk = Souk::join_with("souk1ae3k…", shop).await?;
    /// # Ok(()) }
    /// ```
    pub async fn join_with(code: &str, options: JoinOptions) -> Result<Self, Error> {
        options.join(code).await
    }

    /// Opens a context that `join` has made, of this library or of a command line. `folder` is that of the context, such as
    /// `~/.config/souk/contexts/bob` (without `~`); [`context`](Self::context) returns it.
    ///
    /// A certificate that ended at most 30 days ago is renewed first. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// There is no context in the folder, it is incomplete, others may write to it, or an option is out of bounds.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn open() -> Result<(), souk_client::Error> {
    /// use souk_client::{Options, Souk};
    ///
    /// let souk = Souk::from_context("/home/bob/.config/souk/contexts/bob", Options::default()).await?;
    /// # Ok(()) }
    /// ```
    pub async fn from_context(folder: impl Into<PathBuf>, options: Options) -> Result<Self, Error> {
        Self::of_context(Context::at(folder), None, options).await
    }

    /// Returns the folder of the context that it was opened from; `None` if the certificate is of other files.
    #[must_use]
    pub fn context(&self) -> Option<&Path> {
        self.kept.as_ref().map(|kept| kept.context.folder())
    }

    /// Prepares a connection to a market with the default [`Options`]. `market` is `host:port`, or several of
    /// them separated by commas.
    ///
    /// Nothing is sent yet: the connection is opened by the first call, and again after it broke.
    ///
    /// # Errors
    /// The address is malformed, or the certificate is not a party's.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn connect() -> Result<(), souk_client::Error> {
    /// use souk_client::{Identity, Souk};
    ///
    /// let souk = Souk::connect("localhost:7443", Identity::from_file("alice.pem")?).await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect<M>(market: M, identity: Identity) -> Result<Self, Error>
    where
        M: TryInto<MarketAddresses>,
        Error: From<M::Error>,
    {
        Self::connect_with(market, identity, Options::default()).await
    }

    /// Like [`connect`](Self::connect), with options.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), an option is out of bounds, or the folder of
    /// [`remember_events_in`](Options::remember_events_in) can't be used.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn connect() -> Result<(), souk_client::Error> {
    /// use std::time::Duration;
    ///
    /// use souk_client::{Identity, Options, Souk};
    ///
    /// let options = Options::default().timeout(Duration::from_secs(30)).remember_events_in("/var/lib/shop");
    /// let both = "eu.market.example:7443,us.market.example:7443";
    /// let souk = Souk::connect_with(both, Identity::from_file("alice.pem")?, options).await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect_with<M>(market: M, identity: Identity, options: Options) -> Result<Self, Error>
    where
        M: TryInto<MarketAddresses>,
        Error: From<M::Error>,
    {
        let config = options.config(market.try_into()?, &identity);
        let connection = Connection::with_credentials(&config, &identity.credentials)?;
        let seen = match &options.remember_events_in {
            Some(folder) => Seen::open_as(folder, connection.market(), connection.party(), &options.consumer)
                .map_err(|error| Error::io(format!("use the folder {}", folder.display()), error))?,
            None => Seen::in_memory(),
        };
        Ok(Self { connection, identity, config, seen, consumer: options.consumer, kept: None })
    }

    /// Returns the operations of buyers: buying, orders, wishes and ratings.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let order = souk.buyer().buy(7, 2).await?;
    /// souk.buyer().cancel(order.order_id).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn buyer(&self) -> Buyer {
        Buyer::new(self.connection.clone())
    }

    /// Returns the operations of sellers: listing and changing items, and shipping orders.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let mut sales = souk.seller().sales();
    /// while let Some(order) = sales.next().await {
    ///     souk.seller().ship(order?.order_id).await?;
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn seller(&self) -> Seller {
        Seller::new(self.connection.clone())
    }

    /// Returns the search for items, which all parties can use.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let lamps = souk.catalog().search("brass lamp").all().await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        Catalog::new(self.connection.clone())
    }

    /// Returns the caller's account: registration and mailbox.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// souk.account().register_seller("Alice", None).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn account(&self) -> Account {
        Account::new(self.connection.clone())
    }

    /// Returns the operations of operators, which require an operator's certificate.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// for party in souk.admin().parties().all().await? {
    ///     println!("{:?}", party.account);
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.connection.clone())
    }

    /// Returns the events of the caller's mailbox (see [`Events`] for what is guaranteed).
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn listen(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let mut events = souk.events();
    /// while let Some(delivery) = events.next().await {
    ///     let event = delivery?.take();
    ///     println!("{:?}", event.kind);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn events(&self) -> Events {
        Events::subscribe(self.connection.silent(), self.seen.clone(), self.consumer.clone())
    }

    /// Opens a till: a bidirectional stream that synchronizes the stock of a shop with the market. Lines are
    /// sent by [`Till::send`] and take effect **exactly once**, recognised by their numbers; sales are
    /// received. `cursor` is the sequence of the last event that was [confirmed](Till::take_in) before, 0 at
    /// first.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::{TillNotice, v1};
    /// use tokio_stream::StreamExt as _;
    ///
    /// # async fn sync(souk: souk_client::Souk) -> Result<(), Box<dyn std::error::Error>> {
    /// let (till, mut notices) = souk.till("shop", 0);
    /// while let Some(notice) = notices.next().await {
    ///     match notice {
    ///         TillNotice::Resumed { last_line } => {
    ///             let line = v1::SyncLine {
    ///                 line: last_line + 1,
    ///                 item: Some(v1::sync_line::Item::ItemId(7)),
    ///                 change: Some(v1::sync_line::Change::QuantityDelta(-1)),
    ///             };
    ///             till.send(line).await?;
    ///         }
    ///         TillNotice::Acknowledged(answer) => println!("line {} is in", answer.line),
    ///         TillNotice::Event(event) => till.take_in(event.sequence),
    ///         TillNotice::Ended(error) => return Err(error.into()),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn till(&self, name: impl Into<String>, cursor: i64) -> (Till, ReceiverStream<TillNotice>) {
        let (till, notices) = till::open(self.connection.clone(), name.into(), cursor);
        (till, ReceiverStream::new(notices))
    }

    /// Makes any unary call of the contract. The type of the request decides the RPC; an empty `request_id`
    /// is filled in. See [`Connection::call`] for the deadline and retries.
    ///
    /// # Errors
    /// The error of the last attempt.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn buy(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// use souk_client::v1::BuyItemRequest;
    ///
    /// let dry_run = BuyItemRequest { item_id: 7, quantity: 1, validate_only: true, ..Default::default() };
    /// souk.call(dry_run).await?;
    /// # Ok(()) }
    /// ```
    pub async fn call<R: Unary>(&self, request: R) -> Result<R::Response, Error> {
        self.connection.call(request).await
    }

    /// Returns the UUID that the market knows the caller by; it is in the certificate.
    #[must_use]
    pub fn party(&self) -> Uuid {
        self.connection.party()
    }

    /// Returns the underlying connection, for the streams of the contract (import, export, watches, rides)
    /// and everything else that this type does not wrap.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Reloads certificates and revocation lists when their files change, until the returned value is
    /// dropped. Open connections stay open; new ones use the new files.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The files can't be watched, or can't be used as they are now.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn run(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let _renewal = souk.follow_certificate_files()?;
    /// # Ok(()) }
    /// ```
    pub fn follow_certificate_files(&self) -> Result<Renewal, Error> {
        let users = CredentialUsers { connection: Some(self.connection.clone()), inbox: None };
        Renewal::start(&self.config, users, |text| tracing::info!("{text}"))
    }

    /// Returns the identity that it was opened with.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns how the market sees the caller: certificate, token, account and address.
    ///
    /// # Errors
    /// The call failed; for a party that has not registered with
    /// [`Reason::NotRegistered`](crate::Reason::NotRegistered).
    pub async fn who_am_i(&self) -> Result<v1::WhoAmIResponse, Error> {
        self.call(v1::WhoAmIRequest {}).await
    }
}

//! A seller or a buyer: a certificate, a connection, and events by callback or stream.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use souk_certs::{clock, credentials::Credentials, identity::Role};
use souk_client::{
    Account, Buyer, Catalog, ClientConfig, Connection, Error, Follower, Inbox, Notice, Seen, Seller,
    error::required, follow::follow,
};
use souk_proto::{Reason, v1};
use tokio::{sync::mpsc, time::timeout};

use super::local::LocalMarket;

/// The deadline for an event that must arrive.
pub const EVENT_PATIENCE: Duration = Duration::from_secs(10);

/// A party that trades.
pub struct Actor {
    /// The role in the certificate.
    pub role: Role,
    /// The name shown to other parties.
    pub name: String,
    /// The settings of its connection, as a command line would have them.
    pub config: ClientConfig,
    /// Its connection to the market.
    pub connection: Connection,
}

/// Receives the events of a party, by callback or by stream.
pub struct EventReceiver {
    source: EventSource,
    notices: mpsc::Receiver<Notice>,
}

enum EventSource {
    Callback(Inbox),
    Stream(Follower),
}

impl Actor {
    /// Mints a certificate for a party, and connects.
    pub async fn enter(market: &LocalMarket, role: Role, name: &str) -> anyhow::Result<Self> {
        let config = market.identity(role, name).await?;
        let connection = Connection::open(&config).await?;
        Ok(Self { role, name: name.to_owned(), config, connection })
    }

    /// Returns the UUID in the party's certificate, as text.
    pub fn id(&self) -> String {
        self.connection.party().to_string()
    }

    /// Registers the party, with a callback server on a port of this machine or without one.
    pub async fn register(&self, callback_port: Option<u16>) -> Result<v1::Account, Error> {
        let callback =
            callback_port.map(|port| v1::CallbackAddress { host: String::new(), port: u32::from(port) });
        let display_name = self.name.clone();
        let account = if self.role == Role::Seller {
            let request = v1::RegisterSellerRequest { display_name, callback, ..Default::default() };
            self.connection.call(request).await?.account
        } else {
            let request = v1::RegisterBuyerRequest { display_name, callback, ..Default::default() };
            self.connection.call(request).await?.account
        };
        required(account, "account")
    }

    /// Opens a callback server, as `listen --listen` does.
    pub async fn listen(&self, at: SocketAddr) -> anyhow::Result<EventReceiver> {
        let credentials =
            Credentials::load(&self.config.credentials, &self.config.trust_domain, clock::now())?;
        let listener = Inbox::bind(at).await?;
        let (inbox, notices) = Inbox::open(listener, &credentials, Seen::in_memory())?;
        Ok(EventReceiver { source: EventSource::Callback(inbox), notices })
    }

    /// Follows the mailbox through a stream, as `listen` does behind NAT.
    pub fn follow(&self) -> EventReceiver {
        let (follower, notices) = follow(self.connection.clone(), Seen::in_memory());
        EventReceiver { source: EventSource::Stream(follower), notices }
    }

    /// Returns the operations of sellers.
    pub fn seller(&self) -> Seller {
        Seller::new(self.connection.clone())
    }

    /// Returns the operations of buyers.
    pub fn buyer(&self) -> Buyer {
        Buyer::new(self.connection.clone())
    }

    /// Lists an item, such as a [`draft`].
    pub async fn sell(&self, item: v1::ItemDraft) -> Result<v1::Item, Error> {
        self.seller().sell(item).await
    }

    /// Changes those fields of an item that the draft sets.
    pub async fn update(&self, item_id: i64, item: v1::ItemDraft) -> Result<v1::Item, Error> {
        self.seller().update(item_id, item).await
    }

    /// Takes an item off the market.
    pub async fn delete(&self, item_id: i64) -> Result<v1::Item, Error> {
        self.seller().delete(item_id).await
    }

    /// Starts a ride from [`place`]`(0.0)` that delivers one order at [`place`]`(0.1)`.
    pub async fn start_ride(&self, order_id: i64) -> Result<v1::Ride, Error> {
        let request = v1::StartRideRequest {
            kind: v1::RideKind::Regular.into(),
            vehicle: "green van".into(),
            driver: "Eve".into(),
            start: place(0.0),
            stops: vec![v1::RideStop { order_id, destination: place(0.1) }],
            ..Default::default()
        };
        self.seller().start_ride(request).await
    }

    /// Buys units of an item at its current price.
    pub async fn buy(&self, item_id: i64, quantity: i64) -> Result<v1::Order, Error> {
        self.buyer().buy(item_id, quantity).await
    }

    /// Buys with a request that the caller has built.
    pub async fn buy_by(&self, request: v1::BuyItemRequest) -> Result<v1::Order, Error> {
        let bought = self.connection.call(request).await?;
        required(bought.order, "order")
    }

    /// Puts an item on the wishlist.
    pub async fn wish(&self, item_id: i64) -> Result<v1::Wish, Error> {
        self.buyer().wish(item_id).await
    }

    /// Rates a purchased item with 1 to 5 stars. An earlier rating is not replaced: the call is refused.
    pub async fn rate(&self, item_id: i64, stars: i32) -> Result<v1::RatingSummary, Error> {
        self.buyer().rate(item_id, stars).await
    }

    /// Fetches an item, in stock or not. A deleted one is not found.
    pub async fn item(&self, item_id: i64) -> Result<v1::Item, Error> {
        Catalog::new(self.connection.clone()).item(item_id).await
    }

    /// Searches for items, one page.
    pub async fn search(&self, request: v1::SearchItemRequest) -> Result<v1::SearchItemResponse, Error> {
        Catalog::new(self.connection.clone()).search_page(request).await
    }

    /// Fetches the state of the mailbox.
    pub async fn mailbox(&self) -> Result<v1::MailboxStatusResponse, Error> {
        Account::new(self.connection.clone()).mailbox().await
    }
}

impl EventReceiver {
    /// Returns the port of the callback server; `None` for a stream.
    pub fn port(&self) -> Option<u16> {
        match &self.source {
            EventSource::Callback(inbox) => Some(inbox.address().port()),
            EventSource::Stream(_) => None,
        }
    }

    /// Waits for the next event, which must arrive within [`EVENT_PATIENCE`].
    pub async fn next(&mut self) -> anyhow::Result<v1::Event> {
        timeout(EVENT_PATIENCE, self.wait()).await.context("no event came in time")?
    }

    /// Waits for the next event, without a deadline.
    pub async fn wait(&mut self) -> anyhow::Result<v1::Event> {
        loop {
            match self.notices.recv().await.context("no more events")? {
                Notice::Event(delivery) => return Ok(delivery.take()),
                Notice::Opened { .. } | Notice::CaughtUp { .. } | Notice::Interrupted { .. } => {}
                Notice::Ended(failure) => bail!("no more events: {failure}"),
            }
        }
    }

    /// Returns whether no event has arrived.
    pub fn is_silent(&mut self) -> bool {
        !matches!(self.notices.try_recv(), Ok(Notice::Event(_)))
    }

    /// Closes the callback server or the stream.
    pub async fn close(self) {
        match self.source {
            EventSource::Callback(inbox) => inbox.close().await,
            EventSource::Stream(follower) => follower.close().await,
        }
    }
}

/// Checks that a call was refused for a reason.
pub fn refused<T>(result: Result<T, Error>, reason: Reason) -> anyhow::Result<()> {
    match result {
        Ok(_) => bail!("it was not refused"),
        Err(failure) => match failure.refusal().and_then(|refusal| refusal.reason()) {
            Some(found) if found == reason => Ok(()),
            _ => bail!("it failed otherwise: {failure}"),
        },
    }
}

/// Returns a place at the latitude of London.
pub fn place(longitude: f64) -> Option<v1::Location> {
    Some(v1::Location { latitude: 51.5, longitude })
}

/// Returns an amount given in pence.
pub fn pounds(amount_minor: i64) -> Option<v1::Money> {
    Some(v1::Money { amount_minor, currency_code: "GBP".into() })
}

/// Returns the draft of an item to list.
pub fn draft(name: &str, category: &str, amount_minor: i64, quantity: i64) -> v1::ItemDraft {
    v1::ItemDraft {
        sku: None,
        name: Some(name.into()),
        description: None,
        category: Some(category.into()),
        unit_price: pounds(amount_minor),
        quantity: Some(quantity),
    }
}

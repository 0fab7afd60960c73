//! A market in memory, for the tests of programs that use one.

use std::net::SocketAddr;

use souk_certs::identity::Role;
use souk_client::{Identity, Options, Souk};

use crate::local::{LocalMarket, LocalMarketError, LocalMarketOptions, StoreKind};

/// A complete market on a free loopback port, with its store in memory and newly minted certificates.
///
/// It is the real server: TLS on both sides, tokens, limits, search. Markets share nothing, so that tests can
/// run concurrently. Must be used within a tokio runtime. A dropped market ends with the runtime;
/// [`stop`](Self::stop) waits for its end.
///
/// # Examples
/// ```
/// use souk_client::v1::{ItemDraft, Money};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let market = souk_testkit::Market::start().await?;
/// let (alice, bob) = (market.seller("alice").await?, market.buyer("bob").await?);
///
/// let lamp = ItemDraft {
///     name: Some("Desk lamp".into()),
///     category: Some("home/light".into()),
///     unit_price: Some(Money { amount_minor: 1_250, currency_code: "GBP".into() }),
///     quantity: Some(10),
///     ..ItemDraft::default()
/// };
/// let item = alice.seller().sell(lamp).await?;
/// let order = bob.buyer().buy(item.item_id, 2).await?;
/// assert_eq!(order.seller_name, "alice");
/// market.stop().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Market {
    local: LocalMarket,
}

/// The errors of a test market.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// The market could not be set up or stopped.
    #[error(transparent)]
    LocalMarket(#[from] LocalMarketError),
    /// A party could not connect or register.
    #[error(transparent)]
    Client(#[from] souk_client::Error),
}

impl Market {
    /// Starts a market.
    ///
    /// # Errors
    /// There is no free port, or the temporary folder can't be written.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn start() -> Result<(), souk_testkit::MarketError> {
    /// let market = souk_testkit::Market::start().await?;
    /// # Ok(()) }
    /// ```
    pub async fn start() -> Result<Self, MarketError> {
        let options = LocalMarketOptions { store: StoreKind::Memory, ..LocalMarketOptions::default() };
        Ok(Self { local: LocalMarket::open(options).await? })
    }

    /// Returns the address on which it listens, for [`Souk::connect`].
    pub fn address(&self) -> SocketAddr {
        self.local.address()
    }

    /// Returns a registered seller of this name, connected. The same name is the same party each time.
    ///
    /// # Errors
    /// Its certificate could not be minted, or its registration failed.
    pub async fn seller(&self, name: &str) -> Result<Souk, MarketError> {
        let souk = self.connect(Role::Seller, name).await?;
        souk.account().register_seller(name, None).await?;
        Ok(souk)
    }

    /// Returns a registered buyer of this name, connected. The same name is the same party each time.
    ///
    /// # Errors
    /// Its certificate could not be minted, or its registration failed.
    pub async fn buyer(&self, name: &str) -> Result<Souk, MarketError> {
        let souk = self.connect(Role::Buyer, name).await?;
        souk.account().register_buyer(name, None).await?;
        Ok(souk)
    }

    /// Returns the identity of a party that has not registered, for a connection with other options.
    ///
    /// # Errors
    /// Its certificate could not be minted.
    pub async fn identity(&self, role: Role, name: &str) -> Result<Identity, MarketError> {
        let config = self.local.identity(role, name).await?;
        Ok(Identity::from_files(config.credentials)?)
    }

    async fn connect(&self, role: Role, name: &str) -> Result<Souk, MarketError> {
        let identity = self.identity(role, name).await?;
        Ok(Souk::connect_with(self.address(), identity, Options::default()).await?)
    }

    /// Stops the market and removes its certificates.
    ///
    /// # Errors
    /// The market failed while it was running, or its folder can't be removed.
    pub async fn stop(self) -> Result<(), MarketError> {
        Ok(self.local.close().await?)
    }
}

#[cfg(test)]
mod tests {
    use souk_client::{Reason, v1::event::Kind};

    use super::*;
    use crate::actor::draft;

    #[tokio::test]
    async fn a_market_in_one_line_trades_and_delivers_events() {
        let market = Market::start().await.expect("a market");
        let alice = market.seller("alice").await.expect("a seller");
        let bob = market.buyer("bob").await.expect("a buyer");
        let mut events = alice.events();

        let lamp = alice.seller().sell(draft("Desk lamp", "home/light", 1_250, 3)).await.expect("listed");
        let order = bob.buyer().buy(lamp.item_id, 2).await.expect("bought");
        let refused = bob.buyer().buy(lamp.item_id, 2).await.expect_err("one is left");
        assert_eq!(refused.reason(), Some(Reason::OutOfStock));
        assert_eq!(alice.seller().sales().all().await.expect("listed"), std::slice::from_ref(&order));

        let delivery = events.next().await.expect("an event").expect("no error");
        match delivery.take().kind {
            Some(Kind::OrderPlaced(placed)) => assert_eq!(placed.order, Some(order)),
            other => panic!("not a sale: {other:?}"),
        }
        events.close().await;
        market.stop().await.expect("stopped");
    }

    #[tokio::test]
    async fn every_page_of_a_list_comes() {
        let market = Market::start().await.expect("a market");
        let alice = market.seller("alice").await.expect("a seller");
        for number in 0..5 {
            let item = draft(&format!("Lamp {number}"), "home/light", 100, 1);
            alice.seller().sell(item).await.expect("listed");
        }
        let request = souk_client::v1::DisplaySellerItemsRequest { page_size: 2, ..Default::default() };
        let items = souk_client::Pages::new(alice.connection().clone(), request);
        assert_eq!(items.all().await.expect("listed").len(), 5);
        market.stop().await.expect("stopped");
    }
}

//! The fixture: a market for one test, and parties that trade there over mutual TLS, through the client
//! library, as the command lines do.

use souk_certs::identity::Role;
use souk_client::{Account, Buyer, Catalog, Connection, Error, Seller};
use souk_proto::{Reason, v1};
pub(crate) use souk_testkit::{PATIENCE, eventually};
use souk_testkit::{
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    postgres::Database,
};

/// A running market with its database, if it has one.
pub(crate) struct Fixture {
    pub(crate) market: LocalMarket,
    /// Dropped after the market.
    database: Option<Database>,
}

/// A registered seller or buyer with its own connection.
pub(crate) struct Party {
    pub(crate) connection: Connection,
}

impl Fixture {
    pub(crate) async fn open(store: StoreKind) -> Self {
        let market =
            LocalMarket::open(LocalMarketOptions { store, ..LocalMarketOptions::default() }).await.unwrap();
        Self { market, database: None }
    }

    /// Uses a market that is already open.
    pub(crate) fn over(market: LocalMarket) -> Self {
        Self { market, database: None }
    }

    /// Opens a market on its own PostgreSQL database.
    pub(crate) async fn on_postgres() -> Self {
        let database = Database::create();
        let fixture = Self::open(StoreKind::Postgres(database.address().to_owned())).await;
        Self { database: Some(database), ..fixture }
    }

    /// Opens another market on the same database.
    pub(crate) async fn beside(&self) -> Self {
        Self { market: self.market.beside().await.unwrap(), database: None }
    }

    /// Returns the market's database, so that tests can manipulate it.
    pub(crate) fn database(&self) -> &Database {
        self.database.as_ref().expect("a market on a database of its own")
    }

    /// Connects a party that has registered at another market, with the same certificate.
    pub(crate) async fn known(&self, role: Role, name: &str) -> Party {
        self.stranger(role, name).await
    }

    pub(crate) async fn seller(&self, name: &str) -> Party {
        let party = self.stranger(Role::Seller, name).await;
        party.register_as_seller(name).await.unwrap();
        party
    }

    pub(crate) async fn buyer(&self, name: &str) -> Party {
        let party = self.stranger(Role::Buyer, name).await;
        Account::new(party.connection.clone()).register_buyer(name, None).await.unwrap();
        party
    }

    /// Connects a party with a certificate that has not registered.
    pub(crate) async fn stranger(&self, role: Role, name: &str) -> Party {
        let config = self.market.identity(role, name).await.unwrap();
        Party { connection: Connection::open(&config).await.unwrap() }
    }

    pub(crate) async fn close(self) {
        self.market.close().await.unwrap();
    }
}

/// Calls one RPC with the given fields and a new request id.
macro_rules! call {
    ($party:expr, $request:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let connection = &$party.connection;
        connection.call(souk_proto::v1::$request { $($field: $value,)* ..Default::default() }).await
    }};
}
pub(crate) use call;

pub(crate) fn pounds(amount_minor: i64) -> Option<v1::Money> {
    Some(v1::Money { amount_minor, currency_code: "GBP".into() })
}

pub(crate) fn draft(name: &str, category: &str, amount_minor: i64, quantity: i64) -> v1::ItemDraft {
    v1::ItemDraft {
        sku: None,
        name: Some(name.into()),
        description: None,
        category: Some(category.into()),
        unit_price: pounds(amount_minor),
        quantity: Some(quantity),
    }
}

impl Party {
    pub(crate) fn id(&self) -> String {
        self.connection.party().to_string()
    }

    pub(crate) fn request_id(&self) -> String {
        self.connection.request_id()
    }

    /// Returns the operations of sellers, which the market refuses to others.
    pub(crate) fn as_seller(&self) -> Seller {
        Seller::new(self.connection.clone())
    }

    /// Returns the operations of buyers, which the market refuses to others.
    pub(crate) fn as_buyer(&self) -> Buyer {
        Buyer::new(self.connection.clone())
    }

    pub(crate) async fn register_as_seller(&self, name: &str) -> Result<v1::Account, Error> {
        Account::new(self.connection.clone()).register_seller(name, None).await
    }

    pub(crate) async fn register_as_buyer(&self, name: &str) -> Result<v1::Account, Error> {
        let registered =
            call!(self, RegisterBuyerRequest { request_id: self.request_id(), display_name: name.into() })?;
        Ok(registered.account.unwrap())
    }

    pub(crate) async fn sell(&self, item: v1::ItemDraft) -> Result<v1::Item, Error> {
        self.as_seller().sell(item).await
    }

    /// Lists a lamp at 12.50 GBP and returns its number.
    pub(crate) async fn lamp(&self, quantity: i64) -> i64 {
        self.sell(draft("Lamp", "home/light", 1_250, quantity)).await.unwrap().item_id
    }

    pub(crate) async fn update(&self, item_id: i64, item: v1::ItemDraft) -> Result<v1::Item, Error> {
        self.as_seller().update(item_id, item).await
    }

    /// Sets an item's price, in pence.
    pub(crate) async fn reprice_as(
        &self,
        request_id: String,
        item_id: i64,
        amount_minor: i64,
    ) -> Result<v1::Item, Error> {
        let item = v1::ItemDraft { unit_price: pounds(amount_minor), ..Default::default() };
        let request = v1::UpdateItemRequest { request_id, item_id, item: Some(item), ..Default::default() };
        Ok(self.connection.call(request).await?.item.unwrap())
    }

    pub(crate) async fn delete(&self, item_id: i64) -> Result<v1::Item, Error> {
        self.as_seller().delete(item_id).await
    }

    pub(crate) async fn buy(&self, item_id: i64, quantity: i64) -> Result<v1::Order, Error> {
        self.as_buyer().buy(item_id, quantity).await
    }

    pub(crate) async fn buy_as(
        &self,
        request_id: String,
        item_id: i64,
        quantity: i64,
    ) -> Result<v1::Order, Error> {
        let bought =
            call!(self, BuyItemRequest { request_id: request_id, item_id: item_id, quantity: quantity })?;
        Ok(bought.order.unwrap())
    }

    pub(crate) async fn rate(&self, item_id: i64, stars: i32) -> Result<v1::RatingSummary, Error> {
        self.as_buyer().rate(item_id, stars).await
    }

    pub(crate) async fn wish(&self, item_id: i64) -> Result<v1::Wish, Error> {
        self.as_buyer().wish(item_id).await
    }

    pub(crate) async fn item(&self, item_id: i64) -> Result<v1::Item, Error> {
        Catalog::new(self.connection.clone()).item(item_id).await
    }

    pub(crate) async fn search(&self, query: &str, category: &str) -> Vec<v1::Item> {
        let found = call!(self, SearchItemRequest { query: query.into(), category: category.into() });
        found.unwrap().items
    }

    pub(crate) async fn pending(&self) -> i64 {
        Account::new(self.connection.clone()).mailbox().await.unwrap().pending_count
    }
}

/// Returns the reason of a refusal; panics if the call succeeded or failed in another way.
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> Reason {
    match result {
        Err(Error::Refused(refusal)) => refusal.reason().unwrap_or_else(|| panic!("no reason: {refusal:?}")),
        other => panic!("not refused: {other:?}"),
    }
}

/// Generates each listed test for every back end: `trade::…::memory::…`, `…::sqlite::…`, `…::postgres::…`.
macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let fixture = crate::fixture::Fixture::open(souk_testkit::local::StoreKind::Memory).await;
                super::$name(&fixture).await;
                fixture.close().await;
            })+
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let fixture = crate::fixture::Fixture::open(souk_testkit::local::StoreKind::Sqlite).await;
                super::$name(&fixture).await;
                fixture.close().await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if souk_testkit::postgres::is_there() {
                    let fixture = crate::fixture::Fixture::on_postgres().await;
                    super::$name(&fixture).await;
                    fixture.close().await;
                }
            })+
        }
    };
}
pub(crate) use on_every_store;

//! Replays a log on its own market.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use souk_certs::identity::Role;
use souk_client::error::required;
use souk_proto::v1;
use souk_testkit::{
    actor::{Actor, pounds},
    local::{LocalMarket, LocalMarketOptions},
};

use super::log::{Books, OrderLog, Purchase};

const SELLERS: usize = 4;
/// The maximum number of customers with an open connection.
const OPEN_CUSTOMERS: usize = 64;
/// The number of items that are listed concurrently.
const LISTINGS_AT_ONCE: usize = 32;
/// The maximum page size of the contract.
const PAGE: i32 = 200;
const CATEGORY: &str = "gifts";

/// A market, its sellers, and the most recent customers.
pub(super) struct Trade {
    market: LocalMarket,
    sellers: Vec<Actor>,
    listed: BTreeMap<String, Listed>,
    customers: BTreeMap<String, Actor>,
    lately: VecDeque<String>,
}

struct Listed {
    item_id: i64,
    pence: i64,
}

/// Chooses the seller of a stock code. The choice is stable, so that a code is always sold by the same one.
fn seller_of(stock_code: &str) -> usize {
    stock_code.bytes().map(usize::from).sum::<usize>() % SELLERS
}

impl Trade {
    pub(super) async fn open() -> anyhow::Result<Self> {
        let market = LocalMarket::open(LocalMarketOptions::default()).await?;
        let mut sellers = Vec::with_capacity(SELLERS);
        for number in 1..=SELLERS {
            let seller = Actor::enter(&market, Role::Seller, &format!("Seller {number}")).await?;
            seller.register(None).await?;
            sellers.push(seller);
        }
        Ok(Self {
            market,
            sellers,
            listed: BTreeMap::new(),
            customers: BTreeMap::new(),
            lately: VecDeque::new(),
        })
    }

    /// Lists every item of the log, with exactly the units that are bought later.
    pub(super) async fn list(&mut self, log: &OrderLog) -> anyhow::Result<()> {
        let sellers = &self.sellers;
        let listings = stream::iter(&log.items).map(|(code, item)| async move {
            let draft = v1::ItemDraft {
                sku: None,
                name: Some(item.description.clone()),
                description: Some(format!("Stock code {code}")),
                category: Some(CATEGORY.to_owned()),
                unit_price: pounds(item.pence),
                // A new listing needs at least one unit; the stock is set to 0 below.
                quantity: Some(item.demand.max(1)),
            };
            let seller = &sellers[seller_of(code)];
            let listed = seller.sell(draft).await.with_context(|| format!("listing {code}"))?;
            if item.demand == 0 {
                let none = v1::ItemDraft { quantity: Some(0), ..Default::default() };
                seller.update(listed.item_id, none).await?;
            }
            anyhow::Ok((code.clone(), Listed { item_id: listed.item_id, pence: item.pence }))
        });
        self.listed = listings.buffer_unordered(LISTINGS_AT_ONCE).try_collect().await?;
        Ok(())
    }

    /// Makes every purchase, in the order of the file.
    pub(super) async fn buy_all(&mut self, log: &OrderLog) -> anyhow::Result<Books> {
        let mut books = Books::default();
        for purchase in &log.purchases {
            let order = self.buy(purchase).await.with_context(|| format!("line {}", purchase.line))?;
            books.add(order.quantity, required(order.total_price, "total_price")?.amount_minor);
        }
        Ok(books)
    }

    async fn buy(&mut self, purchase: &Purchase) -> anyhow::Result<v1::Order> {
        self.set_price(purchase).await?;
        let item_id = self.listed.get(&purchase.stock_code).context("the item was not listed")?.item_id;
        let customer = self.customer(&purchase.customer).await?;
        let request = v1::BuyItemRequest {
            item_id,
            quantity: purchase.quantity,
            // A failed price change must show up as an error here, not as other totals at the end.
            expected_unit_price: pounds(purchase.pence),
            ..Default::default()
        };
        Ok(customer.buy_by(request).await?)
    }

    /// Changes the item's price if the line has another one.
    async fn set_price(&mut self, purchase: &Purchase) -> anyhow::Result<()> {
        let seller = &self.sellers[seller_of(&purchase.stock_code)];
        let listed = self.listed.get_mut(&purchase.stock_code).context("the item was not listed")?;
        if listed.pence != purchase.pence {
            let change = v1::ItemDraft { unit_price: pounds(purchase.pence), ..Default::default() };
            seller.update(listed.item_id, change).await?;
            listed.pence = purchase.pence;
        }
        Ok(())
    }

    /// Returns a connected customer. If too many are connected, the least recently used one is dropped.
    async fn customer(&mut self, number: &str) -> anyhow::Result<&Actor> {
        if !self.customers.contains_key(number) {
            if self.lately.len() == OPEN_CUSTOMERS
                && let Some(gone) = self.lately.pop_front()
            {
                self.customers.remove(&gone);
            }
            let customer = Actor::enter(&self.market, Role::Buyer, &format!("Customer {number}")).await?;
            customer.register(None).await?;
            self.customers.insert(number.to_owned(), customer);
        } else {
            self.lately.retain(|lately| lately != number);
        }
        self.lately.push_back(number.to_owned());
        self.customers.get(number).context("the customer has just entered")
    }

    /// Fetches the totals of all sales from the market.
    pub(super) async fn sales(&self) -> anyhow::Result<Books> {
        let mut books = Books::default();
        for seller in &self.sellers {
            let mut page_token = String::new();
            loop {
                let request = v1::ListSalesRequest { page_size: PAGE, page_token, ..Default::default() };
                let page = seller.connection.call(request).await?;
                for order in page.orders {
                    books.add(order.quantity, required(order.total_price, "total_price")?.amount_minor);
                }
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
        }
        Ok(books)
    }

    /// Fetches the number of units that are still in stock.
    pub(super) async fn remaining(&self) -> anyhow::Result<i64> {
        let mut remaining = 0;
        for seller in &self.sellers {
            let mut page_token = String::new();
            loop {
                let request = v1::DisplaySellerItemsRequest { page_size: PAGE, page_token, withdrawn: false };
                let page = seller.connection.call(request).await?;
                remaining += page.items.iter().map(|item| item.quantity).sum::<i64>();
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
        }
        Ok(remaining)
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        Ok(self.market.close().await?)
    }
}

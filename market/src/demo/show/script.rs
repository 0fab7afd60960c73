//! The demo's script: three sellers, three buyers, a real catalogue, and their trade.

use std::{fmt::Display, net::SocketAddr, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use souk_certs::identity::Role;
use souk_cli::{format_money, view::sentence};
use souk_proto::v1;
use souk_testkit::{
    actor::{Actor, EventReceiver, draft, pounds},
    local::{LocalMarket, LocalMarketOptions},
};
use tokio::task::JoinSet;

use super::stage::{Stage, Who};
use crate::demo::catalogue;

/// The initial stock of each item.
const UNITS: i64 = 12;
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// The random seed, fixed so that every demo shows the same trade.
const SEED: u64 = 7;

/// The demo's market and its parties.
pub(super) struct Script {
    stage: Stage,
    market: LocalMarket,
    sellers: Vec<Actor>,
    buyers: Vec<Actor>,
    items: Vec<v1::Item>,
    listeners: JoinSet<()>,
}

impl Script {
    /// Opens the market, registers the parties and lists the items.
    pub(super) async fn set(listen: SocketAddr, stage: Stage) -> anyhow::Result<Self> {
        let market =
            LocalMarket::open(LocalMarketOptions { listen, ..LocalMarketOptions::default() }).await?;
        let address = market.address();
        stage.say(Who::Market, format!("a market is open at {address}, with certificates made just for it"));
        let (mut sellers, mut buyers, mut listeners) = (Vec::new(), Vec::new(), JoinSet::new());
        for (role, name, has_callback) in [
            (Role::Seller, "Alice", true),
            (Role::Seller, "Carol", true),
            (Role::Seller, "Erin", false),
            (Role::Buyer, "Bob", true),
            (Role::Buyer, "Dave", false),
            (Role::Buyer, "Frank", false),
        ] {
            let actor = Actor::enter(&market, role, name).await?;
            let events = if has_callback {
                let events = actor.listen(ANY_PORT).await?;
                actor.register(events.port()).await?;
                events
            } else {
                actor.register(None).await?;
                actor.follow()
            };
            let way = if has_callback { "a callback server" } else { "a stream" };
            stage.say(who(role), format!("{name}, a {role}, has registered and gets events by {way}"));
            listeners.spawn(print_events(stage.clone(), name, events));
            if role == Role::Seller { &mut sellers } else { &mut buyers }.push(actor);
        }
        let mut items = Vec::new();
        for (number, draft) in catalogue::drafts(UNITS)?.into_iter().enumerate() {
            items.push(sellers[number % sellers.len()].sell(draft).await?);
        }
        stage.say(Who::Market, format!("{} items are listed; {}", items.len(), catalogue::ATTRIBUTION));
        Ok(Self { stage, market, sellers, buyers, items, listeners })
    }

    pub(super) fn market(&self) -> &LocalMarket {
        &self.market
    }

    /// Shows one of each: a search, a purchase, a wish, a price change, a sold-out item, a rating.
    pub(super) async fn opening(&self, pace: Duration) -> anyhow::Result<()> {
        let (alice, bob, dave) = (&self.sellers[0], &self.buyers[0], &self.buyers[1]);
        let lamp = alice.sell(draft("Brass lantern", "home/lighting", 1_250, 2)).await?.item_id;
        self.stage.wait(pace).await;
        let found =
            bob.search(v1::SearchItemRequest { query: "lanten".into(), ..Default::default() }).await?;
        self.buyer(format!("Bob searches for \"lanten\" (a typo) and finds {}", found.total_size));
        self.stage.wait(pace).await;
        dave.wish(lamp).await?;
        self.buyer("Dave puts Alice's brass lantern on his wishlist");
        self.stage.wait(pace).await;
        let order = bob.buy(lamp, 2).await?;
        self.buyer(format!("Bob buys both for {}", format_money(order.total_price.as_ref())));
        self.stage.wait(pace).await;
        if let Err(refusal) = dave.buy(lamp, 1).await {
            self.buyer(format!("Dave comes too late: {refusal}"));
        }
        self.stage.wait(pace).await;
        let change = v1::ItemDraft { unit_price: pounds(1_100), quantity: Some(5), ..Default::default() };
        alice.update(lamp, change).await?;
        self.seller("Alice restocks, and lowers the price to 11.00 GBP");
        self.stage.wait(pace).await;
        let rating = bob.rate(lamp, 5).await?;
        self.buyer(format!("Bob gives the lantern 5 stars; its mean is {:.1}", rating.mean));
        self.stage.wait(pace).await;
        Ok(())
    }

    /// Trades until the future is dropped.
    pub(super) async fn go_on(&self, pace: Duration) -> anyhow::Result<()> {
        let mut random = StdRng::seed_from_u64(SEED);
        loop {
            let (Some(buyer), Some(item)) = (self.buyers.choose(&mut random), self.items.choose(&mut random))
            else {
                return Ok(());
            };
            let units = random.random_range(1..=3);
            match buyer.buy(item.item_id, units).await {
                Ok(order) => {
                    let price = format_money(order.total_price.as_ref());
                    self.buyer(format!("{} buys {units} × {} for {price}", buyer.name, order.item_name));
                }
                Err(refusal) => {
                    self.buyer(format!("{} can't buy {units} × {}: {refusal}", buyer.name, item.name));
                    self.restock(item).await?;
                }
            }
            self.stage.wait(pace).await;
        }
    }

    async fn restock(&self, item: &v1::Item) -> anyhow::Result<()> {
        if let Some(seller) = self.sellers.iter().find(|seller| seller.id() == item.seller_id) {
            let change = v1::ItemDraft { quantity: Some(UNITS), ..Default::default() };
            seller.update(item.item_id, change).await?;
            self.seller(format!("{} restocks {}", seller.name, item.name));
        }
        Ok(())
    }

    fn seller(&self, text: impl Display) {
        self.stage.say(Who::Seller, text);
    }

    fn buyer(&self, text: impl Display) {
        self.stage.say(Who::Buyer, text);
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        drop(self.listeners);
        Ok(self.market.close().await?)
    }
}

fn who(role: Role) -> Who {
    if role == Role::Seller { Who::Seller } else { Who::Buyer }
}

async fn print_events(stage: Stage, name: &'static str, mut events: EventReceiver) {
    while let Ok(event) = events.wait().await {
        stage.say(Who::Notified, format!("    → {name} is notified: {}", sentence(&event)));
    }
}

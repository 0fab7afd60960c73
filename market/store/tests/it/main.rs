//! The promises of every back end, tested without a ledger or a network around it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed")]

mod another_reader;
mod archive;
mod audit;
mod backlogs;
mod cleaning;
mod clock;
mod consumers;
mod copies;
mod dead_letters;
mod deliveries;
mod disk_use;
mod expanding;
mod files;
mod foreign;
mod held_up;
mod horizon;
mod lane;
mod market_keys;
mod merging;
mod model;
mod names;
mod ranking;
mod ratings;
mod referring;
mod rejections;
mod reliability;
mod rides;
mod shared_database;
mod tills;
mod withdrawing;

use std::{path::PathBuf, time::Duration};

use souk_domain::{
    Action, Callback, Category, Command, Context, Description, DisplayName, EventId, Fingerprint, ImportRow,
    Item, ItemId, ItemListing, ItemName, Keys, Money, OrderLine, OrderQuantity, Origin, Outcome, PartyId,
    Quantity, Refusal, RequestId, RequestKey, Role, Sku, Stars, Timestamp, action, decide,
};
use souk_store::{FeedEntry, FeedPosition, Lane, LeaseOwner, Receipt, Store};
use tempfile::TempDir;
use uuid::Uuid;

use souk_testkit::{eventually, postgres::Database};

/// A store under test, driven as a ledger does: one batch at a time.
pub(crate) struct Shop {
    store: Store,
    lane: Box<dyn Lane>,
    now: Timestamp,
    /// How far the wall clock is ahead of the steady one.
    wall_ahead: Duration,
    /// How far it is behind.
    wall_behind: Duration,
    requests: u128,
    events: u128,
    folder: Option<TempDir>,
    /// Dropped with the shop, after its store.
    database: Option<Database>,
}

const ALICE: u128 = 1;
const CAROL: u128 = 2;
const BOB: u128 = 11;
const DAVE: u128 = 12;

const HOUR: Duration = Duration::from_secs(3_600);

fn party(number: u128) -> PartyId {
    PartyId(Uuid::from_u128(number))
}

fn owner(number: u128) -> LeaseOwner {
    LeaseOwner(Uuid::from_u128(number))
}

impl Shop {
    pub(crate) async fn memory() -> Self {
        Self::with(souk_store::memory::open(), None).await
    }

    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = souk_store::sqlite::open(&folder.path().join("shop.db")).unwrap();
        Self::with(store, Some(folder)).await
    }

    pub(crate) async fn postgres() -> Self {
        let database = Database::create();
        let store = database.open().await;
        let shop = Self::with(store, None).await;
        Self { database: Some(database), ..shop }
    }

    /// Opens another market's store on the same database.
    async fn beside(&self, first_request: u128) -> Self {
        let store = self.database().open().await;
        let now = self.now;
        Self { now, requests: first_request, events: first_request, ..Self::over(store, None) }
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("a store in a database")
    }

    async fn with(store: Store, folder: Option<TempDir>) -> Self {
        let mut shop = Self::over(store, folder);
        for (number, role) in
            [(ALICE, Role::Seller), (CAROL, Role::Seller), (BOB, Role::Buyer), (DAVE, Role::Buyer)]
        {
            shop.act(number, register(role, number)).await.unwrap();
        }
        shop
    }

    fn over(mut store: Store, folder: Option<TempDir>) -> Self {
        let lane = store.lanes.remove(0);
        Self {
            store,
            lane,
            now: Timestamp(1_000_000),
            wall_ahead: Duration::ZERO,
            wall_behind: Duration::ZERO,
            requests: 0,
            events: 0,
            folder,
            database: None,
        }
    }

    /// Returns the first entries of the feed, as soon as there are that many. PostgreSQL shows a change only when every
    /// transaction that began before has ended, also those of other tests' databases on the same server.
    async fn feed(&self, after: FeedPosition, entries: usize) -> Vec<FeedEntry> {
        let read = async || self.store.reads.item_feed(after, 10).await.unwrap();
        eventually("the feed has the changes", async || read().await.len() >= entries).await;
        read().await
    }

    /// Closes the store and reopens its file.
    async fn reopen(self) -> Self {
        let Self { store, lane, now, requests, events, folder, .. } = self;
        drop((store, lane));
        let path = path_in(folder.as_ref());
        let again = Self::over(souk_store::sqlite::open(&path).unwrap(), folder);
        Self { now, requests, events, ..again }
    }

    fn command(&mut self, caller: u128, action: Action) -> Command {
        self.requests += 1;
        let id = RequestId(Uuid::from_u128(self.requests));
        let request = RequestKey { id, fingerprint: Fingerprint([self.requests as u8; 16]) };
        let origin = Origin { role: "party", address: None };
        Command { caller: party(caller), request, validate_only: false, action, origin }
    }

    pub(crate) async fn act(&mut self, caller: u128, action: Action) -> Result<Outcome, Refusal> {
        let command = self.command(caller, action);
        self.batch(&[command]).await.0.remove(0)
    }

    /// Carries out commands in one transaction.
    async fn batch(&mut self, commands: &[Command]) -> (Vec<Result<Outcome, Refusal>>, Option<Receipt>) {
        self.now = self.now.plus(Duration::from_micros(1));
        let mut keys = Keys::default();
        for command in commands {
            command.add_keys(&mut keys);
        }
        let mut rows = self.lane.load(&keys).await.unwrap();
        let events = &mut self.events;
        let mut event_ids = || {
            *events += 1;
            EventId(Uuid::from_u128(*events))
        };
        let now = self.now.plus(self.wall_ahead).minus(self.wall_behind);
        let mut context = Context { now, steady_now: self.now, event_ids: &mut event_ids };
        let outcomes = commands.iter().map(|command| decide(&mut rows, command, &mut context)).collect();
        if rows.is_unchanged() {
            self.lane.abandon().await;
            return (outcomes, None);
        }
        (outcomes, Some(self.lane.save(&rows).await.unwrap()))
    }

    async fn lamp(&mut self, seller: u128, units: i64) -> ItemId {
        self.listed(seller, "Lamp", units).await.id
    }

    async fn listed(&mut self, seller: u128, name: &str, units: i64) -> Item {
        match self.act(seller, sell(name, units)).await.unwrap() {
            Outcome::Item(item) => item,
            other => panic!("{other:?}"),
        }
    }

    /// Registers a party with a callback, so that its mailbox can be claimed.
    async fn with_callback(&mut self, number: u128, role: Role) {
        let callback = Some(Callback { host: "192.0.2.7".into(), port: 7444 });
        let display_name = DisplayName::parse(&format!("party {number}")).unwrap();
        self.act(number, Action::Register(action::Register { role, display_name, callback })).await.unwrap();
    }
}

fn path_in(folder: Option<&TempDir>) -> PathBuf {
    folder.expect("a store in a file").path().join("shop.db")
}

fn register(role: Role, number: u128) -> Action {
    let display_name = DisplayName::parse(&format!("party {number}")).unwrap();
    Action::Register(action::Register { role, display_name, callback: None })
}

fn sell(name: &str, units: i64) -> Action {
    Action::Sell(action::Sell(listing(name, units)))
}

fn listing(name: &str, units: i64) -> ItemListing {
    ItemListing {
        sku: None,
        name: ItemName::parse(name).unwrap(),
        description: Description::parse("").unwrap(),
        category: Category::parse("home/light").unwrap(),
        unit_price: Money::price(1_250, "GBP").unwrap(),
        quantity: Quantity::parse_listing(units).unwrap(),
    }
}

fn sku(number: u8) -> Sku {
    Sku::parse(&format!("SKU-{number}")).unwrap()
}

/// Lists an item under a SKU.
fn sell_as(number: u8, units: i64) -> Action {
    Action::Sell(action::Sell(ItemListing { sku: Some(sku(number)), ..listing("Thing", units) }))
}

/// Brings the item with a SKU to a stock.
fn import(number: u8, units: i64) -> Action {
    let listing = ItemListing { sku: Some(sku(number)), ..listing("Thing", units) };
    Action::Import(action::Import(vec![ImportRow::of(1, listing)]))
}

fn buy(item: ItemId, units: i64) -> Action {
    Action::Buy(action::Buy(line(item, units)))
}

/// Rates an item, whether or not it has a rating by the buyer.
fn rate(item: ItemId, stars: i32) -> Action {
    Action::Rate(action::Rate { item, stars: Stars::parse(stars).unwrap(), update_existing: true })
}

pub(crate) fn line(item: ItemId, units: i64) -> OrderLine {
    OrderLine { item, quantity: OrderQuantity::parse(units).unwrap(), expected_unit_price: None }
}

fn reprice(item: ItemId, amount_minor: i64) -> Action {
    let patch = souk_domain::ItemPatch {
        unit_price: Some(Money::price(amount_minor, "GBP").unwrap()),
        ..Default::default()
    };
    Action::Update(action::Update { item, patch, expected_version: None })
}

/// Generates each listed test for every back end: `…::memory::…`, `…::sqlite::…`, `…::postgres::…`.
macro_rules! on_every_back_end {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::Shop::memory().await).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::Shop::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                if souk_testkit::postgres::is_there() {
                    super::$name(crate::Shop::postgres().await).await;
                }
            })+
        }
    };
}
pub(crate) use on_every_back_end;

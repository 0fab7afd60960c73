//! Counts what a purchase costs the lane: statements, steps of SQLite's virtual machine, and what is written to the log.

use std::{collections::BTreeMap, path::Path};

use rusqlite::Connection;
use souk_domain::{Command, DisplayName, ItemId, PartyId, Role, Timestamp, action};
use uuid::Uuid;

use super::{checkpoint::Limits, database_file::companion, open_with, replans};
use crate::{
    Lane, OpeningProgress, Store,
    fixture::{buy, command, decided_at, lamp},
};

const SELLERS: u128 = 20;
const BUYERS: u128 = 400;
const ITEMS: i64 = 1_000;
/// The purchases in a batch, as under load.
const BATCH: usize = 64;
const BATCHES: usize = 40;
/// What an order may cost at most.
const STATEMENTS: f64 = 7.0;
const LOG_BYTES: f64 = 7_900.0;
const PAGE: usize = 4_096;
/// A frame of the log is a page with a header.
const FRAME: usize = 24 + PAGE;

fn seller(number: u128) -> PartyId {
    PartyId(Uuid::from_u128(1_000_000 + number))
}

fn buyer(number: u128) -> PartyId {
    PartyId(Uuid::from_u128(2_000_000 + number))
}

/// A shop with many sellers and buyers, and how many requests it has had.
struct Shop {
    lane: Box<dyn Lane>,
    _store: Store,
    requests: u128,
    random: u64,
}

impl Shop {
    async fn open(path: &Path) -> Self {
        let mut store = open_with(path, Limits::NEVER, &OpeningProgress::default()).unwrap();
        let mut shop = Self { lane: store.lanes.remove(0), _store: store, requests: 0, random: 1 };
        let register = |party, role| {
            let display_name = DisplayName::parse(&format!("party {party:?}")).unwrap();
            (party, action::Register { role, display_name, callback: None }.into())
        };
        let sellers = (0..SELLERS).map(|number| register(seller(number), Role::Seller));
        let parties = sellers.chain((0..BUYERS).map(|number| register(buyer(number), Role::Buyer)));
        shop.carry_out(parties.collect()).await;
        let item = |number| (seller(number as u128 % SELLERS), lamp().into());
        shop.carry_out((0..ITEMS).map(item).collect()).await;
        shop
    }

    /// Carries out commands in one batch, all of which must be accepted.
    async fn carry_out(&mut self, actions: Vec<(PartyId, souk_domain::Action)>) {
        let mut keys = souk_domain::Keys::default();
        let mut commands: Vec<Command> = Vec::new();
        for (party, action) in actions {
            self.requests += 1;
            commands.push(command(self.requests, party, action));
        }
        commands.iter().for_each(|command| command.add_keys(&mut keys));
        // As the ledger does, since the lane notices repetitions.
        keys.requests.clear();
        let now = Timestamp(i64::try_from(self.requests).unwrap());
        let mut rows = self.lane.load(&keys).await.unwrap();
        for command in &commands {
            decided_at(&mut rows, command, now).unwrap();
        }
        self.lane.save(&rows).await.unwrap();
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    async fn buy(&mut self, batch: usize) {
        let bought = (0..batch).map(|_| {
            let item = ItemId(1 + i64::try_from(self.random(ITEMS as u64)).unwrap());
            (buyer(u128::from(self.random(BUYERS as u64))), buy(item).into())
        });
        let bought = bought.collect();
        self.carry_out(bought).await;
    }
}

/// Counts the pages that were written to the log after a number of bytes, by table and index.
fn written(path: &Path, after: usize) -> BTreeMap<String, usize> {
    let log = std::fs::read(companion(path, "-wal")).unwrap();
    let connection = Connection::open(path).unwrap();
    let mut pages = connection.prepare("SELECT pageno, name FROM dbstat").unwrap();
    let pages = pages.query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, String>(1)?))).unwrap();
    let names: BTreeMap<u32, String> = pages.map(Result::unwrap).collect();
    let mut written = BTreeMap::new();
    for frame in log[after..].chunks_exact(FRAME) {
        let page = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        let name = names.get(&page).cloned().unwrap_or_else(|| "other".to_owned());
        *written.entry(name).or_default() += 1;
    }
    written
}

#[tokio::test]
async fn a_purchase_costs_few_statements_and_little_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let mut shop = Shop::open(&path).await;
    for _ in 0..BATCHES {
        shop.buy(BATCH).await;
    }
    let before = usize::try_from(std::fs::metadata(companion(&path, "-wal")).unwrap().len()).unwrap();
    replans::take_cost();
    for _ in 0..BATCHES {
        shop.buy(BATCH).await;
    }
    let cost = replans::take_cost();
    let orders = BATCH * BATCHES;
    let each = |count: u64| count as f64 / orders as f64;
    let written = written(&path, before);
    let bytes = each((written.values().sum::<usize>() * FRAME) as u64);
    println!(
        "{:.2} statements, {:.0} steps, {bytes:.0} bytes of log for each order",
        each(cost.statements),
        each(cost.steps)
    );
    for (name, pages) in &written {
        println!("  {name}: {:.3} pages", each(*pages as u64));
    }
    assert!(each(cost.statements) <= STATEMENTS, "{:.2} statements for each order", each(cost.statements));
    assert!(bytes <= LOG_BYTES, "{bytes:.0} bytes of log for each order: {written:?}");
}

/// What a rating reads of a buyer's orders, beside the counts.
#[tokio::test]
async fn purchases_are_counted_as_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let mut shop = Shop::open(&path).await;
    for item in 1..=20 {
        shop.carry_out((0..100).map(|_| (buyer(0), buy(ItemId(item)).into())).collect()).await;
    }
    let uncounted =
        "SELECT count(*) FROM orders WHERE id > (SELECT coalesce(max(through), 0) FROM purchase_through)";
    let uncounted: i64 = Connection::open(&path).unwrap().query_row(uncounted, [], |row| row.get(0)).unwrap();
    // Each order has its turn by chance: more are left once in 10^10 times.
    assert!(uncounted < 1_500, "{uncounted} of 2,000 orders");
}

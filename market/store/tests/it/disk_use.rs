//! How much of a SQLite file an order takes for good, after everything that is kept for a time has been removed.
//!
//! To see the figures of each table and index: `cargo test -p souk-store --test it -- disk_use --nocapture`.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use souk_domain::{
    Action, Command, Context, DisplayName, EventId, Fingerprint, ItemId, Keys, OrderId, Origin, Outcome,
    PartyId, RequestId, RequestKey, Role, Sequence, action, decide,
};
use uuid::Uuid;

use super::{Shop, buy, path_in, sell};

const BUYERS: usize = 1_500;
const SELLERS: usize = 60;
const ITEMS: usize = 600;
const ORDERS: usize = 15_000;
/// The orders arrive over this time.
const DAYS: u64 = 31;
/// The number of commands in a transaction.
const BATCH: usize = 100;

const GIVEN: [&str; 8] = ["Alice", "Benedikt", "Chiara", "Dmitri", "Eleanor", "Femi", "Guadalupe", "Hiro"];
const FAMILY: [&str; 8] = ["Okafor", "Lindqvist", "Rossi", "Novak", "Haddad", "Tanaka", "Smith", "Fernandez"];
const THINGS: [&str; 8] =
    ["desk lamp", "bookshelf", "tea pot", "wool blanket", "bicycle bell", "chess set", "vase", "field guide"];

/// Ids, choices and pauses as a market sees them: they don't compress, and are the same in each run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll()).unwrap() % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn bits(&mut self) -> u128 {
        u128::from(self.roll()) << 64 | u128::from(self.roll())
    }

    fn party(&mut self) -> PartyId {
        PartyId(uuid::Builder::from_random_bytes(self.bits().to_be_bytes()).into_uuid())
    }

    fn name(&mut self) -> DisplayName {
        let (given, family) = (self.pick(&GIVEN), self.pick(&FAMILY));
        // No two parties have one name.
        DisplayName::parse(&format!("{given} {family} {}", self.roll() % 1_000_000_000)).unwrap()
    }
}

/// A market in a file, with many parties and items.
struct Bazaar {
    shop: Shop,
    dice: Dice,
    buyers: Vec<PartyId>,
    sellers: Vec<PartyId>,
    items: Vec<(PartyId, ItemId)>,
}

impl Bazaar {
    async fn open() -> Self {
        let mut dice = Dice(1);
        let [buyers, sellers] =
            [BUYERS, SELLERS].map(|count| (0..count).map(|_| dice.party()).collect::<Vec<_>>());
        let mut bazaar = Self { shop: Shop::sqlite().await, dice, buyers, sellers, items: Vec::new() };
        let parties = bazaar.sellers.iter().map(|seller| (*seller, Role::Seller));
        let parties: Vec<_> =
            parties.chain(bazaar.buyers.iter().map(|buyer| (*buyer, Role::Buyer))).collect();
        let registered = parties
            .into_iter()
            .map(|(party, role)| {
                let display_name = bazaar.dice.name();
                (party, Action::Register(action::Register { role, display_name, callback: None }))
            })
            .collect();
        bazaar.carry_out(registered, Duration::ZERO).await;
        let listed = (0..ITEMS)
            .map(|number| {
                let name = format!("{} no. {number}", bazaar.dice.pick(&THINGS));
                (bazaar.dice.pick(&bazaar.sellers), sell(&name, 1_000_000))
            })
            .collect();
        for outcome in bazaar.carry_out(listed, Duration::ZERO).await {
            let Outcome::Item(item) = outcome else { panic!("{outcome:?}") };
            bazaar.items.push((item.seller, item.id));
        }
        bazaar
    }

    /// Carries out commands that arrive one by one over a time, from parties at addresses of their own.
    async fn carry_out(&mut self, actions: Vec<(PartyId, Action)>, over: Duration) -> Vec<Outcome> {
        let pause = usize::try_from(over.as_micros()).unwrap() / actions.len();
        let mut outcomes = Vec::new();
        for batch in actions.chunks(BATCH) {
            let mut batch: Vec<_> = batch
                .iter()
                .map(|(caller, action)| {
                    let pause = Duration::from_micros(1 + self.dice.below(2 * pause + 1) as u64);
                    self.shop.now = self.shop.now.plus(pause);
                    (self.shop.now, self.command(*caller, action.clone()))
                })
                .collect();
            let mut keys = Keys::default();
            batch.iter().for_each(|(_, command)| command.add_keys(&mut keys));
            let mut rows = self.shop.lane.load(&keys).await.unwrap();
            for (now, command) in batch.drain(..) {
                let mut event_ids = || EventId(Uuid::from_u128(self.dice.bits()));
                let mut context = Context { now, steady_now: now, event_ids: &mut event_ids };
                outcomes.push(decide(&mut rows, &command, &mut context).unwrap());
            }
            self.shop.lane.save(&rows).await.unwrap();
        }
        outcomes
    }

    fn command(&mut self, caller: PartyId, action: Action) -> Command {
        let millis = u64::try_from(self.shop.now.0 / 1_000).unwrap();
        let bytes = self.dice.bits().to_be_bytes();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, bytes[..10].try_into().unwrap());
        let request = RequestKey { id: RequestId(id.into_uuid()), fingerprint: Fingerprint(bytes) };
        let host = IpAddr::from([10, 0, caller.0.as_bytes()[1], caller.0.as_bytes()[2]]);
        let role = if self.sellers.contains(&caller) { "seller" } else { "buyer" };
        Command {
            caller,
            request,
            validate_only: false,
            action,
            origin: Origin { role, address: Some(host) },
        }
    }

    async fn trade(&mut self) -> Vec<(PartyId, OrderId)> {
        let bought = (0..ORDERS)
            .map(|_| {
                let (buyer, (_, item)) = (self.dice.pick(&self.buyers), self.dice.pick(&self.items));
                (buyer, buy(item, 1 + self.dice.below(3) as i64))
            })
            .collect();
        let days = Duration::from_secs(DAYS * 24 * 3_600);
        let outcomes = self.carry_out(bought, days).await;
        let orders = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Order(order) => (order.seller, order.id),
            other => panic!("{other:?}"),
        });
        orders.collect()
    }

    /// Removes everything that is not kept for good, as acknowledgements, the end of retention and the upkeep do.
    async fn clean_up(&self) {
        let store = &self.shop.store;
        for party in self.buyers.iter().chain(&self.sellers) {
            let state = store.mailboxes.state(*party).await.unwrap().unwrap();
            store.mailboxes.acknowledge(*party, Sequence(state.last_sequence)).await.unwrap();
        }
        let later = self.shop.now.plus(Duration::from_secs(1));
        while store.mailboxes.forget_requests(later, 256).await.unwrap() > 0 {}
        while store.upkeep.compact_audit().await.unwrap() > 0 {}
    }

    /// Returns the bytes of each table and index, those of entire pages.
    fn bytes(&self) -> BTreeMap<String, f64> {
        let file = rusqlite::Connection::open(path_in(self.shop.folder.as_ref())).unwrap();
        let mut bytes = file.prepare("SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE").unwrap();
        bytes.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Returns the bytes of an audit entry in the sealed blocks. The newest entries are rows, a fixed number of them.
    fn bytes_per_audit_entry(&self) -> f64 {
        let file = rusqlite::Connection::open(path_in(self.shop.folder.as_ref())).unwrap();
        let sql = "SELECT sum(last - first + 1) FROM audit_block";
        let entries: f64 = file.query_row(sql, [], |row| row.get(0)).unwrap();
        let bytes = self.bytes();
        (bytes["audit_block"] + bytes["sqlite_autoindex_audit_block_1"]) / entries
    }

    /// Returns the bytes that an order takes for good, by table and index.
    fn bytes_per_order(&self, before: &BTreeMap<String, f64>, entries: f64) -> BTreeMap<String, f64> {
        let grown =
            self.bytes().into_iter().filter(|(name, _)| !name.contains("audit")).map(|(name, bytes)| {
                let before = before.get(&name).copied().unwrap_or_default();
                (name, (bytes - before) / ORDERS as f64)
            });
        let mut grown: BTreeMap<_, _> = grown.filter(|(_, bytes)| bytes.abs() >= 0.5).collect();
        grown.insert("audit_block".into(), entries * self.bytes_per_audit_entry());
        grown
    }
}

fn sum(what: &str, bytes: &BTreeMap<String, f64>) -> f64 {
    let sum = bytes.values().sum();
    println!("{what}: {sum:.0} bytes: {bytes:.1?}");
    sum
}

#[tokio::test]
async fn order_takes_few_bytes_for_good() {
    let mut bazaar = Bazaar::open().await;
    bazaar.clean_up().await;
    let before = bazaar.bytes();
    let orders = bazaar.trade().await;
    bazaar.clean_up().await;
    let placed = sum("an order that was placed", &bazaar.bytes_per_order(&before, 1.0));

    let ship = |&(seller, order): &_| (seller, Action::Ship(action::Ship { order }));
    let deliver = |&(seller, order): &_| (seller, Action::Deliver(action::Deliver { order }));
    let day = Duration::from_secs(24 * 3_600);
    bazaar.carry_out(orders.iter().map(ship).collect(), day).await;
    bazaar.carry_out(orders.iter().map(deliver).collect(), day).await;
    bazaar.clean_up().await;
    let delivered = sum("an order that was delivered", &bazaar.bytes_per_order(&before, 3.0));
    // 179 and 289 when this was written. The first must not exceed 250, and has no reason to come near.
    assert!(placed <= 200.0, "{placed}");
    assert!(delivered <= 320.0, "{delivered}");
}

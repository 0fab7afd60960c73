//! Tests of the rules: examples of each, and properties of any sequence of commands.

mod examples;
mod merging;
mod properties;
mod ranking;
mod ratings;
mod tills;
mod values;
mod withdrawing;

use uuid::Uuid;

use super::*;

/// The smallest market that the rules need: all rows stay in one working set, and nothing is saved.
pub(super) struct Fixture {
    pub(super) rows: WorkingSet,
    now: Timestamp,
    requests: u128,
}

pub(super) fn party(number: u128) -> PartyId {
    PartyId(Uuid::from_u128(number))
}

pub(super) const ALICE: u128 = 1;
pub(super) const CAROL: u128 = 2;
pub(super) const BOB: u128 = 11;
pub(super) const DAVE: u128 = 12;

impl Fixture {
    /// Creates a market in which two sellers and two buyers are registered.
    pub(super) fn open() -> Self {
        let mut fixture = Self { rows: WorkingSet::default(), now: Timestamp(1_000), requests: 0 };
        for (number, role) in
            [(ALICE, Role::Seller), (CAROL, Role::Seller), (BOB, Role::Buyer), (DAVE, Role::Buyer)]
        {
            let display_name = DisplayName::parse(&format!("party {number}")).unwrap();
            fixture
                .act(number, Action::Register(action::Register { role, display_name, callback: None }))
                .unwrap();
        }
        fixture
    }

    pub(super) fn act(&mut self, caller: u128, action: Action) -> Result<Outcome, Refusal> {
        self.requests += 1;
        let id = self.requests;
        self.send(caller, id, id as u8, false, action)
    }

    pub(super) fn validate(&mut self, caller: u128, action: Action) -> Result<Outcome, Refusal> {
        self.requests += 1;
        let id = self.requests;
        self.send(caller, id, id as u8, true, action)
    }

    /// Sends a command with the given request id and fingerprint.
    pub(super) fn send(
        &mut self,
        caller: u128,
        request: u128,
        print: u8,
        validate_only: bool,
        action: Action,
    ) -> Result<Outcome, Refusal> {
        self.now = Timestamp(self.now.0 + 1);
        let request =
            RequestKey { id: RequestId(Uuid::from_u128(request)), fingerprint: Fingerprint([print; 16]) };
        let origin = Origin { role: "party", address: None };
        let command = Command { caller: party(caller), request, validate_only, action, origin };
        // As a back end does: reserve numbers for this command, and count the purchases that the rules ask
        // for.
        let mut keys = Keys::default();
        command.add_keys(&mut keys);
        self.rows.item_ids = IdRange::new(self.rows.item_ids.next().max(1), keys.new_items);
        self.rows.order_ids = IdRange::new(self.rows.order_ids.next().max(1), keys.new_orders);
        self.load_purchases(&keys);
        let mut event_ids = || EventId(Uuid::nil());
        decide(
            &mut self.rows,
            &command,
            &mut Context { now: self.now, steady_now: self.now, event_ids: &mut event_ids },
        )
    }

    /// Counts the purchases as a back end does: of the orders that the command names, and no more than asked for.
    fn load_purchases(&mut self, keys: &Keys) {
        let mut named = WorkingSet::default();
        for id in &keys.orders {
            if let Some(order) = self.rows.orders.row(*id) {
                named.orders.load(*id, order.clone());
            }
        }
        let counted = named.rated(keys).into_iter();
        let counted: Vec<_> = counted
            .map(|((buyer, item), enough)| ((buyer, item), self.purchases(buyer, item).min(enough)))
            .collect();
        self.rows.purchases = counted.into_iter().collect();
    }

    /// Returns the number of a buyer's orders of an item that were not cancelled.
    pub(super) fn purchases(&self, buyer: PartyId, item: ItemId) -> i64 {
        let orders = self.rows.orders.keys().filter_map(|id| self.rows.orders.row(id));
        let own = orders.filter(|order| order.buyer == buyer && order.item == item);
        i64::try_from(own.filter(|order| order.status.stands()).count()).unwrap()
    }

    /// Lists a lamp at 12.50 GBP per unit.
    pub(super) fn lamp(&mut self, seller: u128, units: i64) -> ItemId {
        match self.act(seller, sell("Lamp", 1_250, units)).unwrap() {
            Outcome::Item(item) => item.id,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn item(&self, id: ItemId) -> &Item {
        self.rows.items.row(id).unwrap()
    }
}

pub(super) fn sell(name: &str, amount_minor: i64, units: i64) -> Action {
    Action::Sell(action::Sell(listing(name, amount_minor, units)))
}

fn listing(name: &str, amount_minor: i64, units: i64) -> ItemListing {
    ItemListing {
        sku: None,
        name: ItemName::parse(name).unwrap(),
        description: Description::parse("").unwrap(),
        category: Category::parse("home/light").unwrap(),
        unit_price: Money::price(amount_minor, "GBP").unwrap(),
        quantity: Quantity::parse(units).unwrap(),
    }
}

/// Lists an item under a SKU.
pub(super) fn sell_as(sku: &str, units: i64) -> Action {
    let sku = Some(Sku::parse(sku).unwrap());
    Action::Sell(action::Sell(ItemListing { sku, ..listing("Thing", 100, units) }))
}

/// Brings the item with a SKU to a stock.
pub(super) fn import(sku: &str, units: i64) -> Action {
    let sku = Some(Sku::parse(sku).unwrap());
    let listing = ItemListing { sku, ..listing("Thing", 100, units) };
    Action::Import(action::Import(vec![ImportRow::of(1, listing)]))
}

pub(super) fn buy(item: ItemId, units: i64) -> Action {
    Action::Buy(action::Buy(line(item, units)))
}

pub(super) fn line(item: ItemId, units: i64) -> OrderLine {
    OrderLine { item, quantity: OrderQuantity::parse(units).unwrap(), expected_unit_price: None }
}

pub(super) fn rate(item: ItemId, stars: i32) -> Action {
    Action::Rate(action::Rate { item, stars: Stars::parse(stars).unwrap(), update_existing: false })
}

pub(super) fn restock(item: ItemId, delta: i64) -> Action {
    let patch = ItemPatch { stock: Some(StockChange::By(delta)), ..ItemPatch::default() };
    Action::Update(action::Update { item, patch, expected_version: None })
}

pub(super) fn order_of(outcome: Result<Outcome, Refusal>) -> Order {
    match outcome {
        Ok(Outcome::Order(order)) => order,
        other => panic!("not an order: {other:?}"),
    }
}

/// Returns everything that a back end would save, as text.
pub(super) fn trace(rows: &WorkingSet) -> String {
    let WorkingSet { parties, items, orders, tills, wishes, ratings, requests, events, .. } = rows;
    format!("{parties:?} {items:?} {orders:?} {tills:?} {wishes:?} {ratings:?} {requests:?} {events:?}")
}

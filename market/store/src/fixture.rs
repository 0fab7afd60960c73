//! A small shop for tests inside this crate: a seller, a buyer and a lane.

use souk_domain::{
    Action, Category, Command, Context, Description, DisplayName, EventId, Fingerprint, ItemId, ItemListing,
    ItemName, Keys, Money, OrderLine, OrderQuantity, Origin, Outcome, PartyId, Quantity, Refusal, RequestId,
    RequestKey, Role, Stars, Timestamp, WorkingSet, action, decide,
};
use uuid::Uuid;

use crate::Lane;

pub(crate) const ALICE: PartyId = PartyId(Uuid::from_u128(1));
pub(crate) const BOB: PartyId = PartyId(Uuid::from_u128(2));
pub(crate) const NOW: Timestamp = Timestamp(1_000_000);
/// The item that [`open`] lists.
pub(crate) const ITEM: ItemId = ItemId(1);

/// Returns the command with a request number.
pub(crate) fn command(number: u128, caller: PartyId, action: impl Into<Action>) -> Command {
    let request = RequestKey { id: RequestId(Uuid::from_u128(number)), fingerprint: Fingerprint([0; 16]) };
    let origin = Origin { role: "party", address: None };
    Command { caller, request, validate_only: false, action: action.into(), origin }
}

pub(crate) fn keys_of(command: &Command) -> Keys {
    let mut keys = Keys::default();
    command.add_keys(&mut keys);
    keys
}

/// Decides a command on the rows that were loaded for it.
pub(crate) fn decided(rows: &mut WorkingSet, command: &Command) -> Result<Outcome, Refusal> {
    decided_at(rows, command, NOW)
}

/// Does the same at the given time.
pub(crate) fn decided_at(
    rows: &mut WorkingSet,
    command: &Command,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let mut events = 0;
    let mut event_ids = || {
        events += 1;
        EventId(Uuid::from_u128(command.request.id.0.as_u128() << 32 | events))
    };
    decide(rows, command, &mut Context { now, steady_now: now, event_ids: &mut event_ids })
}

/// Carries out a command, which must be accepted.
pub(crate) async fn act(
    lane: &mut Box<dyn Lane>,
    number: u128,
    caller: PartyId,
    action: impl Into<Action>,
) -> Outcome {
    let command = command(number, caller, action);
    let mut rows = lane.load(&keys_of(&command)).await.unwrap();
    let outcome = decided(&mut rows, &command).unwrap();
    lane.save(&rows).await.unwrap();
    outcome
}

pub(crate) fn buy(item: ItemId) -> action::Buy {
    let quantity = OrderQuantity::parse(1).unwrap();
    action::Buy(OrderLine { item, quantity, expected_unit_price: None })
}

pub(crate) fn rate(item: ItemId) -> action::Rate {
    action::Rate { item, stars: Stars::parse(4).unwrap(), update_existing: true }
}

pub(crate) fn lamp() -> action::Sell {
    action::Sell(ItemListing {
        sku: None,
        name: ItemName::parse("Lamp").unwrap(),
        description: Description::parse("").unwrap(),
        category: Category::parse("home").unwrap(),
        unit_price: Money::price(1_250, "GBP").unwrap(),
        quantity: Quantity::parse_listing(1_000).unwrap(),
    })
}

/// Registers the seller and the buyer, and lists an item.
pub(crate) async fn open(lane: &mut Box<dyn Lane>) {
    for (number, party, role) in [(1, ALICE, Role::Seller), (2, BOB, Role::Buyer)] {
        let display_name = DisplayName::parse(&format!("party {number}")).unwrap();
        act(lane, number, party, action::Register { role, display_name, callback: None }).await;
    }
    act(lane, 3, ALICE, lamp()).await;
}

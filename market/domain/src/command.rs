//! Commands: an action, who asks for it, and what makes it happen once only.

use serde::{Deserialize, Serialize};

use super::{Act, Action, ItemRef, Keys, Origin, PartyId, RequestId, TillId, action};

/// A change that a party asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<A = Action> {
    /// Who asks; proven by the caller's certificate and token, never read from a request body.
    pub caller: PartyId,
    /// Makes the command happen once only.
    pub request: RequestKey,
    /// Only check, change nothing (AIP-163).
    pub validate_only: bool,
    /// What is asked for.
    pub action: A,
    /// Where it comes from, for the audit log.
    pub origin: Origin,
}

/// The idempotency key of a command (AIP-155).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The client's id for the call.
    pub id: RequestId,
    /// Tells whether a second call with the same id is the same call.
    pub fingerprint: Fingerprint,
}

/// The first 16 bytes of the SHA-256 of a request's method and parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub [u8; 16]);

impl<A: Act> Command<A> {
    /// The same command, as it waits in a queue with those of other kinds.
    pub fn queued(self) -> Command {
        let Self { caller, request, validate_only, action, origin } = self;
        Command { caller, request, validate_only, action: action.into(), origin }
    }
}

impl Command {
    /// What makes it happen once only: a request id is each caller's own.
    pub fn key(&self) -> (PartyId, RequestId) {
        (self.caller, self.request.id)
    }

    /// Adds the rows that the rules need to see to decide on this command.
    pub fn add_keys(&self, keys: &mut Keys) {
        keys.parties.insert(self.caller);
        keys.requests.insert(self.key());
        match &self.action {
            Action::Register(_) | Action::Test(_) => {}
            Action::Suspend(action::Suspend { party, .. })
            | Action::Reinstate(action::Reinstate { party }) => {
                keys.parties.insert(*party);
            }
            Action::Sell(action::Sell(listing)) => {
                keys.skus.extend(listing.sku.clone().map(|sku| (self.caller, sku)));
                keys.new_items += 1;
            }
            Action::Import(action::Import(rows)) => {
                keys.items.extend(rows.iter().filter_map(|row| row.item));
                keys.skus.extend(
                    rows.iter().filter_map(|row| row.listing.sku.clone()).map(|sku| (self.caller, sku)),
                );
                keys.new_items += rows.iter().filter(|row| row.item.is_none()).count();
            }
            Action::Update(action::Update { item, .. }) | Action::Delete(action::Delete { item, .. }) => {
                keys.items.insert(*item);
            }
            Action::Buy(action::Buy(line)) => {
                keys.items.insert(line.item);
                keys.new_orders += 1;
            }
            Action::Place(action::Place(lines)) => {
                keys.items.extend(lines.iter().map(|line| line.item));
                keys.new_orders += lines.len();
            }
            Action::Cancel(action::Cancel { order })
            | Action::CancelSale(action::CancelSale { order, .. })
            | Action::Ship(action::Ship { order })
            | Action::Deliver(action::Deliver { order }) => {
                keys.orders.insert(*order);
            }
            Action::StartRide(action::StartRide(plan)) => {
                keys.orders.extend(plan.stops.iter().map(|stop| stop.order))
            }
            Action::EndRide(action::EndRide { ride, orders }) => {
                keys.rides.insert(*ride);
                keys.orders.extend(orders);
            }
            Action::OpenTill(action::OpenTill { till }) | Action::RemoveTill(action::RemoveTill { till }) => {
                keys.tills.insert(TillId::of(self.caller, till));
            }
            Action::Sync(action::Sync { till, lines }) => {
                keys.tills.insert(TillId::of(self.caller, till));
                for change in lines.iter().filter_map(|line| line.asks.as_ref().ok()) {
                    match &change.item {
                        ItemRef::Id(id) => keys.items.insert(*id),
                        ItemRef::Sku(sku) => keys.skus.insert((self.caller, sku.clone())),
                    };
                }
            }
            Action::Wish(action::Wish { item }) | Action::Unwish(action::Unwish { item }) => {
                keys.items.insert(*item);
                keys.wishes.insert((self.caller, *item));
            }
            Action::Rate(action::Rate { item, .. }) => {
                keys.items.insert(*item);
                keys.ratings.insert((self.caller, *item));
                keys.purchases.insert((self.caller, *item));
            }
        }
    }
}

//! Commands: an action with its caller and its idempotency key.

use serde::{Deserialize, Serialize};

use super::{
    Act, Action, ImportRow, ItemPatch, ItemRef, Keys, NameKey, Origin, PartyId, RequestId, TillId, TillLine,
    action,
};

/// A change requested by a party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<A = Action> {
    /// The caller, as proven by its certificate and token; never read from a request body.
    pub caller: PartyId,
    /// The idempotency key, which makes a retry safe.
    pub request: RequestKey,
    /// Check the command without changing anything (AIP-163).
    pub validate_only: bool,
    /// The requested change, with its parameters.
    pub action: A,
    /// The caller's role and address, for the audit log.
    pub origin: Origin,
}

/// The idempotency key of a command (AIP-155).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The id that the client chose for the call.
    pub id: RequestId,
    /// Distinguishes a retry from another call that reuses the id.
    pub fingerprint: Fingerprint,
}

/// The first 16 bytes of the SHA-256 of a request's method and parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub [u8; 16]);

impl<A: Act> Command<A> {
    /// Converts the command to the form in which commands of all kinds share a queue.
    pub fn queued(self) -> Command {
        let Self { caller, request, validate_only, action, origin } = self;
        Command { caller, request, validate_only, action: action.into(), origin }
    }
}

impl Command {
    /// Returns the idempotency key. It includes the caller, because request ids are unique only per caller.
    pub fn key(&self) -> (PartyId, RequestId) {
        (self.caller, self.request.id)
    }

    /// Adds the keys of every row that the rules read to decide this command.
    ///
    /// A row that is missing here looks to the rules as if it did not exist.
    pub fn add_keys(&self, keys: &mut Keys) {
        keys.parties.insert(self.caller);
        keys.requests.insert(self.key());
        match &self.action {
            Action::Register(action::Register { display_name, .. }) => {
                keys.names.insert(NameKey::of(display_name));
            }
            Action::Test(_) | Action::Redeliver(_) => {}
            Action::Rank(action::Rank(levels)) => keys.items.extend(levels.iter().map(|(item, _)| *item)),
            Action::Suspend(action::Suspend { party, .. })
            | Action::Reinstate(action::Reinstate { party }) => {
                keys.parties.insert(*party);
            }
            Action::Sell(action::Sell(listing)) => {
                // To find out whether the SKU is taken.
                keys.skus.extend(listing.sku.clone().map(|sku| (self.caller, sku)));
                keys.new_items += 1;
            }
            Action::Import(action::Import(rows)) => self.add_rows(rows, keys),
            Action::Update(action::Update { item, patch: ItemPatch { sku, .. }, .. })
            | Action::Undelete(action::Undelete { item, sku, .. }) => {
                keys.items.insert(*item);
                keys.skus.extend(sku.clone().map(|sku| (self.caller, sku)));
            }
            Action::Delete(action::Delete { item, .. }) => {
                keys.items.insert(*item);
            }
            Action::Buy(action::Buy(line)) => {
                keys.items.insert(line.item);
                keys.bought.push((self.caller, line.item));
                keys.new_orders += 1;
            }
            Action::Place(action::Place(lines)) => {
                keys.items.extend(lines.iter().map(|line| line.item));
                keys.bought.extend(lines.iter().map(|line| (self.caller, line.item)));
                // An upper bound: lines of the same item are merged into one order.
                keys.new_orders += lines.len();
            }
            Action::Cancel(action::Cancel { order }) => {
                keys.orders.insert(*order);
                // If it is the buyer's last purchase of the item, its rating is withdrawn.
                keys.cancelled.insert((self.caller, *order));
            }
            Action::CancelSale(action::CancelSale { order, .. })
            | Action::Ship(action::Ship { order })
            | Action::Deliver(action::Deliver { order }) => {
                // The order's item is not known here; the back end loads it with the order.
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
                self.add_lines(lines, keys);
            }
            Action::Wish(action::Wish { item }) | Action::Unwish(action::Unwish { item }) => {
                keys.items.insert(*item);
                keys.wishes.insert((self.caller, *item));
            }
            Action::Rate(action::Rate { item, .. }) => {
                keys.items.insert(*item);
                keys.ratings.insert((self.caller, *item));
            }
        }
    }

    fn add_rows(&self, rows: &[ImportRow], keys: &mut Keys) {
        keys.items.extend(rows.iter().filter_map(|row| row.item));
        let skus = rows.iter().filter_map(|row| row.sku.clone());
        keys.skus.extend(skus.map(|sku| (self.caller, sku)));
        keys.new_items += rows.iter().filter(|row| row.item.is_none()).count();
    }

    fn add_lines(&self, lines: &[TillLine], keys: &mut Keys) {
        for change in lines.iter().filter_map(|line| line.asks.as_ref().ok()) {
            match &change.item {
                ItemRef::Id(id) => keys.items.insert(*id),
                ItemRef::Sku(sku) => keys.skus.insert((self.caller, sku.clone())),
            };
        }
    }
}

//! Commands: every change that a party can ask for, and what comes of it.

use serde::{Deserialize, Serialize};

use super::{
    Callback, CancelReason, DisplayName, EventId, ImportRow, Imported, Item, ItemId, ItemListing, ItemPatch,
    ItemRef, Keys, LineAnswer, Order, OrderId, OrderLine, Origin, Party, PartyId, RatingSummary, RequestId,
    Ride, RideId, RidePlan, Role, Stars, SuspensionReason, TestText, Till, TillId, TillLine, TillName, Wish,
};

/// A change that a party asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Who asks; proven by the caller's certificate and token, never read from a request body.
    pub caller: PartyId,
    /// Makes the command happen once only.
    pub request: RequestKey,
    /// Only check, change nothing (AIP-163).
    pub validate_only: bool,
    /// What is asked for.
    pub action: Action,
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

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Register the caller, or change its registration.
    Register {
        /// The role in the caller's certificate.
        role: Role,
        /// The name for others to see.
        display_name: DisplayName,
        /// Where to call the party, already checked.
        callback: Option<Callback>,
    },
    /// List a new item.
    Sell(ItemListing),
    /// Make items of the caller's as they are given.
    Import(Vec<ImportRow>),
    /// Change an item of the caller's.
    Update {
        /// The item.
        item: ItemId,
        /// What to change.
        patch: ItemPatch,
        /// Only if the item has this version.
        expected_version: Option<i64>,
    },
    /// Take an item of the caller's off the market.
    Delete {
        /// The item.
        item: ItemId,
        /// Only if the item has this version.
        expected_version: Option<i64>,
    },
    /// Buy units of an item.
    Buy(OrderLine),
    /// Buy units of several items, all or nothing.
    Place(Vec<OrderLine>),
    /// Cancel an order of the caller's.
    Cancel {
        /// The order.
        order: OrderId,
    },
    /// Cancel an order of an item of the caller's.
    CancelSale {
        /// The order.
        order: OrderId,
        /// Why, for the buyer.
        reason: CancelReason,
    },
    /// An order of an item of the caller's is on its way.
    Ship {
        /// The order.
        order: OrderId,
    },
    /// An order of an item of the caller's has reached its buyer.
    Deliver {
        /// The order.
        order: OrderId,
    },
    /// Start a ride with orders of the caller's items.
    StartRide(RidePlan),
    /// End a ride of the caller's.
    EndRide {
        /// The ride.
        ride: RideId,
        /// Its orders, as they were found before: those of a ride never change.
        orders: Vec<OrderId>,
    },
    /// Open a till of the caller's, or find it open.
    OpenTill {
        /// Its name.
        till: TillName,
    },
    /// Forget a till of the caller's.
    RemoveTill {
        /// Its name.
        till: TillName,
    },
    /// Carry out what a till of the caller's has counted.
    Sync {
        /// Its name.
        till: TillName,
        /// Its lines; known by their numbers when they come again.
        lines: Vec<TillLine>,
    },
    /// Put an item on the caller's wishlist.
    Wish {
        /// The item.
        item: ItemId,
    },
    /// Take an item off the caller's wishlist.
    Unwish {
        /// The item.
        item: ItemId,
    },
    /// Rate an item that the caller has bought.
    Rate {
        /// The item.
        item: ItemId,
        /// How many stars.
        stars: Stars,
        /// Replace an earlier rating.
        update_existing: bool,
    },
    /// Put a harmless event into the caller's own mailbox.
    Test {
        /// What to write into it.
        text: TestText,
    },
    /// Shut a party out. The caller is an operator.
    Suspend {
        /// The party.
        party: PartyId,
        /// Why.
        reason: SuspensionReason,
    },
    /// Let a suspended party in again. The caller is an operator.
    Reinstate {
        /// The party.
        party: PartyId,
    },
}

/// What came of a command that was carried out. Kept with the request id, so that a replay is answered
/// with the very same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The party as registered.
    Registered(Party),
    /// The party as suspended or reinstated.
    Party(Party),
    /// The item as listed, changed or deleted (its quantity then being what was withdrawn).
    Item(Item),
    /// What came of an import's rows.
    Imported(Imported),
    /// The order as placed, shipped, delivered or cancelled.
    Order(Order),
    /// The orders as placed, in the order of the lines.
    Orders(Vec<Order>),
    /// The ride as started or ended.
    Ride(Ride),
    /// The till as it is.
    Till(Till),
    /// The till is gone.
    TillRemoved,
    /// The answers to a till's lines.
    Synced(Vec<LineAnswer>),
    /// The wish, and the item that it is for.
    Wished(Wish, Item),
    /// The wish is gone.
    Unwished,
    /// All ratings of the item.
    Rated(RatingSummary),
    /// The event that is on its way.
    Tested(EventId),
}

impl Action {
    /// The RPC that asks for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Register { role: Role::Seller, .. } => "RegisterSeller",
            Self::Register { role: Role::Buyer, .. } => "RegisterBuyer",
            Self::Sell(_) => "SellItem",
            Self::Import(_) => "ImportItems",
            Self::Update { .. } => "UpdateItem",
            Self::Delete { .. } => "DeleteItem",
            Self::Buy(_) => "BuyItem",
            Self::Place(_) => "PlaceOrder",
            Self::Cancel { .. } => "CancelOrder",
            Self::CancelSale { .. } => "CancelSale",
            Self::Ship { .. } => "ShipSale",
            Self::Deliver { .. } => "DeliverSale",
            Self::StartRide(_) => "StartRide",
            Self::EndRide { .. } => "EndRide",
            Self::OpenTill { .. } => "OpenTill",
            Self::RemoveTill { .. } => "RemoveTill",
            Self::Sync { .. } => "SyncInventory",
            Self::Wish { .. } => "AddToWishlist",
            Self::Unwish { .. } => "RemoveFromWishlist",
            Self::Rate { .. } => "RateItem",
            Self::Test { .. } => "TestEvent",
            Self::Suspend { .. } => "Suspend",
            Self::Reinstate { .. } => "Reinstate",
        }
    }

    /// Whether what it does is known when it comes again, without its request id: an import makes items as
    /// they are given, a till is there already, and numbers its lines. Then no outcome is kept for the request.
    pub fn knows_repetitions(&self) -> bool {
        matches!(self, Self::Import(_) | Self::OpenTill { .. } | Self::Sync { .. })
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
            Action::Register { .. } | Action::Test { .. } => {}
            Action::Suspend { party, .. } | Action::Reinstate { party } => {
                keys.parties.insert(*party);
            }
            Action::Sell(listing) => {
                keys.skus.extend(listing.sku.clone().map(|sku| (self.caller, sku)));
                keys.new_items += 1;
            }
            Action::Import(rows) => {
                keys.items.extend(rows.iter().filter_map(|row| row.item));
                keys.skus.extend(
                    rows.iter().filter_map(|row| row.listing.sku.clone()).map(|sku| (self.caller, sku)),
                );
                keys.new_items += rows.iter().filter(|row| row.item.is_none()).count();
            }
            Action::Update { item, .. } | Action::Delete { item, .. } => {
                keys.items.insert(*item);
            }
            Action::Buy(line) => {
                keys.items.insert(line.item);
                keys.new_orders += 1;
            }
            Action::Place(lines) => {
                keys.items.extend(lines.iter().map(|line| line.item));
                keys.new_orders += lines.len();
            }
            Action::Cancel { order }
            | Action::CancelSale { order, .. }
            | Action::Ship { order }
            | Action::Deliver { order } => {
                keys.orders.insert(*order);
            }
            Action::StartRide(plan) => keys.orders.extend(plan.stops.iter().map(|stop| stop.order)),
            Action::EndRide { ride, orders } => {
                keys.rides.insert(*ride);
                keys.orders.extend(orders);
            }
            Action::OpenTill { till } | Action::RemoveTill { till } => {
                keys.tills.insert(TillId::of(self.caller, till));
            }
            Action::Sync { till, lines } => {
                keys.tills.insert(TillId::of(self.caller, till));
                for change in lines.iter().filter_map(|line| line.asks.as_ref().ok()) {
                    match &change.item {
                        ItemRef::Id(id) => keys.items.insert(*id),
                        ItemRef::Sku(sku) => keys.skus.insert((self.caller, sku.clone())),
                    };
                }
            }
            Action::Wish { item } | Action::Unwish { item } => {
                keys.items.insert(*item);
                keys.wishes.insert((self.caller, *item));
            }
            Action::Rate { item, .. } => {
                keys.items.insert(*item);
                keys.ratings.insert((self.caller, *item));
                keys.purchases.insert((self.caller, *item));
            }
        }
    }
}

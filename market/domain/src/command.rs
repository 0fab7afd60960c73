//! Commands: every change that a party can request, and its outcome.

use serde::{Deserialize, Serialize};

use super::{
    Callback, CancelReason, DisplayName, EventId, ImportRow, Imported, Item, ItemId, ItemListing, ItemPatch,
    ItemRef, Keys, LineAnswer, Order, OrderId, OrderLine, Origin, Party, PartyId, RatingSummary, RequestId,
    Ride, RideId, RidePlan, Role, Stars, SuspensionReason, TestText, Till, TillId, TillLine, TillName, Wish,
};

/// A change requested by a party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The caller, as proven by its certificate and token; never read from a request body.
    pub caller: PartyId,
    /// The idempotency key, which makes a retry safe.
    pub request: RequestKey,
    /// Check the command without changing anything (AIP-163).
    pub validate_only: bool,
    /// The requested change, with its parameters.
    pub action: Action,
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

/// The change that a command requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Register the caller, or change its registration.
    Register {
        /// The role from the caller's certificate.
        role: Role,
        /// The name shown to other parties.
        display_name: DisplayName,
        /// The callback address, already checked against the address policy.
        callback: Option<Callback>,
    },
    /// List a new item.
    Sell(ItemListing),
    /// Bring the caller's items to the state of these rows, creating those that do not exist.
    Import(Vec<ImportRow>),
    /// Change one of the caller's items.
    Update {
        /// The item to change.
        item: ItemId,
        /// The new values of the fields to change.
        patch: ItemPatch,
        /// Refuse the change unless the item has this version.
        expected_version: Option<i64>,
    },
    /// Take one of the caller's items off the market.
    Delete {
        /// The item to delete.
        item: ItemId,
        /// Refuse the deletion unless the item has this version.
        expected_version: Option<i64>,
    },
    /// Buy units of an item.
    Buy(OrderLine),
    /// Buy units of several items; either all lines succeed or none.
    Place(Vec<OrderLine>),
    /// Cancel an order as its buyer.
    Cancel {
        /// The order to cancel.
        order: OrderId,
    },
    /// Cancel an order as its seller.
    CancelSale {
        /// The order to cancel.
        order: OrderId,
        /// The reason, shown to the buyer.
        reason: CancelReason,
    },
    /// Mark an order as shipped, as its seller.
    Ship {
        /// The order, which must be placed.
        order: OrderId,
    },
    /// Mark an order as delivered, as its seller.
    Deliver {
        /// The order, which must be shipped.
        order: OrderId,
    },
    /// Start a ride that carries some of the caller's orders, and ship them.
    StartRide(RidePlan),
    /// End one of the caller's rides, and deliver the orders still on it.
    EndRide {
        /// The ride to end.
        ride: RideId,
        /// The ride's orders, read before the command is submitted so that their rows can be loaded with it.
        /// A ride's orders never change.
        orders: Vec<OrderId>,
    },
    /// Open a till for the caller. Opening one that is open changes nothing.
    OpenTill {
        /// The till's name, unique per seller.
        till: TillName,
    },
    /// Remove one of the caller's tills.
    RemoveTill {
        /// The name of the till to remove.
        till: TillName,
    },
    /// Apply the stock changes that one of the caller's tills reports.
    Sync {
        /// The name of the reporting till.
        till: TillName,
        /// The lines in order. A repeated line is recognised by its number.
        lines: Vec<TillLine>,
    },
    /// Put an item on the caller's wishlist.
    Wish {
        /// The item to add.
        item: ItemId,
    },
    /// Take an item off the caller's wishlist.
    Unwish {
        /// The item to remove.
        item: ItemId,
    },
    /// Rate an item that the caller has bought.
    Rate {
        /// The item to rate.
        item: ItemId,
        /// The rating, 1 to 5 stars.
        stars: Stars,
        /// Replace an earlier rating.
        update_existing: bool,
    },
    /// Put a test event into the caller's own mailbox.
    Test {
        /// The text that the event carries.
        text: TestText,
    },
    /// Suspend a party. The caller is an operator.
    Suspend {
        /// The party to suspend.
        party: PartyId,
        /// The reason, kept for operators.
        reason: SuspensionReason,
    },
    /// Reinstate a suspended party. The caller is an operator.
    Reinstate {
        /// The party to reinstate.
        party: PartyId,
    },
}

/// The result of a command that was carried out. It is stored under the request id, so that a replay
/// returns the same result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The party as registered.
    Registered(Party),
    /// The party as suspended or reinstated.
    Party(Party),
    /// The item as listed, changed or deleted. For a deleted item, the quantity is the number of units
    /// that the deletion withdrew.
    Item(Item),
    /// How many of an import's rows created, changed or kept an item.
    Imported(Imported),
    /// The order as placed, shipped, delivered or cancelled.
    Order(Order),
    /// The orders as placed, in the order of the lines.
    Orders(Vec<Order>),
    /// The ride as started or ended.
    Ride(Ride),
    /// The till as opened, or as it was if it was open.
    Till(Till),
    /// The till has been removed.
    TillRemoved,
    /// One answer for each line of the till, in order.
    Synced(Vec<LineAnswer>),
    /// The wish, and the item that was wished for.
    Wished(Wish, Item),
    /// The item is no longer on the wishlist.
    Unwished,
    /// The item's rating summary, including the new rating.
    Rated(RatingSummary),
    /// The id of the test event.
    Tested(EventId),
}

impl Action {
    /// Returns the name of the RPC that requests the action.
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

    /// Returns whether a repetition is recognised without the request id. An import sets absolute values, a
    /// till that is open stays open, and a till numbers its lines. No outcome is stored for such requests.
    pub fn knows_repetitions(&self) -> bool {
        matches!(self, Self::Import(_) | Self::OpenTill { .. } | Self::Sync { .. })
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
            Action::Register { .. } | Action::Test { .. } => {}
            Action::Suspend { party, .. } | Action::Reinstate { party } => {
                keys.parties.insert(*party);
            }
            Action::Sell(listing) => {
                // To find out whether the SKU is taken.
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
                // An upper bound: lines of the same item are merged into one order.
                keys.new_orders += lines.len();
            }
            Action::Cancel { order }
            | Action::CancelSale { order, .. }
            | Action::Ship { order }
            | Action::Deliver { order } => {
                // The order's item is not known here; the back end loads it with the order.
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
                // Only buyers may rate, so their orders of the item are counted.
                keys.purchases.insert((self.caller, *item));
            }
        }
    }
}

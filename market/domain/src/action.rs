//! Actions: every change that a party can request, each with the type of its outcome.

use std::fmt;

use super::{
    Callback, CancelReason, DeadLetter, DisplayName, EventId, ImportRow, Imported, Item, ItemId, ItemListing,
    ItemPatch, LineAnswer, Order, OrderId, OrderLine, Outcome, Party, PartyId, Quantity, Ranked,
    RatingSummary, Redelivered, Registered, Ride, RideId, RidePlan, Role, SalesLevel, Sku, Stars,
    SuspensionReason, TestText, Till, TillLine, TillName, TillRemoved, Unwished, Wished,
};

/// A change that a party can request, together with the type of its outcome.
///
/// The types are checked at compile time: submitting a [`Buy`] yields an [`Order`], and a rule that decided
/// it with any other outcome would not compile.
pub trait Act: Into<Action> + Send {
    /// The outcome. Its conversion from [`Outcome`] fails only for the outcome of another kind of action.
    type Outcome: Into<Outcome> + TryFrom<Outcome, Error: fmt::Debug> + Send;
}

/// An action whose kind is known only at run time, as in a queue.
impl Act for Action {
    type Outcome = Outcome;
}

/// The one table of actions and outcomes.
macro_rules! actions {
    ($($action:ident -> $outcome:ty,)+) => {
        /// The change that a command requests.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Action {
            $(
                #[doc = concat!("See [`", stringify!($action), "`].")]
                $action($action),
            )+
        }

        $(
            impl Act for $action {
                type Outcome = $outcome;
            }

            impl From<$action> for Action {
                fn from(action: $action) -> Self {
                    Self::$action(action)
                }
            }
        )+
    };
}

actions! {
    Register -> Registered,
    Sell -> Item,
    Import -> Imported,
    Update -> Item,
    Delete -> Item,
    Undelete -> Item,
    Buy -> Order,
    Place -> Vec<Order>,
    Cancel -> Order,
    CancelSale -> Order,
    Ship -> Order,
    Deliver -> Order,
    StartRide -> Ride,
    EndRide -> Ride,
    OpenTill -> Till,
    RemoveTill -> TillRemoved,
    Sync -> Vec<LineAnswer>,
    Wish -> Wished,
    Unwish -> Unwished,
    Rate -> RatingSummary,
    Test -> EventId,
    Suspend -> Party,
    Reinstate -> Party,
    Redeliver -> Redelivered,
    Rank -> Ranked,
}

impl Action {
    /// Returns the name of the RPC that requests the action. The market itself requests `RankItems`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Register(Register { role: Role::Seller, .. }) => "RegisterSeller",
            Self::Register(Register { role: Role::Buyer, .. }) => "RegisterBuyer",
            Self::Sell(_) => "SellItem",
            Self::Import(_) => "ImportItems",
            Self::Update(_) => "UpdateItem",
            Self::Delete(_) => "DeleteItem",
            Self::Undelete(_) => "UndeleteItem",
            Self::Buy(_) => "BuyItem",
            Self::Place(_) => "PlaceOrder",
            Self::Cancel(_) => "CancelOrder",
            Self::CancelSale(_) => "CancelSale",
            Self::Ship(_) => "ShipSale",
            Self::Deliver(_) => "DeliverSale",
            Self::StartRide(_) => "StartRide",
            Self::EndRide(_) => "EndRide",
            Self::OpenTill(_) => "OpenTill",
            Self::RemoveTill(_) => "RemoveTill",
            Self::Sync(_) => "SyncInventory",
            Self::Wish(_) => "AddToWishlist",
            Self::Unwish(_) => "RemoveFromWishlist",
            Self::Rate(_) => "RateItem",
            Self::Test(_) => "TestEvent",
            Self::Suspend(_) => "Suspend",
            Self::Reinstate(_) => "Reinstate",
            Self::Redeliver(_) => "Redeliver",
            Self::Rank(_) => "RankItems",
        }
    }

    /// Returns whether a repetition is recognised without the request id. Imports and rankings set absolute values, a
    /// till that is open stays open, and a till numbers its lines. Such a request is not audited again.
    pub fn knows_repetitions(&self) -> bool {
        matches!(self, Self::Import(_) | Self::OpenTill(_) | Self::Sync(_) | Self::Rank(_))
    }

    /// Returns whether the outcome is stored under the request id. `is_news` is whether the action had an effect.
    ///
    /// A repetition of an import finds nothing left to do, so only the record has the outcome of the first one. If that had
    /// no effect, the repetition has the same outcome without a record.
    pub(super) fn is_recorded(&self, is_news: bool) -> bool {
        match self {
            Self::Import(_) => is_news,
            _ => !self.knows_repetitions(),
        }
    }
}

/// Register the caller, or change its registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The role from the caller's certificate.
    pub role: Role,
    /// The name shown to other parties.
    pub display_name: DisplayName,
    /// The callback address, already checked against the address policy.
    pub callback: Option<Callback>,
}

/// List a new item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sell(pub ItemListing);

/// Bring the caller's items to the state of these rows, creating those that do not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import(pub Vec<ImportRow>);

/// Change one of the caller's items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The item to change.
    pub item: ItemId,
    /// The new values of the fields to change.
    pub patch: ItemPatch,
    /// Refuse the change unless the item has this version.
    pub expected_version: Option<i64>,
}

/// Take one of the caller's items off the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The item to delete.
    pub item: ItemId,
    /// Refuse the deletion unless the item has this version.
    pub expected_version: Option<i64>,
}

/// Put one of the caller's withdrawn items back on the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelete {
    /// The item to list again.
    pub item: ItemId,
    /// The units for sale.
    pub quantity: Quantity,
    /// Refuse the change unless the item has this version.
    pub expected_version: Option<i64>,
    /// The item's SKU, read before the command is submitted, so that the item that has it by now can be loaded, too. The
    /// SKU of a withdrawn item never changes.
    pub sku: Option<Sku>,
}

/// Buy units of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buy(pub OrderLine);

/// Buy units of several items; either all lines succeed or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(pub Vec<OrderLine>);

/// Cancel an order as its buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The order to cancel.
    pub order: OrderId,
}

/// Cancel an order as its seller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelSale {
    /// The order to cancel.
    pub order: OrderId,
    /// The reason, shown to the buyer.
    pub reason: CancelReason,
}

/// Mark an order as shipped, as its seller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ship {
    /// The order, which must be placed.
    pub order: OrderId,
}

/// Mark an order as delivered, as its seller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// The order, which must be shipped.
    pub order: OrderId,
}

/// Start a ride that carries some of the caller's orders, and ship them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRide(pub RidePlan);

/// End one of the caller's rides, and deliver the orders still on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRide {
    /// The ride to end.
    pub ride: RideId,
    /// The ride's orders, read before the command is submitted so that their rows can be loaded with it. A
    /// ride's orders never change.
    pub orders: Vec<OrderId>,
}

/// Open a till for the caller. Opening one that is open changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTill {
    /// The till's name, unique per seller.
    pub till: TillName,
}

/// Remove one of the caller's tills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveTill {
    /// The name of the till to remove.
    pub till: TillName,
}

/// Apply the stock changes that one of the caller's tills reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The name of the reporting till.
    pub till: TillName,
    /// The lines in order. A repeated line is recognised by its number.
    pub lines: Vec<TillLine>,
}

/// Put an item on the caller's wishlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The item to add.
    pub item: ItemId,
}

/// Take an item off the caller's wishlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwish {
    /// The item to remove.
    pub item: ItemId,
}

/// Rate an item that the caller has bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The item to rate.
    pub item: ItemId,
    /// The rating, 1 to 5 stars.
    pub stars: Stars,
    /// Replace an earlier rating. Otherwise, a second one is refused.
    pub update_existing: bool,
}

/// Put a test event into the caller's own mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The text that the event carries.
    pub text: TestText,
}

/// Suspend a party. The caller is an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspend {
    /// The party to suspend.
    pub party: PartyId,
    /// The reason, kept for operators.
    pub reason: SuspensionReason,
}

/// Reinstate a suspended party. The caller is an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reinstate {
    /// The party to reinstate.
    pub party: PartyId,
}

/// Set how much of each item was sold recently, which determines its rank class. The caller is the market itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank(pub Vec<(ItemId, SalesLevel)>);

impl Rank {
    /// The maximum number of items in one command.
    pub const MAX_AT_ONCE: usize = 64;
}

/// Put dead letters back into their mailboxes. The caller is an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeliver {
    /// The letters, as they are kept.
    pub letters: Vec<DeadLetter>,
}

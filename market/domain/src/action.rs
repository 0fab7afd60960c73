//! Actions: every change that a party can ask for, each with the type of what comes of it.

use std::fmt;

use super::{
    Callback, CancelReason, DisplayName, EventId, ImportRow, Imported, Item, ItemId, ItemListing, ItemPatch,
    LineAnswer, Order, OrderId, OrderLine, Outcome, Party, PartyId, RatingSummary, Registered, Ride, RideId,
    RidePlan, Role, Stars, SuspensionReason, TestText, Till, TillLine, TillName, TillRemoved, Unwished,
    Wished,
};

/// A change that a party can ask for, and the type of what comes of it. Whoever submits a [`Buy`] gets an [`Order`]
/// back; a rule that decided on it with anything else would not compile.
pub trait Act: Into<Action> + Send {
    /// What comes of it. Only the outcome of another kind of action fails to convert.
    type Outcome: Into<Outcome> + TryFrom<Outcome, Error: fmt::Debug> + Send;
}

/// An action of which only the running program knows the kind, as it waits in a queue.
impl Act for Action {
    type Outcome = Outcome;
}

/// The one table of actions and outcomes.
macro_rules! actions {
    ($($action:ident -> $outcome:ty,)+) => {
        /// What a command asks for.
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
}

impl Action {
    /// The RPC that asks for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Register(Register { role: Role::Seller, .. }) => "RegisterSeller",
            Self::Register(Register { role: Role::Buyer, .. }) => "RegisterBuyer",
            Self::Sell(_) => "SellItem",
            Self::Import(_) => "ImportItems",
            Self::Update(_) => "UpdateItem",
            Self::Delete(_) => "DeleteItem",
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
        }
    }

    /// Whether what it does is known when it comes again, without its request id: an import makes items as
    /// they are given, a till is there already, and numbers its lines. Then no outcome is kept for the request.
    pub fn knows_repetitions(&self) -> bool {
        matches!(self, Self::Import(_) | Self::OpenTill(_) | Self::Sync(_))
    }
}

/// Register the caller, or change its registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The role in the caller's certificate.
    pub role: Role,
    /// The name for others to see.
    pub display_name: DisplayName,
    /// Where to call the party, already checked.
    pub callback: Option<Callback>,
}

/// List a new item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sell(pub ItemListing);

/// Make items of the caller's as they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import(pub Vec<ImportRow>);

/// Change an item of the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The item.
    pub item: ItemId,
    /// What to change.
    pub patch: ItemPatch,
    /// Only if the item has this version.
    pub expected_version: Option<i64>,
}

/// Take an item of the caller's off the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The item.
    pub item: ItemId,
    /// Only if the item has this version.
    pub expected_version: Option<i64>,
}

/// Buy units of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buy(pub OrderLine);

/// Buy units of several items, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(pub Vec<OrderLine>);

/// Cancel an order of the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The order.
    pub order: OrderId,
}

/// Cancel an order of an item of the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelSale {
    /// The order.
    pub order: OrderId,
    /// Why, for the buyer.
    pub reason: CancelReason,
}

/// An order of an item of the caller's is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ship {
    /// The order.
    pub order: OrderId,
}

/// An order of an item of the caller's has reached its buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// The order.
    pub order: OrderId,
}

/// Start a ride with orders of the caller's items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRide(pub RidePlan);

/// End a ride of the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRide {
    /// The ride.
    pub ride: RideId,
    /// Its orders, as they were found before: those of a ride never change.
    pub orders: Vec<OrderId>,
}

/// Open a till of the caller's, or find it open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTill {
    /// Its name.
    pub till: TillName,
}

/// Forget a till of the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveTill {
    /// Its name.
    pub till: TillName,
}

/// Carry out what a till of the caller's has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Its name.
    pub till: TillName,
    /// Its lines; known by their numbers when they come again.
    pub lines: Vec<TillLine>,
}

/// Put an item on the caller's wishlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The item.
    pub item: ItemId,
}

/// Take an item off the caller's wishlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwish {
    /// The item.
    pub item: ItemId,
}

/// Rate an item that the caller has bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The item.
    pub item: ItemId,
    /// How many stars.
    pub stars: Stars,
    /// Replace an earlier rating.
    pub update_existing: bool,
}

/// Put a harmless event into the caller's own mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// What to write into it.
    pub text: TestText,
}

/// Shut a party out. The caller is an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspend {
    /// The party.
    pub party: PartyId,
    /// Why.
    pub reason: SuspensionReason,
}

/// Let a suspended party in again. The caller is an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reinstate {
    /// The party.
    pub party: PartyId,
}

//! Rides: deliveries of one or more orders.

use serde::{Deserialize, Serialize};

use super::{OrderId, PartyId, Place, RideId, RideText, Timestamp};

/// The kind of a ride.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RideKind {
    /// Carries orders of one buyer only.
    Regular,
    /// May carry orders of several buyers.
    Pooled,
}

/// An order on a ride, with its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RideStop {
    /// The order that is delivered at this stop.
    pub order: OrderId,
    /// The destination; `None` if the seller gave none.
    pub destination: Option<Place>,
}

/// The data of a ride that a seller gives at its start. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RidePlan {
    /// Whether the ride is for one buyer or several.
    pub kind: RideKind,
    /// A description of the vehicle, shown to the buyers.
    pub vehicle: RideText,
    /// The driver's name, shown to the buyers.
    pub driver: RideText,
    /// Where the ride begins, as its seller gave it.
    pub start: Place,
    /// The orders on the ride: 1 to [`Self::MAX_STOPS`], each named once.
    pub stops: Vec<RideStop>,
}

impl RidePlan {
    /// The maximum number of orders on one ride.
    pub const MAX_STOPS: usize = 50;
}

/// A ride that was started, and perhaps ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ride {
    /// The id, created at the start.
    pub id: RideId,
    /// The seller that started the ride.
    pub seller: PartyId,
    /// The data given at the start.
    pub plan: RidePlan,
    /// When the ride started, which is when its orders were shipped.
    pub started_at: Timestamp,
    /// When the ride ended; `None` while it is in progress.
    pub ended_at: Option<Timestamp>,
}

impl Ride {
    /// Returns an order's destination; `None` if it is unknown or the order is not on the ride.
    pub fn destination(&self, order: OrderId) -> Option<Place> {
        self.plan.stops.iter().find(|stop| stop.order == order)?.destination
    }
}

//! Rides: orders on their way.

use serde::{Deserialize, Serialize};

use super::{OrderId, PartyId, Place, RideId, RideText, Timestamp};

/// What a ride is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RideKind {
    /// To one buyer.
    Regular,
    /// To several buyers.
    Pooled,
}

/// Where one order of a ride goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RideStop {
    /// The order.
    pub order: OrderId,
    /// Where it goes, if that was told.
    pub destination: Option<Place>,
}

/// What a seller says of a ride when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RidePlan {
    /// What it is.
    pub kind: RideKind,
    /// What drives.
    pub vehicle: RideText,
    /// Who drives.
    pub driver: RideText,
    /// Where it begins.
    pub start: Place,
    /// Its orders; 1 or more.
    pub stops: Vec<RideStop>,
}

impl RidePlan {
    /// The most orders of one ride.
    pub const MAX_STOPS: usize = 50;
}

/// A ride.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ride {
    /// The ride's key.
    pub id: RideId,
    /// Whose ride.
    pub seller: PartyId,
    /// What was said when it began.
    pub plan: RidePlan,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
}

impl Ride {
    /// Where an order goes, if it is known.
    pub fn destination(&self, order: OrderId) -> Option<Place> {
        self.plan.stops.iter().find(|stop| stop.order == order)?.destination
    }
}

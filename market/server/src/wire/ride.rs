//! Parsing of ride requests.

use souk_domain::{OrderId, RideKind, RidePlan, RideStop, RideText, action};
use souk_proto::v1;
use souk_store::Fix;
use tonic::Status;

use super::mutation::{Mutating, Parsed, mutating};
use super::parse::{Fields, fingerprint};

/// Converts a StartRide request to a command without its caller.
pub fn start_ride(mut request: v1::StartRideRequest) -> Result<Parsed<action::StartRide>, Status> {
    let call = mutating!(request, "StartRide");
    let mut fields = Fields::new();
    let kind = match request.kind() {
        v1::RideKind::Regular => Some(RideKind::Regular),
        v1::RideKind::Pooled => Some(RideKind::Pooled),
        v1::RideKind::Unspecified => {
            fields.wrong("kind", "is missing; use REGULAR or POOLED");
            None
        }
    };
    let vehicle = fields.take("vehicle", RideText::parse(&request.vehicle));
    let driver = fields.take("driver", RideText::parse(&request.driver));
    let start = fields.place("start", request.start.as_ref());
    let stops = stops(&mut fields, &request.stops);
    let plan = (|| {
        Some(RidePlan { kind: kind?, vehicle: vehicle?, driver: driver?, start: start?, stops: stops? })
    })();
    call.finish(fields, plan.map(action::StartRide))
}

fn stops(fields: &mut Fields, stops: &[v1::RideStop]) -> Option<Vec<RideStop>> {
    let count = stops.len();
    if !(1..=RidePlan::MAX_STOPS).contains(&count) {
        fields.wrong("stops", format!("are {count}; give 1 to {}", RidePlan::MAX_STOPS));
        return None;
    }
    let read = stops.iter().enumerate().map(|(n, stop)| {
        let order = fields.id(&format!("stops[{n}].order_id"), stop.order_id).map(OrderId);
        let destination = match &stop.destination {
            Some(there) => Some(fields.place(&format!("stops[{n}].destination"), Some(there))?),
            None => None,
        };
        Some(RideStop { order: order?, destination })
    });
    // Collected first, so that the mistakes of all stops are reported.
    let read: Vec<_> = read.collect();
    read.into_iter().collect()
}

/// Converts an EndRide request to a command without its caller. The caller must look up the ride's orders.
pub fn end_ride(mut request: v1::EndRideRequest) -> Result<Parsed<action::EndRide>, Status> {
    let call = mutating!(request, "EndRide");
    let mut fields = Fields::new();
    let ride = fields.ride("ride_id", &request.ride_id);
    call.finish(fields, ride.map(|ride| action::EndRide { ride, orders: Vec::new() }))
}

/// Parses a position, or returns what is wrong with it.
pub fn fix(position: &v1::TrackedPosition) -> Result<Fix, String> {
    let mut fields = Fields::new();
    let place = fields.place("location", position.location.as_ref());
    let at = fields.optional_time("time", position.time.as_ref());
    if position.time.is_none() {
        fields.wrong("time", "is missing; say when the courier was there");
    }
    fields.finish_as_text(place.zip(at).map(|(place, at)| Fix { place, at }))
}

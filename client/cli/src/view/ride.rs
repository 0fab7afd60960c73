//! Views of rides and positions, and the parser of `LATITUDE,LONGITUDE`.

use serde::Serialize;
use souk_proto::v1;

use super::{or_dash, time};
use crate::{output::Shown, plain};

/// Parses `LATITUDE,LONGITUDE` in degrees.
///
/// # Errors
/// Returns what is wrong with the text.
pub fn parse_location(text: &str) -> Result<v1::Location, String> {
    let problem = || format!("{text:?} is no place; write latitude and longitude in degrees, like 51.5,-0.1");
    let (latitude, longitude) = text.split_once(',').ok_or_else(problem)?;
    let degrees = |text: &str| text.trim().parse::<f64>().ok().filter(|degrees| degrees.is_finite());
    Ok(v1::Location {
        latitude: degrees(latitude).ok_or_else(problem)?,
        longitude: degrees(longitude).ok_or_else(problem)?,
    })
}

/// A latitude and a longitude, in degrees.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LocationView {
    latitude: f64,
    longitude: f64,
}

impl LocationView {
    fn new(location: Option<&v1::Location>) -> Option<Self> {
        location.map(|place| Self { latitude: place.latitude, longitude: place.longitude })
    }

    fn words(&self) -> String {
        format!("{:.5},{:.5}", self.latitude, self.longitude)
    }
}

/// A ride, as a row or JSON object.
#[derive(Clone, Debug, Serialize)]
pub struct RideView {
    ride_id: String,
    kind: &'static str,
    vehicle: String,
    driver: String,
    order_ids: Vec<i64>,
    start: Option<LocationView>,
    start_time: Option<String>,
    end_time: Option<String>,
}

impl From<&v1::Ride> for RideView {
    fn from(ride: &v1::Ride) -> Self {
        Self {
            ride_id: plain(&ride.ride_id),
            kind: match ride.kind() {
                v1::RideKind::Unspecified => "unknown",
                v1::RideKind::Regular => "regular",
                v1::RideKind::Pooled => "pooled",
            },
            vehicle: plain(&ride.vehicle),
            driver: plain(&ride.driver),
            order_ids: ride.stops.iter().map(|stop| stop.order_id).collect(),
            start: LocationView::new(ride.start.as_ref()),
            start_time: time(ride.start_time.as_ref()),
            end_time: time(ride.end_time.as_ref()),
        }
    }
}

impl Shown for RideView {
    const HEADINGS: &'static [&'static str] =
        &["ride", "kind", "vehicle", "driver", "orders", "from", "started", "ended"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.ride_id.clone(),
            self.kind.to_owned(),
            self.vehicle.clone(),
            self.driver.clone(),
            self.order_ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", "),
            or_dash(self.start.map(|start| start.words())),
            or_dash(self.start_time.clone()),
            or_dash(self.end_time.clone()),
        ]
    }
}

/// A ride in a list, with a prefix of its id that identifies it.
#[derive(Clone, Debug, Serialize)]
pub struct RideRow {
    #[serde(flatten)]
    ride: RideView,
    #[serde(skip)]
    short_id: String,
}

impl RideRow {
    /// The minimum number of digits of an id that are shown.
    const LEAST_DIGITS: usize = 8;

    /// Returns the rows of a list, in its order. Each shows a prefix of its id that no other ride in the list has.
    pub fn all(rides: &[v1::Ride]) -> Vec<Self> {
        let mut ids: Vec<&str> = rides.iter().map(|ride| ride.ride_id.as_str()).collect();
        ids.sort_unstable();
        let common = |one: &str, other: &str| {
            one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
        };
        let short = |id: &str| {
            let place = ids.partition_point(|other| *other < id);
            // In this order, an id shares its longest prefix with a neighbour.
            let neighbours = [place.checked_sub(1), Some(place + 1)];
            let others = neighbours.into_iter().flatten().filter_map(|place| ids.get(place).copied());
            let longest = others.map(|other| common(id, other)).max().unwrap_or(0);
            plain(&id.chars().take((longest + 1).max(Self::LEAST_DIGITS)).collect::<String>())
        };
        rides.iter().map(|ride| Self { short_id: short(&ride.ride_id), ride: RideView::from(ride) }).collect()
    }

    /// Returns the prefix of the id.
    pub fn short_id(&self) -> &str {
        &self.short_id
    }
}

impl Shown for RideRow {
    const HEADINGS: &'static [&'static str] =
        &["RIDE", "STATUS", "VEHICLE", "DRIVER", "ORDERS", "STARTED", "ENDED"];

    fn cells(&self) -> Vec<String> {
        let ride = &self.ride;
        vec![
            self.short_id.clone(),
            if ride.end_time.is_some() { "ended" } else { "under way" }.to_owned(),
            ride.vehicle.clone(),
            ride.driver.clone(),
            ride.order_ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", "),
            or_dash(ride.start_time.clone()),
            or_dash(ride.end_time.clone()),
        ]
    }
}

/// The result of a stream of positions.
#[derive(Clone, Debug, Serialize)]
pub struct TrackingView {
    received_count: i64,
    kept_count: i64,
    failed_count: i64,
    distance_meters: f64,
}

impl From<&v1::TrackRideResponse> for TrackingView {
    fn from(done: &v1::TrackRideResponse) -> Self {
        Self {
            received_count: done.received_count,
            kept_count: done.kept_count,
            failed_count: done.failed_count,
            distance_meters: done.distance_meters,
        }
    }
}

impl Shown for TrackingView {
    const HEADINGS: &'static [&'static str] = &["POSITIONS", "KEPT", "FAILED", "DISTANCE"];

    fn cells(&self) -> Vec<String> {
        let counts = [self.received_count, self.kept_count, self.failed_count];
        counts.iter().map(i64::to_string).chain([distance(self.distance_meters)]).collect()
    }
}

/// The current position of an order.
#[derive(Clone, Debug, Serialize)]
pub struct RidePositionView {
    sequence: i64,
    location: Option<LocationView>,
    time: Option<String>,
    distance_meters: f64,
    eta_seconds: Option<i64>,
}

impl From<&v1::RidePosition> for RidePositionView {
    fn from(position: &v1::RidePosition) -> Self {
        Self {
            sequence: position.sequence,
            location: LocationView::new(position.location.as_ref()),
            time: time(position.time.as_ref()),
            distance_meters: position.distance_meters,
            eta_seconds: position.eta.as_ref().map(|eta| eta.seconds),
        }
    }
}

impl RidePositionView {
    /// Describes the position in a sentence.
    pub fn sentence(&self) -> String {
        let eta = match self.eta_seconds {
            Some(seconds) => format!(", about {} to go", minutes(seconds)),
            None => String::new(),
        };
        format!(
            "{}: at {}, {} on its way{eta}",
            or_dash(self.time.clone()),
            or_dash(self.location.map(|place| place.words())),
            distance(self.distance_meters)
        )
    }
}

impl Shown for RidePositionView {
    const HEADINGS: &'static [&'static str] = &["POSITION"];

    fn cells(&self) -> Vec<String> {
        vec![self.sentence()]
    }
}

fn distance(meters: f64) -> String {
    if meters < 1_000.0 { format!("{meters:.0} m") } else { format!("{:.1} km", meters / 1_000.0) }
}

fn minutes(seconds: i64) -> String {
    match seconds {
        ..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_two_numbers() {
        assert_eq!(parse_location("51.5, -0.1"), Ok(v1::Location { latitude: 51.5, longitude: -0.1 }));
        for wrong in ["", "51.5", "a,b", "51,5;0", "nan,0", "inf,1"] {
            assert!(parse_location(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_and_distances_are_round() {
        assert_eq!([minutes(45), minutes(540), minutes(7_260)], ["45 s", "9 min", "2 h 1 min"]);
        assert_eq!([distance(12.4), distance(12_345.0)], ["12 m", "12.3 km"]);
    }
}

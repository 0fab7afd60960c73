//! Views of rides and positions, and the parser of `LATITUDE,LONGITUDE`.

use serde::Serialize;
use souk_proto::v1;

use crate::{
    fields::DataField,
    output::Shown,
    plain,
    table::{Cell, Column, Tone},
    when::When,
};

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
    start_time: Option<When>,
    end_time: Option<When>,
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
            start_time: When::of(ride.start_time.as_ref()),
            end_time: When::of(ride.end_time.as_ref()),
        }
    }
}

impl RideView {
    fn orders(&self) -> Cell {
        let ids: Vec<_> = self.order_ids.iter().map(i64::to_string).collect();
        ids.join(", ").into()
    }
}

impl Shown for RideView {
    const LIST: &'static str = "rides";
    const COLUMNS: &'static [Column] = &[
        Column::word("ride"),
        Column::word("kind").rank(4),
        Column::text("vehicle"),
        Column::text("driver").rank(3),
        Column::prose("orders"),
        Column::word("from").rank(5),
        Column::word("started").rank(2),
        Column::word("ended").rank(1),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("ride_id"),
        DataField::value("kind"),
        DataField::value("vehicle"),
        DataField::value("driver"),
        DataField::value("order_ids"),
        DataField::value("start_latitude").at("start.latitude"),
        DataField::value("start_longitude").at("start.longitude"),
        DataField::value("start_time"),
        DataField::value("end_time"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::from(&self.ride_id),
            self.kind.into(),
            Cell::from(&self.vehicle),
            Cell::from(&self.driver),
            self.orders(),
            Cell::or_dash(self.start.map(|start| start.words())),
            Cell::time(self.start_time),
            Cell::time(self.end_time),
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
    const LIST: &'static str = "rides";
    const COLUMNS: &'static [Column] = &[
        Column::word("RIDE"),
        Column::word("STATUS"),
        Column::text("VEHICLE"),
        Column::text("DRIVER").rank(2),
        Column::prose("ORDERS"),
        Column::word("STARTED").rank(1),
        Column::word("ENDED").rank(3),
    ];
    const SELECTABLE: &'static [DataField] = RideView::FIELDS;

    fn cells(&self) -> Vec<Cell> {
        let ride = &self.ride;
        let status = match ride.end_time {
            Some(_) => Cell::from("ended").tone(Tone::Good),
            None => Cell::from("under way").tone(Tone::Busy),
        };
        vec![
            Cell::from(&self.short_id),
            status,
            Cell::from(&ride.vehicle),
            Cell::from(&ride.driver),
            ride.orders(),
            Cell::time(ride.start_time),
            Cell::time(ride.end_time),
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
    const LIST: &'static str = "trackings";
    const COLUMNS: &'static [Column] = &[
        Column::number("POSITIONS"),
        Column::number("KEPT"),
        Column::number("FAILED"),
        Column::number("DISTANCE"),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("received_count"),
        DataField::value("kept_count"),
        DataField::value("failed_count"),
        DataField::value("distance_meters"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let counts = [self.received_count, self.kept_count, self.failed_count];
        counts.into_iter().map(Cell::from).chain([distance(self.distance_meters).into()]).collect()
    }
}

/// The current position of an order.
#[derive(Clone, Debug, Serialize)]
pub struct RidePositionView {
    sequence: i64,
    location: Option<LocationView>,
    time: Option<When>,
    distance_meters: f64,
    eta_seconds: Option<i64>,
}

impl From<&v1::RidePosition> for RidePositionView {
    fn from(position: &v1::RidePosition) -> Self {
        Self {
            sequence: position.sequence,
            location: LocationView::new(position.location.as_ref()),
            time: When::of(position.time.as_ref()),
            distance_meters: position.distance_meters,
            eta_seconds: position.eta.as_ref().map(|eta| eta.seconds),
        }
    }
}

impl RidePositionView {
    /// Describes the position in a sentence.
    pub fn sentence(&self) -> String {
        let eta = self.eta_seconds.map(|seconds| format!(", about {} to go", minutes(seconds)));
        format!(
            "{}: at {}, {} on its way{}",
            self.time.map_or_else(|| "-".to_owned(), When::rfc3339),
            self.place().unwrap_or_else(|| "-".to_owned()),
            distance(self.distance_meters),
            eta.unwrap_or_default()
        )
    }

    /// Describes the position on one line of a terminal this wide: what does not fit is left out, the least important
    /// first. `format` formats the time.
    pub fn line(&self, width: usize, format: impl Fn(When) -> String) -> String {
        let eta = self.eta_seconds.map(|seconds| format!("about {} to go", minutes(seconds)));
        let gone = format!("{} on its way", distance(self.distance_meters));
        let place = self.place().map(|place| format!("at {place}"));
        let time = self.time.map(format);
        let all = [time, place, Some(gone), eta];
        // From all parts down to the last one: the time to go or, without it, the distance.
        let lines = (0..all.len()).map(|first| {
            let parts: Vec<_> = all[first..].iter().flatten().map(String::as_str).collect();
            parts.join(", ")
        });
        // The last column stays free: some terminals move to the next line when it is written.
        let fitting = lines.filter(|line| !line.is_empty()).find(|line| line.len() < width);
        fitting
            .or_else(|| {
                all.iter()
                    .flatten()
                    .next_back()
                    .map(|part| part.chars().take(width.saturating_sub(1)).collect())
            })
            .unwrap_or_default()
    }

    fn place(&self) -> Option<String> {
        self.location.map(|place| place.words())
    }
}

impl Shown for RidePositionView {
    const LIST: &'static str = "positions";
    const COLUMNS: &'static [Column] = &[Column::prose("POSITION")];
    const FIELDS: &'static [DataField] = &[
        DataField::value("sequence"),
        DataField::value("latitude").at("location.latitude"),
        DataField::value("longitude").at("location.longitude"),
        DataField::value("time"),
        DataField::value("distance_meters"),
        DataField::value("eta_seconds"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![self.sentence().into()]
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
    fn a_position_fits_a_narrow_line() {
        let view = RidePositionView {
            sequence: 1,
            location: Some(LocationView { latitude: 51.5014, longitude: -0.1419 }),
            time: When::parse("2026-11-18T11:06:40Z"),
            distance_meters: 3_200.0,
            eta_seconds: Some(540),
        };
        assert_eq!(
            view.line(100, When::rfc3339),
            "2026-11-18T11:06:40Z, at 51.50140,-0.14190, 3.2 km on its way, about 9 min to go"
        );
        assert_eq!(
            view.line(60, When::rfc3339),
            "at 51.50140,-0.14190, 3.2 km on its way, about 9 min to go"
        );
        assert_eq!(view.line(58, When::rfc3339), "3.2 km on its way, about 9 min to go");
        assert_eq!(view.line(30, When::rfc3339), "about 9 min to go");
        assert_eq!(view.line(10, When::rfc3339), "about 9 m");
        let unknown = RidePositionView { eta_seconds: None, ..view };
        assert_eq!(unknown.line(20, When::rfc3339), "3.2 km on its way");
    }

    #[test]
    fn times_and_distances_are_round() {
        assert_eq!([minutes(45), minutes(540), minutes(7_260)], ["45 s", "9 min", "2 h 1 min"]);
        assert_eq!([distance(12.4), distance(12_345.0)], ["12 m", "12.3 km"]);
    }
}

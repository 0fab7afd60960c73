//! `seller ride`: starts, tracks and ends a delivery. Buyers follow it with `buyer track`.

mod listing;
mod positions;

use std::str::FromStr;

use clap::{Args, Subcommand};
use souk_cli::{
    CliSession, Failure,
    view::{RideView, parse_location},
};
use souk_client::error::required;
use souk_proto::v1::{EndRideRequest, Location, RideKind, RideStop, StartRideRequest};

use listing::{List, short_id, whole_id};
use positions::Track;

/// Start a ride with orders, list your rides, report a position, and end it
#[derive(Subcommand)]
pub(crate) enum Ride {
    Start(Start),
    List(List),
    Track(Track),
    End(End),
}

/// Start a ride: its orders are on their way from now on, and their buyers are notified
#[derive(Args)]
#[command(after_help = "Example:
  seller ride start 12@51.5014,-0.1419 --from 51.5074,-0.1278 --vehicle \"green van\" --driver Eve")]
pub(crate) struct Start {
    /// Orders, and where they go as far as that is known: `12` or `12@LATITUDE,LONGITUDE`.
    #[arg(required = true, value_name = "ORDER[@LAT,LON]")]
    stops: Vec<Stop>,
    /// Where the ride begins, in degrees.
    #[arg(long, value_name = "LAT,LON", value_parser = parse_location, allow_hyphen_values = true)]
    from: Location,
    /// The vehicle, in words that the buyers will see.
    #[arg(long)]
    vehicle: String,
    /// The driver's name, which the buyers will see.
    #[arg(long)]
    driver: String,
    /// Take orders of several buyers along.
    #[arg(long)]
    pooled: bool,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// End a ride: orders still on it are delivered, and their buyers are notified
#[derive(Args)]
#[command(after_help = "Example:\n  seller ride end 0199b8d2-5f0c-7d33-a3c1-2f1d8a0e4b77")]
pub(crate) struct End {
    /// The ride's id, or as much of its beginning as `ride list` shows.
    ride: String,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Stop(RideStop);

impl FromStr for Stop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (order, destination) = match text.split_once('@') {
            Some((order, place)) => (order, Some(parse_location(place)?)),
            None => (text, None),
        };
        let order_id = order.parse().map_err(|_| "write it like 12 or 12@51.5,-0.1".to_owned())?;
        Ok(Self(RideStop { order_id, destination }))
    }
}

impl Ride {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        match self {
            Self::Start(start) => start.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Track(track) => track.run(session).await,
            Self::End(end) => end.run(session).await,
        }
    }
}

impl Start {
    async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<RideView>()?;
        let kind = if self.pooled { RideKind::Pooled } else { RideKind::Regular };
        let request = StartRideRequest {
            request_id: self.request_id.unwrap_or_default(),
            validate_only: false,
            kind: kind.into(),
            vehicle: self.vehicle,
            driver: self.driver,
            start: Some(self.from),
            stops: self.stops.iter().map(|stop| stop.0).collect(),
        };
        let started = session.call(request).await?;
        let ride = required(started.ride, "ride")?;
        session.printer().card(&RideView::from(&ride))?;
        let id = short_id(session, &ride.ride_id).await;
        session.printer().say(&format!("report its position with: seller ride track {id}"));
        Ok(())
    }
}

impl End {
    async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<RideView>()?;
        let request = EndRideRequest {
            request_id: self.request_id.unwrap_or_default(),
            ride_id: whole_id(session, self.ride).await?,
            ..Default::default()
        };
        let ended = session.call(request).await?;
        session.printer().card(&RideView::from(&required(ended.ride, "ride")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_an_order_and_perhaps_a_place() {
        assert_eq!("12".parse(), Ok(Stop(RideStop { order_id: 12, destination: None })));
        let there = Location { latitude: 51.5, longitude: -0.25 };
        assert_eq!("12@51.5,-0.25".parse(), Ok(Stop(RideStop { order_id: 12, destination: Some(there) })));
        for wrong in ["", "lamp", "12@", "12@51.5", "12@north,south", "@1,2"] {
            assert!(wrong.parse::<Stop>().is_err(), "{wrong}");
        }
    }
}

//! `seller ride track`: positions from a GPX file or from standard input.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
    pin::pin,
    thread,
    time::Duration,
};

use clap::Args;
use souk_certs::clock::Clock;
use souk_cli::{
    CliSession, Failure, Persistence,
    view::{TrackingView, parse_location},
    wire_time,
};
use souk_client::{Connection, Error};
use souk_proto::v1::{
    Location, TrackRideRequest, TrackRideResponse, TrackedPosition, track_ride_request::Message,
};
use time::OffsetDateTime;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;

use super::listing::whole_id;

/// The capacity of the queue between the source and the connection.
const QUEUE: usize = 64;
/// The time between two points of a GPX file without timestamps.
const UNTIMED: Duration = Duration::from_secs(1);

/// Report the position of a ride while it is on its way
///
/// Without --gpx, positions are read from standard input, one `LATITUDE,LONGITUDE` per line, and sent at once,
/// so that any program that knows the courier's position can be piped into this command.
#[derive(Args)]
#[command(after_help = "Examples:
  seller ride track 0199b8d2-5f0c-7d33-a3c1-2f1d8a0e4b77 --gpx van.gpx --speed 10
  gps-program | seller ride track 0199b8d2-5f0c-7d33-a3c1-2f1d8a0e4b77")]
pub(crate) struct Track {
    /// The ride's id, or as much of its beginning as `ride list` shows.
    ride: String,
    /// Drive along a recorded track, at the pace at which it was recorded.
    #[arg(long, value_name = "FILE")]
    gpx: Option<std::path::PathBuf>,
    /// Play the track this many times as fast as it was recorded.
    #[arg(long, value_name = "TIMES", default_value_t = 1.0, requires = "gpx")]
    speed: f64,
}

/// A place, and the time after the start at which it is reached.
struct Point {
    place: Location,
    after: Duration,
}

impl Track {
    pub(super) async fn run(mut self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<TrackingView>()?;
        if !(self.speed.is_finite() && self.speed > 0.0) {
            return Err(Failure::usage(
                "--speed is not above 0",
                "give 1 for the recorded pace, 10 for ten times it",
            ));
        }
        self.ride = whole_id(session, self.ride).await?;
        let (messages, positions) = mpsc::channel(QUEUE);
        let clock = session.clock();
        let sending = match &self.gpx {
            Some(file) => tokio::spawn(drive(read_gpx(file)?, self.speed, clock, messages)),
            None => {
                let refusals = session.printer().to_owned();
                thread::spawn(move || read_lines(&messages, clock, |problem| refusals.say(problem)));
                tokio::spawn(async {})
            }
        };
        let outcome = self.send_all(session, positions).await;
        sending.abort();
        print_errors(session, &outcome?)
    }

    /// Sends the positions over one stream after another, until their source ends. Those that were under way when a
    /// stream broke are lost; those that come meanwhile wait.
    async fn send_all(
        &self,
        session: &CliSession,
        mut positions: mpsc::Receiver<TrackRideRequest>,
    ) -> Result<TrackRideResponse, Failure> {
        session.begin_change();
        let (mut persistence, _renewal) = (Persistence::default(), session.take_up_renewals(None).await?);
        let say = |news: &str| session.printer().say(news);
        loop {
            persistence.reach(session, say).await?;
            match self.send(session.connection().await?, &mut positions).await {
                Ok(done) => return Ok(done),
                Err(failure) => persistence.wait(session, failure, false, say).await?,
            }
        }
    }

    async fn send(
        &self,
        connection: &Connection,
        positions: &mut mpsc::Receiver<TrackRideRequest>,
    ) -> Result<TrackRideResponse, Error> {
        let (messages, stream) = mpsc::channel(QUEUE);
        let first = TrackRideRequest { message: Some(Message::RideId(self.ride.clone())) };
        // There is room: the channel is new.
        let _ = messages.try_send(first);
        let mut rides = connection.rides();
        let mut answer = pin!(rides.track_ride(ReceiverStream::new(stream)));
        let mut messages = Some(messages);
        loop {
            let room = async {
                match &messages {
                    // Fails only after the stream has ended, which the answer reports.
                    Some(messages) => messages.reserve().await.ok(),
                    None => None,
                }
            };
            tokio::select! {
                answer = &mut answer => return match answer {
                    Ok(done) => Ok(done.into_inner()),
                    Err(status) => Err(connection.explain(status).await),
                },
                // Room first, so that no position is taken from the source without it.
                position = async {
                    match room.await {
                        Some(room) => positions.recv().await.map(|position| room.send(position)),
                        None => std::future::pending().await,
                    }
                } => if position.is_none() {
                    messages = None;
                },
            }
        }
    }
}

fn print_errors(session: &CliSession, done: &TrackRideResponse) -> Result<(), Failure> {
    for error in &done.errors {
        session.printer().say(&format!("position {}: {}", error.number, souk_cli::plain(&error.message)));
    }
    session.printer().one(&TrackingView::from(done))
}

fn message(place: Location, at: OffsetDateTime) -> TrackRideRequest {
    let time = Some(wire_time(at));
    TrackRideRequest { message: Some(Message::Position(TrackedPosition { location: Some(place), time })) }
}

/// Sends each point when its time has come.
async fn drive(points: Vec<Point>, speed: f64, clock: Clock, messages: mpsc::Sender<TrackRideRequest>) {
    let began = Instant::now();
    for Point { place, after } in points {
        sleep_until(began + after.div_f64(speed)).await;
        if messages.send(message(place, clock.now())).await.is_err() {
            return;
        }
    }
}

fn read_lines(messages: &mpsc::Sender<TrackRideRequest>, clock: Clock, refuse: impl Fn(&str)) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        if line.trim().is_empty() {
            continue;
        }
        match parse_location(line.trim()) {
            Ok(place) if messages.blocking_send(message(place, clock.now())).is_err() => return,
            Ok(_) => {}
            Err(problem) => refuse(&format!("{line:?} was left out: {problem}")),
        }
    }
}

/// Returns all points of all tracks and routes of a file.
fn read_gpx(file: &Path) -> Result<Vec<Point>, Failure> {
    let failed = |error: io::Error| Failure::io(format!("read {}", file.display()), error);
    let opened = File::open(file).map_err(failed)?;
    let gpx = gpx::read(BufReader::new(opened)).map_err(|error| {
        let problem = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        failed(problem)
    })?;
    let segments = gpx.tracks.into_iter().flat_map(|track| track.segments);
    let recorded = segments.flat_map(|segment| segment.points);
    let routed = gpx.routes.into_iter().flat_map(|route| route.points);
    let mut began = None;
    let mut last = Duration::ZERO;
    let points: Vec<_> = recorded
        .chain(routed)
        .enumerate()
        .map(|(n, point)| {
            let at = point.time.map(OffsetDateTime::from);
            if n == 0 {
                began = at;
            }
            let since = at.zip(began).map(|(at, began)| at - began);
            let since = since.and_then(|since| Duration::try_from(since).ok());
            let after = if n == 0 { Duration::ZERO } else { since.unwrap_or(last + UNTIMED).max(last) };
            last = after;
            let (longitude, latitude) = point.point().x_y();
            Point { place: Location { latitude, longitude }, after }
        })
        .collect();
    if points.is_empty() {
        return Err(Failure::usage(
            format!("{} holds no points", file.display()),
            "give a file with a recorded track (trk) or a route (rte)",
        ));
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(points: &str) -> Result<Vec<Point>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ride.gpx");
        let text = format!(
            r#"<?xml version="1.0"?><gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>{points}</trkseg></trk></gpx>"#
        );
        std::fs::write(&file, text).unwrap();
        read_gpx(&file)
    }

    #[test]
    fn a_recorded_track_keeps_its_pace() {
        let points = read(
            r#"<trkpt lat="51.5" lon="-0.1"><time>2026-11-25T08:00:00Z</time></trkpt>
               <trkpt lat="51.6" lon="-0.2"><time>2026-11-25T08:00:30Z</time></trkpt>
               <trkpt lat="51.7" lon="-0.3"></trkpt>"#,
        )
        .unwrap();
        let times: Vec<_> = points.iter().map(|point| point.after.as_secs()).collect();
        assert_eq!(times, [0, 30, 31]);
        assert_eq!(points[1].place, Location { latitude: 51.6, longitude: -0.2 });
    }

    #[test]
    fn a_file_without_points_or_of_another_kind_is_refused() {
        assert!(read("").is_err_and(|failure| failure.to_string().contains("no points")));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ride.gpx");
        std::fs::write(&file, "latitude,longitude\n").unwrap();
        assert!(read_gpx(&file).is_err_and(|failure| failure.to_string().contains("ride.gpx")));
    }
}

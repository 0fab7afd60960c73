//! `buyer track`: follows the ride of an order, over broken streams too, until it has ended.

use clap::Args;
use souk_cli::{CliSession, Failure, Persistence, view::RidePositionView};
use souk_client::Error;
use souk_proto::v1::{WatchRideRequest, watch_ride_response::Message};

/// Watch an order on its way to you, until it is there
///
/// On a terminal the position is one line that changes; otherwise, and in JSON, each is a line of its own.
#[derive(Args)]
#[command(after_help = "Example:\n  buyer track 12")]
pub(crate) struct Track {
    /// The order's id, as `orders` shows it.
    order: i64,
}

/// The assumed width of a terminal that does not report its own.
const USUAL_WIDTH: usize = 80;

/// How a stream ended.
enum End {
    /// The ride has ended.
    Arrived,
    /// The stream broke or could not be opened. The error decides whether to try again.
    Broken(Error),
}

impl Track {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<RidePositionView>()?;
        let mut interrupted = session.interrupt()?;
        let _renewal = session.take_up_renewals(None).await?;
        tokio::select! {
            watched = self.watch(session) => watched,
            () = interrupted.came() => Ok(()),
        }
    }

    async fn watch(&self, session: &CliSession) -> Result<(), Failure> {
        let is_live = session.printer().is_for_people() && session.printer().is_terminal();
        let (mut cursor, mut persistence) = (0, Persistence::default());
        loop {
            let before = cursor;
            let end = self.follow(session, &mut cursor, &mut persistence, is_live).await?;
            if is_live {
                session.printer().write_raw("\n")?;
            }
            match end {
                End::Arrived => {
                    session.printer().say("the ride is over: your order has arrived");
                    return Ok(());
                }
                End::Broken(failure) => {
                    let say = |news: &str| session.printer().say(news);
                    persistence.wait(session, failure, cursor > before, say).await?;
                }
            }
        }
    }

    /// Runs one stream. Positions up to the cursor are not sent again.
    async fn follow(
        &self,
        session: &CliSession,
        cursor: &mut i64,
        persistence: &mut Persistence,
        is_live: bool,
    ) -> Result<End, Failure> {
        let connection = session.connection().await?.clone();
        let request = WatchRideRequest { order_id: self.order, cursor: *cursor };
        let mut positions = match connection.rides().watch_ride(request).await {
            Ok(positions) => positions.into_inner(),
            Err(status) => return Ok(End::Broken(connection.explain(status).await)),
        };
        // Opened, though there may be no new position for a while.
        persistence.came(|news| session.printer().say(news));
        loop {
            match positions.message().await {
                Ok(Some(message)) => match message.message {
                    Some(Message::Position(position)) => {
                        *cursor = position.sequence;
                        show(session, &RidePositionView::from(&position), is_live)?;
                    }
                    Some(Message::Ended(_)) => return Ok(End::Arrived),
                    None => {}
                },
                Ok(None) => {
                    let status = tonic::Status::unavailable("the market ended the stream");
                    return Ok(End::Broken(connection.explain(status).await));
                }
                Err(status) => return Ok(End::Broken(connection.explain(status).await)),
            }
        }
    }
}

fn show(session: &CliSession, position: &RidePositionView, is_live: bool) -> Result<(), Failure> {
    let printer = session.printer();
    if !is_live {
        return printer.event(position, &position.sentence());
    }
    // Returns to the beginning of the line and erases it (ECMA-48, EL). A line that is wider than the terminal would
    // wrap, and its first row would remain.
    let width = printer.width().unwrap_or(USUAL_WIDTH);
    let line = position.line(width, |when| printer.time_of_day(when));
    printer.write_raw(&format!("\r\x1b[K{line}"))
}

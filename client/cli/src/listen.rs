//! Receives events as they happen: through a callback server with `--listen`, otherwise through a stream.

use jiff::tz::TimeZone;
use souk_certs::clock::Clock;
use souk_client::{Follower, Inbox, Missed, Notice, follow::follow_as, inbox::InboxHandle};
use souk_proto::v1::Event;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::{
    CliSession, Outage,
    interrupt::Interrupt,
    moment,
    view::{EventView, sentence},
};
use crate::{Failure, upkeep::Renewing};

/// An open source of events that reloads renewed certificates.
pub struct Listening {
    source: EventSource,
    _renewal: Option<Renewing>,
}

enum EventSource {
    Callback(Inbox),
    /// A stream, and the name under which it follows.
    Stream(Follower, String),
}

impl Listening {
    /// Opens the source selected by the settings: a callback server or a stream.
    ///
    /// # Errors
    /// The certificate can't be used, or the address can't be bound.
    pub async fn open(session: &CliSession) -> Result<(Self, mpsc::Receiver<Notice>), Failure> {
        let connection = session.connection().await?;
        let (source, notices) = match session.config()?.listen {
            Some(address) => {
                let listener = Inbox::bind(address).await?;
                let (mut inbox, notices) =
                    Inbox::open(listener, &session.credentials()?, session.seen("").await?)?;
                inbox.announce(connection.silent());
                (EventSource::Callback(inbox), notices)
            }
            None => {
                let name = session.consumer();
                let (follower, notices) =
                    follow_as(connection.silent(), session.seen(name).await?, name.to_owned());
                (EventSource::Stream(follower, name.to_owned()), notices)
            }
        };
        let renewal = session.take_up_renewals(source.handle()).await?;
        Ok((Self { source, _renewal: renewal }, notices))
    }

    /// Acknowledges the events shown, and closes the source.
    pub async fn close(self) {
        match self.source {
            EventSource::Callback(inbox) => inbox.close().await,
            EventSource::Stream(follower, _) => follower.close().await,
        }
    }

    /// Returns a description of the source.
    pub fn describe(&self) -> String {
        match &self.source {
            EventSource::Callback(inbox) => {
                format!("listening on {} for the market's calls", inbox.address())
            }
            EventSource::Stream(_, name) => format!("following your mailbox by a stream, as {name}"),
        }
    }
}

impl EventSource {
    fn handle(&self) -> Option<InboxHandle> {
        match self {
            Self::Callback(inbox) => Some(inbox.handle()),
            Self::Stream(..) => None,
        }
    }
}

/// Prints events until Ctrl-C or SIGTERM.
///
/// # Errors
/// Signals can't be watched, the source can't be opened, or the stream failed permanently.
pub async fn listen(session: &CliSession) -> Result<(), Failure> {
    session.printer().expects::<EventView>()?;
    let mut interrupted = Interrupt::watch()?;
    let (listening, mut notices) = Listening::open(session).await?;
    session.printer().say(&format!("{}; Ctrl-C ends", listening.describe()));
    let mut feed = Feed::new(session.clock());
    let outcome = loop {
        let notice = tokio::select! {
            notice = notices.recv() => notice,
            () = interrupted.came() => None,
        };
        match notice {
            Some(notice) => match show(session, &mut feed, notice) {
                Ok(()) => {}
                Err(failure) => break Err(failure),
            },
            None => break Ok(()),
        }
    };
    listening.close().await;
    outcome
}

fn show(session: &CliSession, feed: &mut Feed, notice: Notice) -> Result<(), Failure> {
    for line in feed.lines(&notice) {
        session.printer().say(&line);
    }
    match notice {
        Notice::Event(delivery) => {
            // Show first, then take: after a crash in between, the event is shown again instead of lost.
            let event = delivery.event();
            session.printer().event(&EventView::from(event), &feed.sentence(event))?;
            delivery.take();
            Ok(())
        }
        Notice::CaughtUp { .. } => {
            session.printer().say("you have seen everything; new events follow");
            Ok(())
        }
        Notice::Opened { .. } | Notice::Interrupted { .. } => Ok(()),
        Notice::Ended(failure) => Err(failure.into()),
    }
}

/// What the user has been told about the source of events.
#[derive(Debug)]
pub(super) struct Feed {
    clock: Clock,
    zone: TimeZone,
    outage: Outage,
    is_guest: bool,
}

impl Feed {
    /// Creates the feed of a source that has just been opened. Times are those of the system's time zone.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, zone: TimeZone::system(), outage: Outage::default(), is_guest: false }
    }

    /// Returns what to say about the state of the source, one sentence a line. Repeated failures are said once.
    fn lines(&mut self, notice: &Notice) -> Vec<String> {
        let news = match notice {
            Notice::Interrupted { failure, .. } => self.outage.begin(failure).into_iter().collect(),
            Notice::Event(_) | Notice::CaughtUp { .. } => self.recovered(),
            Notice::Opened { kept, missed } => {
                let mut lines = self.recovered();
                let was_guest = std::mem::replace(&mut self.is_guest, !kept);
                if self.is_guest && !was_guest {
                    lines.push(
                        "another program follows under the same name; only new events are shown here: to get every \
                         event here too, give it a name of its own with --consumer NAME"
                            .to_owned(),
                    );
                }
                lines.extend(missed_events(*missed));
                lines
            }
            Notice::Ended(_) => Vec::new(),
        };
        let now = self.short(self.clock.now());
        news.into_iter().map(|line| format!("{now} {line}")).collect()
    }

    fn recovered(&mut self) -> Vec<String> {
        self.outage.end().map(str::to_owned).into_iter().collect()
    }

    /// Returns an event as a sentence, with its time.
    fn sentence(&self, event: &Event) -> String {
        let time = event.occur_time.as_ref();
        match time.and_then(|time| OffsetDateTime::from_unix_timestamp(time.seconds).ok()) {
            Some(time) => format!("{} {}", self.short(time), sentence(event)),
            None => sentence(event),
        }
    }

    fn short(&self, time: OffsetDateTime) -> String {
        moment::short(time, self.clock.now(), &self.zone)
    }

    /// Returns notices that came together as lines to print above the one being typed. An outage that has ended
    /// is left out.
    pub(super) fn lines_above(&mut self, notices: &[Notice]) -> Vec<String> {
        let works = |notice: &Notice| {
            matches!(notice, Notice::Opened { .. } | Notice::CaughtUp { .. } | Notice::Event(_))
        };
        let last_sign = notices.iter().rposition(works);
        let mut lines = Vec::new();
        for (index, notice) in notices.iter().enumerate() {
            let is_over = last_sign.is_some_and(|last| index < last);
            if is_over && matches!(notice, Notice::Interrupted { .. }) {
                continue;
            }
            lines.extend(self.lines(notice).into_iter().map(|line| format!("! {line}")));
            match notice {
                Notice::Event(delivery) => lines.push(format!("* {}", self.sentence(delivery.event()))),
                Notice::Ended(failure) => lines.push(format!("! no more events: {failure}")),
                Notice::CaughtUp { .. } | Notice::Interrupted { .. } | Notice::Opened { .. } => {}
            }
        }
        lines
    }
}

/// Returns what to say about events that were dropped; `None` if none was.
fn missed_events(Missed { orders, updates }: Missed) -> Option<String> {
    (orders + updates > 0).then(|| {
        let all = orders + updates;
        format!(
            "{all} events were dropped because they waited too long: {orders} about orders, {updates} others; \
             ask the market's operator to redeliver those about orders"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use souk_client::Error;
    use time::macros::datetime;

    use super::*;

    fn feed() -> Feed {
        let clock = Clock::new(|| datetime!(2026-11-25 14:03 UTC));
        Feed { clock, zone: TimeZone::UTC, outage: Outage::default(), is_guest: false }
    }

    fn interrupted() -> Notice {
        Notice::Interrupted {
            failure: Error::io("reach the market", std::io::Error::other("refused")),
            retry_in: Duration::ZERO,
        }
    }

    fn opened(kept: bool, orders: i64) -> Notice {
        Notice::Opened { kept, missed: Missed { orders, updates: 0 } }
    }

    #[test]
    fn feed_says_each_change_of_state_once() {
        let mut feed = feed();
        assert!(feed.lines(&opened(true, 0)).is_empty());
        let lines = feed.lines(&interrupted());
        assert!(lines.len() == 1 && lines[0].starts_with("14:03 disconnected"), "{lines:?}");
        assert!(feed.lines(&interrupted()).is_empty());
        assert_eq!(feed.lines(&opened(true, 0)), ["14:03 reconnected"]);
        assert!(feed.lines(&opened(false, 0))[0].contains("--consumer"));
        assert!(feed.lines(&opened(false, 0)).is_empty());
        assert!(feed.lines(&opened(true, 2))[0].starts_with("14:03 2 events were dropped"));
    }

    #[test]
    fn outage_during_a_command_is_left_out_when_it_is_over() {
        let mut feed = feed();
        let over = [interrupted(), interrupted(), opened(true, 0)];
        assert!(feed.lines_above(&over).is_empty());
        let still_on = [interrupted(), opened(true, 0), interrupted()];
        assert_eq!(feed.lines_above(&still_on).len(), 1);
        assert_eq!(feed.lines_above(&[opened(true, 0)]), ["! 14:03 reconnected"]);
    }
}

//! Receives events as they happen: through a callback server with `--listen`, otherwise through a stream.

use souk_client::{Follower, Inbox, Missed, Notice, Renewal, follow::follow_as, inbox::InboxHandle};
use tokio::sync::mpsc;

use super::{
    CliSession, Outage,
    interrupt::Interrupt,
    view::{EventView, sentence},
};
use crate::Failure;

/// An open source of events that reloads renewed certificates.
pub struct Listening {
    source: EventSource,
    _renewal: Option<Renewal>,
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
    let mut interrupted = Interrupt::watch()?;
    let (listening, mut notices) = Listening::open(session).await?;
    session.printer().say(&format!("{}; Ctrl-C ends", listening.describe()));
    let mut feed = Feed::default();
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
            session.printer().event(&EventView::from(event), &sentence(event))?;
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
#[derive(Debug, Default)]
pub(super) struct Feed {
    outage: Outage,
    is_guest: bool,
}

impl Feed {
    /// Returns what to say about the state of the source, one sentence a line. Repeated failures are said once.
    fn lines(&mut self, notice: &Notice) -> Vec<String> {
        match notice {
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
        }
    }

    fn recovered(&mut self) -> Vec<String> {
        self.outage.end().map(str::to_owned).into_iter().collect()
    }

    /// Returns a notice as lines to print above the one being typed.
    pub(super) fn lines_above(&mut self, notice: &Notice) -> Vec<String> {
        let mut lines: Vec<_> = self.lines(notice).into_iter().map(|line| format!("! {line}")).collect();
        match notice {
            Notice::Event(delivery) => lines.push(format!("* {}", sentence(delivery.event()))),
            Notice::Ended(failure) => lines.push(format!("! no more events: {failure}")),
            Notice::CaughtUp { .. } | Notice::Interrupted { .. } | Notice::Opened { .. } => {}
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

    use super::*;

    #[test]
    fn feed_says_each_change_of_state_once() {
        let interrupted = || Notice::Interrupted {
            failure: Error::io("reach the market", std::io::Error::other("refused")),
            retry_in: Duration::ZERO,
        };
        let opened = |kept, orders| Notice::Opened { kept, missed: Missed { orders, updates: 0 } };
        let mut feed = Feed::default();
        assert!(feed.lines(&opened(true, 0)).is_empty());
        assert_eq!(feed.lines(&interrupted()).len(), 1);
        assert!(feed.lines(&interrupted()).is_empty());
        assert_eq!(feed.lines(&opened(true, 0)), ["reconnected"]);
        assert!(feed.lines(&opened(false, 0))[0].contains("--consumer"));
        assert!(feed.lines(&opened(false, 0)).is_empty());
        assert!(feed.lines(&opened(true, 2))[0].starts_with("2 events were dropped"));
    }
}

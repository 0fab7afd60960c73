//! Receives events as they happen: through a callback server with `--listen`, otherwise through a stream.

use souk_client::{
    Follower, Inbox, Notice, Renewal, follow::follow, inbox::InboxHandle, renewal::CredentialUsers,
};
use tokio::sync::mpsc;

use super::{
    CliSession,
    interrupt::Interrupt,
    view::{EventView, sentence},
};
use crate::Failure;

/// An open source of events that reloads renewed certificates.
pub struct Listening {
    source: EventSource,
    _renewal: Renewal,
}

enum EventSource {
    Callback(Inbox),
    Stream(Follower),
}

impl Listening {
    /// Opens the source selected by the settings: a callback server or a stream.
    ///
    /// # Errors
    /// The certificate can't be used, or the address can't be bound.
    pub async fn open(session: &CliSession) -> Result<(Self, mpsc::Receiver<Notice>), Failure> {
        let (seen, connection) = (session.seen().await?, session.connection().await?);
        let (source, notices) = match session.config()?.listen {
            Some(address) => {
                let listener = Inbox::bind(address).await?;
                let (inbox, notices) = Inbox::open(listener, &session.credentials()?, seen)?;
                (EventSource::Callback(inbox), notices)
            }
            None => {
                let (follower, notices) = follow(connection.silent(), seen);
                (EventSource::Stream(follower), notices)
            }
        };
        let users = CredentialUsers { connection: Some(connection.clone()), inbox: source.handle() };
        let printer = *session.printer();
        let renewal = Renewal::start(session.config()?, users, move |text| printer.say(&text))?;
        Ok((Self { source, _renewal: renewal }, notices))
    }

    /// Acknowledges the events shown, and closes the source.
    pub async fn close(self) {
        match self.source {
            EventSource::Callback(inbox) => inbox.close().await,
            EventSource::Stream(follower) => follower.close().await,
        }
    }

    /// Returns a description of the source.
    pub fn describe(&self) -> String {
        match &self.source {
            EventSource::Callback(inbox) => {
                format!("listening on {} for the market's calls", inbox.address())
            }
            EventSource::Stream(_) => "following your mailbox by a stream".to_owned(),
        }
    }
}

impl EventSource {
    fn handle(&self) -> Option<InboxHandle> {
        match self {
            Self::Callback(inbox) => Some(inbox.handle()),
            Self::Stream(_) => None,
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
    let outcome = loop {
        let notice = tokio::select! {
            notice = notices.recv() => notice,
            () = interrupted.came() => None,
        };
        match notice {
            Some(notice) => match show(session, notice) {
                Ok(()) => {}
                Err(failure) => break Err(failure),
            },
            None => break Ok(()),
        }
    };
    listening.close().await;
    outcome
}

fn show(session: &CliSession, notice: Notice) -> Result<(), Failure> {
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
        Notice::Interrupted { failure, retry_in } => {
            session.printer().say(&format!("interrupted ({failure}); trying again in {retry_in:.1?}"));
            Ok(())
        }
        Notice::Ended(failure) => Err(failure.into()),
    }
}

/// Returns a notice as a line to print above the one being typed; `None` if there is nothing to show.
pub(super) fn line(notice: &Notice) -> Option<String> {
    match notice {
        Notice::Event(delivery) => Some(format!("* {}", sentence(delivery.event()))),
        Notice::CaughtUp { .. } => None,
        Notice::Interrupted { failure, .. } => Some(format!("! events are interrupted: {failure}")),
        Notice::Ended(failure) => Some(format!("! no more events: {failure}")),
    }
}

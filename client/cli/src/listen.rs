//! Events as they come: to an own callback server with `--listen`, else by a stream.

use crate::Failure;
use souk_client::{Follower, Inbox, Notice, Renewal, follow::follow, inbox::InboxHandle, renewal::Bearers};
use tokio::sync::mpsc;

use super::{
    CliSession,
    interrupt::Interrupt,
    view::{EventView, sentence},
};

/// An open way for events, which shows renewed certificates.
pub struct Listening {
    way: Way,
    _renewal: Renewal,
}

enum Way {
    Callback(Inbox),
    Stream(Follower),
}

impl Listening {
    /// Opens the way that the settings ask for.
    ///
    /// # Errors
    /// The certificate can't be used, or the address not be listened on.
    pub async fn open(session: &CliSession) -> Result<(Self, mpsc::Receiver<Notice>), Failure> {
        let (seen, connection) = (session.seen().await?, session.connection().await?);
        let (way, notices) = match session.config()?.listen {
            Some(address) => {
                let listener = Inbox::bind(address).await?;
                let (inbox, notices) = Inbox::open(listener, &session.credentials()?, seen)?;
                (Way::Callback(inbox), notices)
            }
            None => {
                let (follower, notices) = follow(connection.silent(), seen);
                (Way::Stream(follower), notices)
            }
        };
        let bearers = Bearers { connection: Some(connection.clone()), inbox: way.handle() };
        let printer = *session.printer();
        let renewal = Renewal::start(session.config()?, bearers, move |text| printer.say(&text))?;
        Ok((Self { way, _renewal: renewal }, notices))
    }

    /// Acknowledges what was shown, and ends.
    pub async fn close(self) {
        match self.way {
            Way::Callback(inbox) => inbox.close().await,
            Way::Stream(follower) => follower.close().await,
        }
    }

    /// How the events come, in words.
    pub fn describe(&self) -> String {
        match &self.way {
            Way::Callback(inbox) => format!("listening on {} for the market's calls", inbox.address()),
            Way::Stream(_) => "following your mailbox by a stream".to_owned(),
        }
    }
}

impl Way {
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
/// Signals can't be watched, the way can't be opened, or the stream ended for good.
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
            // Shown first, then taken: what a crash in between leaves is shown again, not lost.
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

/// A notice as a line above the one being typed; `None` for what is no news.
pub(super) fn line(notice: &Notice) -> Option<String> {
    match notice {
        Notice::Event(delivery) => Some(format!("* {}", sentence(delivery.event()))),
        Notice::CaughtUp { .. } => None,
        Notice::Interrupted { failure, .. } => Some(format!("! events are interrupted: {failure}")),
        Notice::Ended(failure) => Some(format!("! no more events: {failure}")),
    }
}

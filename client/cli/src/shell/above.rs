//! Notifications above the line that is being typed.

use std::{sync::mpsc::SyncSender, thread};

use souk_client::Notice;
use tokio::sync::mpsc::{Receiver, error::TryRecvError};

use super::editor::Reading;
use crate::{
    CliSession, Failure,
    listen::{Feed, Listening},
};

/// The maximum number of notifications that are printed at once.
const NOTICES: usize = 64;

/// Where notifications are printed.
#[derive(Clone)]
pub(super) struct Above {
    pub(super) lines: SyncSender<String>,
    pub(super) reading: Reading,
}

impl Above {
    /// Follows the mailbox from now on.
    ///
    /// # Errors
    /// The source of events can't be opened.
    pub(super) async fn follow(&self, session: &CliSession) -> Result<Listening, Failure> {
        let (listening, news) = Listening::open(session).await?;
        session.printer().say(&listening.describe());
        let (above, feed) = (self.clone(), Feed::new(session.clock()));
        thread::spawn(move || above.print(news, feed));
        Ok(listening)
    }

    /// Prints notices while a line is being edited, and takes events only then. During a command, or if the program
    /// ends before the editor is back, they stay in the mailbox.
    fn print(&self, mut news: Receiver<Notice>, mut feed: Feed) {
        let mut notices = Vec::with_capacity(NOTICES);
        while let Some(notice) = news.blocking_recv() {
            notices.push(notice);
            self.reading.wait();
            // What came during a command is shown together, so that an outage which is over is not reported at all.
            while notices.len() < NOTICES {
                match news.try_recv() {
                    Ok(notice) => notices.push(notice),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            let text = feed.lines_above(&notices);
            if !text.is_empty() && self.lines.send(text.join("\n")).is_err() {
                return;
            }
            for notice in notices.drain(..) {
                if let Notice::Event(delivery) = notice {
                    delivery.take();
                }
            }
        }
    }
}

//! Where the demo shows its trade: as lines of output, or on a screen.

use std::{
    fmt::Display,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use tokio::{sync::watch, time};

/// The maximum number of lines on their way to the screen, which takes them at least ten times a second.
const LINES: usize = 1_024;

/// Whose action a line describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Market,
    Seller,
    Buyer,
    /// A party that is notified.
    Notified,
}

/// A line of the demo.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) who: Who,
    pub(super) text: String,
}

/// Takes the lines of the demo, and keeps its pace.
#[derive(Clone)]
pub(super) struct Stage {
    screen: Option<SyncSender<Line>>,
    is_paused: watch::Receiver<bool>,
}

/// The screen's ends of a [`Stage`].
pub(super) struct Backstage {
    pub(super) lines: Receiver<Line>,
    pub(super) is_paused: watch::Sender<bool>,
}

impl Stage {
    /// Prints lines on standard output.
    pub(super) fn plain() -> Self {
        Self { screen: None, is_paused: watch::channel(false).1 }
    }

    /// Shows lines on a screen.
    pub(super) fn with_screen() -> (Self, Backstage) {
        let (screen, lines) = sync_channel(LINES);
        let (pause, is_paused) = watch::channel(false);
        (Self { screen: Some(screen), is_paused }, Backstage { lines, is_paused: pause })
    }

    /// Shows a line.
    pub(super) fn say(&self, who: Who, text: impl Display) {
        match &self.screen {
            None => say!("{text}"),
            // This fails if the screen was closed, or if nothing is read from it for minutes.
            Some(screen) => drop(screen.try_send(Line { who, text: text.to_string() })),
        }
    }

    /// Waits between two trades, and while the demo is paused.
    pub(super) async fn wait(&self, pace: Duration) {
        time::sleep(pace).await;
        let mut is_paused = self.is_paused.clone();
        // This fails if there is no screen, or no longer.
        let _ = is_paused.wait_for(|is_paused| !is_paused).await;
    }
}

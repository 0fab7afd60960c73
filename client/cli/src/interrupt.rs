//! Ctrl-C and SIGTERM, for commands that run until interrupted.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Failure;

/// Records signals from its creation on, even while nothing waits for them.
pub struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// Starts recording signals.
    ///
    /// # Errors
    /// Signals can't be watched.
    pub fn watch() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|error| Failure::io("watch for Ctrl-C", error));
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// Waits for a signal. Returns at once if one has already arrived.
    pub async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

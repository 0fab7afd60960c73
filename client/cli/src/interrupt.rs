//! Ctrl-C and SIGTERM, for commands that go on until then.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Failure;

/// Notices signals from its making on, also while nobody waits for them.
pub struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// From now on.
    ///
    /// # Errors
    /// Signals can't be watched.
    pub fn watch() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|error| Failure::io("watch for Ctrl-C", error));
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// Waits for one, unless one has come meanwhile.
    pub async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

//! Ctrl-C and SIGTERM, for commands that run until interrupted, and for the shell, whose commands they end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Failure;

/// Records signals from its creation on, even while nothing waits for them.
pub struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

/// A signal that ends a command or the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caught {
    /// Ctrl-C (SIGINT).
    CtrlC,
    /// SIGTERM.
    Terminate,
}

impl Interrupt {
    /// Starts recording signals. A command that the shell may run takes [`CliSession::interrupt`] instead.
    ///
    /// [`CliSession::interrupt`]: crate::CliSession::interrupt
    ///
    /// # Errors
    /// Signals can't be watched.
    pub fn watch() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|error| Failure::io("watch for Ctrl-C", error));
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// Waits for a signal. Returns at once if one has already arrived.
    pub async fn came(&mut self) {
        self.caught().await;
    }

    /// Waits for a signal, and returns which one came.
    pub(super) async fn caught(&mut self) -> Caught {
        tokio::select! {
            _ = self.interrupt.recv() => Caught::CtrlC,
            _ = self.terminate.recv() => Caught::Terminate,
        }
    }

    /// Waits for SIGTERM, and ignores Ctrl-C.
    pub(super) async fn terminated(&mut self) {
        self.terminate.recv().await;
    }
}

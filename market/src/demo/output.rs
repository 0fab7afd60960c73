//! The demo's output, whose reader may go away at any time (`market demo | head`).

use std::fmt;

use tokio::sync::Notify;

/// Keeps a permit once nobody reads the output any more.
static CLOSED: Notify = Notify::const_new();

/// Prints a line. If it can't be printed, it is left out: what a command shows must not stop it half-way, before it has
/// removed what it made.
pub(super) fn print(line: fmt::Arguments<'_>) {
    if souk_stdio::try_print(format_args!("{line}\n")).is_err() {
        CLOSED.notify_one();
    }
}

/// Waits until a line could not be printed.
pub(super) async fn closed() {
    CLOSED.notified().await;
}

//! Asks for a confirmation.

use std::{io, os::fd::OwnedFd, sync::Arc};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};

use crate::{Failure, exit, interrupt::Interrupt};

/// Wakes the thread that waits for an answer when the question is abandoned. Otherwise it would take the next line that
/// is typed, such as the next command of a shell.
struct Abandon(Arc<OwnedFd>);

impl Drop for Abandon {
    fn drop(&mut self) {
        // It can only fail if the counter is full, and then the thread knows already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// Asks a yes-or-no question on standard error, and reads the answer from standard input. Anything but "y" or "yes"
/// means no. `question` has no question mark.
///
/// # Errors
/// Standard input can't be read.
pub async fn ask_yes_no(question: &str) -> Result<bool, Failure> {
    Ok(is_yes(&answer(&format!("{question}? [y/N] ")).await?))
}

/// Offers something on standard error, and reads the answer from standard input. An empty line means yes, as does "y" or
/// "yes"; anything else means no, also the end of the input. `offer` has no question mark.
///
/// # Errors
/// Standard input can't be read.
pub(super) async fn accepts(offer: &str) -> Result<bool, Failure> {
    let answer = answer(&format!("{offer}? [Y/n] ")).await?;
    Ok(is_yes(&answer) || (answer.ends_with('\n') && answer.trim().is_empty()))
}

/// Asks for a text on the terminal without showing what is typed, such as a secret. Ctrl-C restores the terminal, and
/// is reported as an error.
///
/// # Errors
/// The terminal can't be used, or Ctrl-C was pressed.
pub(super) async fn ask_unseen(question: &str) -> Result<String, Failure> {
    let mut interrupted = Interrupt::watch()?;
    let unseen = Unseen::begin().map_err(|error| Failure::io("hide what is typed", error.into()))?;
    let answered = tokio::select! {
        answered = answer(question) => answered,
        () = interrupted.came() => Err(Failure::Undone {
            message: "interrupted".to_owned(),
            hint: None,
            exit_code: exit::INTERRUPTED,
        }),
    };
    drop(unseen);
    // The line break that was typed was not shown either.
    souk_stdio::report(format_args!("\n"));
    answered
}

/// The terminal of standard input while it does not show what is typed.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> rustix::io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_modes -= LocalModes::ECHO;
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // It was possible a moment ago; if the terminal has gone, nothing is left to restore.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

async fn answer(question: &str) -> Result<String, Failure> {
    let failed = |error| Failure::io("read the answer", error);
    souk_stdio::report(format_args!("{question}"));
    let abandoned = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?);
    let _abandon = Abandon(Arc::clone(&abandoned));
    let read = tokio::task::spawn_blocking(move || read_line(&abandoned));
    read.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(failed)
}

/// Reads a line, as soon as there is one, unless the question is abandoned before.
fn read_line(abandoned: &OwnedFd) -> io::Result<String> {
    let stdin = io::stdin();
    let mut ready = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(abandoned, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut ready, None))?;
    let mut answer = String::new();
    if ready[1].revents().is_empty() {
        stdin.read_line(&mut answer)?;
    }
    Ok(answer)
}

//! Reads lines while the market answers what the completion asks, and until SIGTERM ends the shell.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::timeout,
};

use super::{
    complete::{AnswerCompleter, CommandCompleter, Lookup},
    editor::{Editor, Line, Purpose},
    values::{of_source, source_of},
};
use crate::{
    CliSession, Failure,
    choices::{Choice, Source},
    grammar::{Program, grammar},
    interrupt::Interrupt,
};

/// How long the completion waits for the market. Until then, the keyboard works as always.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum number of lookups that wait. A completion asks again when what was typed has changed.
const LOOKUPS: usize = 4;

/// Reads commands and answers.
pub(super) struct Reader<'a> {
    session: &'a CliSession,
    editor: Editor,
    signals: Interrupt,
    grammar: Arc<clap::Command>,
    asked: Sender<Lookup>,
    lookups: Receiver<Lookup>,
}

impl<'a> Reader<'a> {
    pub(super) fn new<P: Program>(session: &'a CliSession, editor: Editor) -> Result<Self, Failure> {
        let (asked, lookups) = channel(LOOKUPS);
        let (signals, grammar) = (Interrupt::watch()?, Arc::new(grammar::<P>()));
        Ok(Self { session, editor, signals, grammar, asked, lookups })
    }

    /// Returns the session that the lines are read for.
    pub(super) fn session(&self) -> &'a CliSession {
        self.session
    }

    /// Reads a command.
    pub(super) async fn command<P: Program>(&mut self) -> Line {
        // A new completer each time, because the last command may have changed what it knows.
        let completer = CommandCompleter::new(Arc::clone(&self.grammar), source_of::<P>, self.asked.clone());
        self.read::<P>(format!("{}> ", P::NAME), Purpose::Command(Box::new(completer))).await
    }

    /// Reads the answer to a question, which the choices complete.
    pub(super) async fn answer<P: Program>(&mut self, question: String, choices: &[Choice]) -> Line {
        self.read::<P>(question, Purpose::Answer(Box::new(AnswerCompleter(choices.to_vec())))).await
    }

    /// Fetches values to choose from. Returns `None` if Ctrl-C cancels it.
    pub(super) async fn choices<P: Program>(
        &self,
        source: Source,
        typed: &str,
    ) -> Option<Result<Vec<Choice>, Failure>> {
        let mut signals = match Interrupt::watch() {
            Ok(signals) => signals,
            Err(failure) => return Some(Err(failure)),
        };
        tokio::select! {
            found = of_source::<P>(source, typed, self.session) => Some(found),
            () = signals.came() => None,
        }
    }

    async fn read<P: Program>(&mut self, prompt: String, purpose: Purpose) -> Line {
        let mut line = pin!(self.editor.read(prompt, purpose));
        let mut lookup: Option<Lookup> = None;
        loop {
            let found = look_up::<P>(self.session, lookup.as_ref());
            tokio::select! {
                line = &mut line => return line,
                // A newer question replaces the one before.
                Some(next) = self.lookups.recv() => lookup = Some(next),
                choices = found => {
                    // This fails if the line has changed, and then nobody needs them.
                    let _ = lookup.take().map(|lookup| lookup.found.send(choices));
                }
                () = self.signals.terminated() => {
                    self.editor.stop();
                    return line.await;
                }
            }
        }
    }
}

/// Returns the market's values, none if it does not answer. Without a question, it never returns.
async fn look_up<P: Program>(session: &CliSession, lookup: Option<&Lookup>) -> Vec<Choice> {
    let Some(lookup) = lookup else { return std::future::pending().await };
    let found = timeout(LOOKUP_TIMEOUT, of_source::<P>(lookup.source, &lookup.typed, session)).await;
    found.ok().and_then(Result::ok).unwrap_or_default()
}

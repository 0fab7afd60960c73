//! The shell: commands as on the command line, a numbered menu, and notifications above the line being typed.
//! Without a terminal, it reads commands from standard input, without prompts.

mod above;
mod command;
mod complete;
mod dialogue;
mod editor;
mod fit;
mod help;
mod line;
mod reader;
mod start;
mod values;

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    thread,
};

use reedline::ExternalPrinter;
use tokio::sync::mpsc;

use self::{
    above::Above,
    command::{Ended, Voice, carry_out, carry_out_until_interrupted},
    dialogue::fill_in,
    editor::{Editor, Line, Reading},
    line::Typed,
    reader::Reader,
};
use crate::{CliSession, Failure, exit, grammar::Program, listen::Listening, menu::Entry, output};

/// The maximum size in bytes of a command of a script, with what its quotation marks enclose.
const UNFINISHED_MAX: usize = 64 * 1024;

/// Runs until `quit` or the end of the input. Returns the exit code: 0 on a terminal, and that of the last
/// failed line in a script.
pub(super) async fn run<P: Program>(session: &CliSession) -> Result<u8, Failure> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        interactive::<P>(session).await
    } else {
        script::<P>(session).await
    }
}

async fn script<P: Program>(session: &CliSession) -> Result<u8, Failure> {
    let (lines, mut read) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut last_failure = exit::OK;
    let (mut typed, mut number, mut first) = (String::new(), 0, 0);
    while let Some(line) = read.recv().await {
        let line = line.map_err(|error| Failure::io("read a command", error))?;
        number += 1;
        if typed.is_empty() {
            first = number;
        } else {
            typed.push('\n');
        }
        typed.push_str(&line);
        let commands = match line::read(&typed) {
            Ok(Typed::Unfinished) if typed.len() <= UNFINISHED_MAX => continue,
            Ok(Typed::Unfinished) => break,
            Ok(Typed::Commands(commands)) => commands,
            Err(failure) => {
                output::report_to(session.audience(), &failure, session.output());
                last_failure = failure.exit_code();
                Vec::new()
            }
        };
        typed.clear();
        for words in commands {
            if is_quit(&words[0]) {
                return Ok(last_failure);
            }
            let code = carry_out::<P>(words, session).await;
            if code != exit::OK {
                last_failure = code;
            }
        }
    }
    if !typed.is_empty() {
        let failure = unfinished(&typed, Some(first));
        output::report_to(session.audience(), &failure, session.output());
        last_failure = failure.exit_code();
    }
    Ok(last_failure)
}

/// Returns the error for what ends within quotation marks. In a script, it began in a line with a number.
fn unfinished(typed: &str, number: Option<u64>) -> Failure {
    let place = number.map(|number| format!("line {number}: ")).unwrap_or_default();
    let line = crate::plain(typed.lines().next().unwrap_or_default());
    Failure::usage(
        format!("{place}a quotation mark is missing: {line}"),
        "close it; a mark that belongs to the text is written \\' or within marks of the other kind",
    )
}

fn is_quit(word: &str) -> bool {
    matches!(word, "quit" | "exit" | "q")
}

async fn interactive<P: Program>(session: &CliSession) -> Result<u8, Failure> {
    let is_registered = start::reach(session).await?;
    // Without a queue, a line that has been sent was received by the editor, and so is printed before the
    // next key is read.
    let printer = ExternalPrinter::new(0);
    let reading = Reading::default();
    let above = Above { lines: printer.sender(), reading: reading.clone() };
    let listening = if is_registered {
        above.follow(session).await.map(Some).unwrap_or_else(|failure| {
            output::report_to(session.audience(), &failure, super::Output::Table);
            session.printer().say("notifications are off; commands work all the same");
            None
        })
    } else {
        session.printer().say("you are not registered yet: 1 registers you, then notifications appear");
        None
    };
    let editor = Editor::open(printer, reading, session.history_file());
    let mut shell = Shell { reader: Reader::new::<P>(session, editor)?, above, listening };
    shell.show_menu::<P>();
    'shell: loop {
        let typed = match shell.reader.command::<P>().await {
            Line::Typed(typed) => typed,
            Line::Cleared => continue,
            Line::End => break,
        };
        let commands = match line::read(&typed) {
            Ok(Typed::Commands(commands)) => commands,
            Ok(Typed::Unfinished) => {
                output::report_to(session.audience(), &unfinished(&typed, None), super::Output::Table);
                continue;
            }
            Err(failure) => {
                output::report_to(session.audience(), &failure, super::Output::Table);
                continue;
            }
        };
        for words in commands {
            if !shell.carry_out::<P>(words).await {
                break 'shell;
            }
        }
    }
    if let Some(listening) = shell.listening {
        listening.close().await;
    }
    Ok(exit::OK)
}

/// The interactive shell.
struct Shell<'a> {
    reader: Reader<'a>,
    above: Above,
    /// The source of notifications; `None` before registration.
    listening: Option<Listening>,
}

impl Shell<'_> {
    /// Carries out one command. Returns whether the shell goes on.
    async fn carry_out<P: Program>(&mut self, words: Vec<String>) -> bool {
        let first = words[0].as_str();
        if is_quit(first) {
            return false;
        }
        if first == "menu" {
            self.show_menu::<P>();
            return true;
        }
        let goes_on = match numbered(P::MENU, first) {
            None => return self.run::<P>(words, Voice::Commands).await,
            Some(None) => return false,
            Some(Some(entry)) => match fill_in::<P>(&mut self.reader, entry).await {
                Some(words) => self.run::<P>(words, Voice::Menu).await,
                None => true,
            },
        };
        if goes_on {
            self.show_menu::<P>();
        }
        goes_on
    }

    async fn run<P: Program>(&mut self, words: Vec<String>, voice: Voice) -> bool {
        let session = self.reader.session();
        let registers = words[0] == "register";
        match carry_out_until_interrupted::<P>(words, session, voice).await {
            Ended::With(exit::OK) if registers && self.listening.is_none() => {
                match self.above.follow(session).await {
                    Ok(listening) => self.listening = Some(listening),
                    Err(failure) => output::report_to(session.audience(), &failure, super::Output::Table),
                }
                true
            }
            Ended::With(_) => true,
            Ended::Terminated => false,
        }
    }

    fn show_menu<P: Program>(&self) {
        let entries = P::MENU.iter().map(|entry| entry.label).chain(["Quit"]);
        let lines: Vec<_> = entries.enumerate().map(|(n, label)| format!("{:>3}  {label}", n + 1)).collect();
        let text = format!("{}\nA number, or a command (`help` lists them):", lines.join("\n"));
        self.reader.session().printer().say(&text);
    }
}

/// Returns the entry with a number; `Some(None)` for the number of "quit".
fn numbered(menu: &'static [Entry], word: &str) -> Option<Option<&'static Entry>> {
    let number: usize = word.parse().ok()?;
    match number.checked_sub(1)? {
        index if index < menu.len() => Some(Some(&menu[index])),
        index if index == menu.len() => Some(None),
        _ => None,
    }
}

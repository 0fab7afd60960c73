//! One line of the shell, from its words to its exit code.

use std::{pin::pin, time::Duration};

use clap::FromArgMatches as _;
use souk_stdio::outln;
use tokio::time::timeout;

use super::{
    complete::SHELL_FLAGS,
    dialogue::in_plain_words,
    fit::{width, wrapped},
    help,
};
use crate::{
    CliSession, Failure, builtin, exit,
    grammar::{Cli, Either, Program, Shared, grammar, parser, typed_flags},
    interrupt::{Caught, Interrupt},
    output,
};

/// The time that a command which handles Ctrl-C itself has to finish. A second Ctrl-C ends it at once.
const GRACE: Duration = Duration::from_secs(5);

/// For whom failures are worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// Somebody who types commands.
    Commands,
    /// Somebody who uses the menu, and sees no flags.
    Menu,
}

/// How a command of the interactive shell ended.
pub(super) enum Ended {
    /// With this exit code.
    With(u8),
    /// By SIGTERM, which ends the shell, too.
    Terminated,
}

/// A command, if the line has one, and the session for it.
type Parsed<P> = (Option<Either<<P as Program>::Command>>, CliSession);

/// Runs a line of a script. Returns its exit code.
pub(super) async fn carry_out<P: Program>(words: Vec<String>, session: &CliSession) -> u8 {
    let (command, session) = match parse::<P>(words, session, Voice::Commands) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let outcome = run::<P>(command, &session).await;
    outcome.unwrap_or_else(|failure| failed(&session.advised(failure), &session, Voice::Commands))
}

/// Runs a line of the interactive shell, until it ends or Ctrl-C ends it.
pub(super) async fn carry_out_until_interrupted<P: Program>(
    words: Vec<String>,
    session: &CliSession,
    voice: Voice,
) -> Ended {
    let (command, session) = match parse::<P>(words, session, voice) {
        Ok(parsed) => parsed,
        Err(code) => return Ended::With(code),
    };
    // Earlier signals are ignored: they were not meant for this command.
    let mut signals = match Interrupt::watch() {
        Ok(signals) => signals,
        Err(failure) => return Ended::With(failed(&failure, &session, voice)),
    };
    let code = |outcome: Result<u8, Failure>| {
        outcome.unwrap_or_else(|failure| failed(&session.advised(failure), &session, voice))
    };
    let mut running = pin!(run::<P>(command, &session));
    let caught = tokio::select! {
        outcome = &mut running => return Ended::With(code(outcome)),
        caught = signals.caught() => caught,
    };
    if session.ends_itself() {
        tokio::select! {
            ended = timeout(GRACE, &mut running) => if let Ok(outcome) = ended {
                let code = code(outcome);
                return if caught == Caught::Terminate { Ended::Terminated } else { Ended::With(code) };
            },
            _ = signals.caught() => {}
        }
    }
    if caught == Caught::Terminate {
        return Ended::Terminated;
    }
    // The terminal has printed ^C, and the cursor stands behind it.
    let text = if session.may_have_changed() {
        "interrupted; a change may have taken place all the same, so look before repeating it"
    } else {
        "interrupted; nothing was changed"
    };
    session.printer().say(&format!("\n{}", wrapped(text, width()).join("\n")));
    Ended::With(exit::INTERRUPTED)
}

/// Parses a line. Returns the command and the session for it, or the exit code if there is nothing to run.
fn parse<P: Program>(mut words: Vec<String>, session: &CliSession, voice: Voice) -> Result<Parsed<P>, u8> {
    // As hints and documents write commands.
    if words.len() > 1 && words[0] == P::NAME {
        words.remove(0);
    }
    if words[0] == "help" {
        return Err(explain::<P>(&words[1..], session));
    }
    let words = std::iter::once(P::NAME.to_owned()).chain(words);
    let parsed = parser::<P>().try_get_matches_from(words).and_then(|matches| {
        let typed = typed_flags(&matches);
        Cli::<P::Command>::from_arg_matches(&matches).map(|cli| (cli, typed))
    });
    let (cli, typed) = parsed.map_err(|error| {
        let error = souk_help::worded(error);
        // Help is not an error; clap chooses the output stream.
        let _ = error.print();
        if error.use_stderr() { exit::USAGE } else { exit::OK }
    })?;
    if let Some(flag) = typed.iter().find(|flag| !SHELL_FLAGS.contains(&flag.as_str())) {
        let failure = Failure::usage(
            format!("--{flag} holds for the whole shell"),
            format!("quit, and start the shell with it: {} --{flag} … shell", P::NAME),
        );
        return Err(failed(&failure, session, voice));
    }
    let output = cli.flags.output.filter(|_| typed.iter().any(|flag| flag == "output"));
    let currency = cli.flags.currency.filter(|_| typed.iter().any(|flag| flag == "currency"));
    let session = session
        .with(output, currency, &cli.flags.format)
        .map(|session| session.of_menu(voice == Voice::Menu))
        .map_err(|failure| failed(&failure, session, voice))?;
    Ok((cli.command, session))
}

async fn run<P: Program>(command: Option<Either<P::Command>>, session: &CliSession) -> Result<u8, Failure> {
    match command {
        Some(Either::Own(command)) => P::carry_out(command, session).await.map(|()| exit::OK),
        Some(Either::Shared(Shared::Shell | Shared::Listen)) => Err(builtin::in_shell()),
        Some(Either::Shared(Shared::Join(_))) => Err(builtin::joins_in_shell(P::NAME)),
        Some(Either::Shared(command)) => Box::pin(builtin::run::<P>(command, session)).await,
        None => Ok(exit::OK),
    }
}

/// Reports a failure. Returns its exit code.
fn failed(failure: &Failure, session: &CliSession, voice: Voice) -> u8 {
    match voice {
        Voice::Commands => output::report_to(session.audience(), failure, session.output()),
        Voice::Menu => in_plain_words(failure).iter().for_each(|line| session.printer().say(line)),
    }
    failure.exit_code()
}

/// Explains all commands, or one.
fn explain<P: Program>(words: &[String], session: &CliSession) -> u8 {
    let Some(lines) = help::explain(&grammar::<P>(), words, width()) else {
        let failure =
            Failure::usage(format!("there is no command `{}`", words.join(" ")), "`help` lists the commands");
        return failed(&failure, session, Voice::Commands);
    };
    outln!("{}", lines.join("\n"));
    exit::OK
}

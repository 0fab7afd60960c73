//! A program: its commands, and its way from the command line to an exit code.

use std::{
    ffi::OsString,
    future::Future,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use crate::Failure;
use crate::exit;
use clap::{ArgMatches, Args as _, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};

use super::{CliSession, CommonFlags, examine, listen, menu::Entry, output, shell, view::WhoView};

/// One of the command lines.
pub trait Program: Sized + Send + Sync + 'static {
    /// Its own commands.
    type Command: Subcommand + Send;
    /// Its name.
    const NAME: &'static str;
    /// What it is for, in a line.
    const ABOUT: &'static str;
    /// How it is used.
    const EXAMPLES: &'static str;
    /// The shell's numbered entries.
    const MENU: &'static [Entry];

    /// Carries a command out.
    fn carry_out(command: Self::Command, session: &CliSession) -> impl Future<Output = Result<(), Failure>>;
}

/// Commands that both programs have.
#[derive(Subcommand)]
pub enum Shared {
    /// Print events as they come, until Ctrl-C
    Listen,
    /// Show your certificate, token and account as the market sees them
    Whoami,
    /// Show what waits for you in your mailbox
    Mailbox,
    /// Check files, expiry, clock, network, TLS, identity and callback, each with a remedy
    Doctor,
    /// Type commands, with notifications above the line (also without any command, on a terminal)
    Shell,
    /// Print a completion script for your shell
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

#[derive(Parser)]
#[command(version, subcommand_required = false, arg_required_else_help = false)]
struct Cli<C: Subcommand> {
    #[command(flatten)]
    flags: CommonFlags,
    #[command(subcommand)]
    command: Option<Either<C>>,
}

#[derive(Subcommand)]
enum Either<C: Subcommand> {
    #[command(flatten)]
    Own(C),
    #[command(flatten)]
    Shared(Shared),
}

fn grammar<P: Program>() -> clap::Command {
    Cli::<P::Command>::command().name(P::NAME).bin_name(P::NAME).about(P::ABOUT).after_help(P::EXAMPLES)
}

/// Runs a program with the arguments of the process, or with others; the first is its name.
pub async fn run<P: Program>(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = grammar::<P>().get_matches_from(arguments);
    let cli = match Cli::<P::Command>::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    init_log();
    let output = cli.flags.output.unwrap_or_default();
    match start::<P>(cli).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::report(&failure, output);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Only on request: SOUK_LOG=debug.
fn init_log() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("SOUK_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    }
}

async fn start<P: Program>(cli: Cli<P::Command>) -> Result<u8, Failure> {
    let session = CliSession::new(P::NAME, cli.flags.resolve(P::NAME)?);
    match cli.command {
        Some(Either::Own(command)) => P::carry_out(command, &session).await.map(|()| exit::OK),
        Some(Either::Shared(command)) => shared::<P>(command, &session).await,
        None if io::stdin().is_terminal() && io::stdout().is_terminal() => shell::run::<P>(&session).await,
        None => {
            let help = grammar::<P>().render_help();
            eprint!("{help}");
            Ok(exit::USAGE)
        }
    }
}

async fn shared<P: Program>(command: Shared, session: &CliSession) -> Result<u8, Failure> {
    match command {
        Shared::Listen => listen::listen(session).await.map(|()| exit::OK),
        Shared::Whoami => who_am_i(session).await.map(|()| exit::OK),
        Shared::Mailbox => mailbox(session).await.map(|()| exit::OK),
        Shared::Doctor => examine(session).await,
        Shared::Shell => shell::run::<P>(session).await,
        Shared::Completions { shell } => {
            clap_complete::generate(shell, &mut grammar::<P>(), P::NAME, &mut io::stdout());
            Ok(exit::OK)
        }
        Shared::Man => {
            let page = clap_mangen::Man::new(grammar::<P>());
            page.render(&mut io::stdout()).map_err(|error| Failure::io("write the manual page", error))?;
            Ok(exit::OK)
        }
    }
}

async fn who_am_i(session: &CliSession) -> Result<(), Failure> {
    let connection = session.connection().await?;
    let answer = connection.call_with_metadata(souk_proto::v1::WhoAmIRequest {}).await?;
    let market = connection.answered_by(&answer);
    session.printer().card(&WhoView::new(answer.get_ref(), &market)?)
}

async fn mailbox(session: &CliSession) -> Result<(), Failure> {
    let request = souk_proto::v1::MailboxStatusRequest {};
    let status = session.call(request).await?;
    session.printer().card(&super::view::MailboxView::from(&status))
}

/// Reads and carries out one line of the shell or of a script. Answers its exit code.
pub(super) async fn line<P: Program>(words: Vec<String>, session: &CliSession) -> u8 {
    let words = std::iter::once(P::NAME.to_owned()).chain(words);
    let parsed = grammar::<P>().try_get_matches_from(words).and_then(|matches| {
        let typed = typed_flags(&matches);
        Cli::<P::Command>::from_arg_matches(&matches).map(|cli| (cli, typed))
    });
    let (cli, typed) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help is no error; it goes where help goes.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE } else { exit::OK };
        }
    };
    if let Some(flag) = typed.iter().find(|flag| !["output", "currency"].contains(&flag.as_str())) {
        let failure = Failure::usage(
            format!("--{flag} holds for the whole shell"),
            format!("quit, and start the shell with it: {} --{flag} … shell", P::NAME),
        );
        output::report(&failure, session.output());
        return exit::USAGE;
    }
    let output = cli.flags.output.filter(|_| typed.iter().any(|flag| flag == "output"));
    let currency = cli.flags.currency.filter(|_| typed.iter().any(|flag| flag == "currency"));
    let session = &session.with(output, currency);
    let outcome = match cli.command {
        Some(Either::Own(command)) => P::carry_out(command, session).await.map(|()| exit::OK),
        Some(Either::Shared(Shared::Shell | Shared::Listen)) => {
            Err(Failure::usage("this is the shell already", "events appear above the line you type"))
        }
        Some(Either::Shared(command)) => Box::pin(shared::<P>(command, session)).await,
        None => Ok(exit::OK),
    };
    outcome.unwrap_or_else(|failure| {
        output::report(&failure, session.output());
        failure.exit_code()
    })
}

/// The common flags of a line that were typed in it; the others come from the environment.
fn typed_flags(matches: &ArgMatches) -> Vec<String> {
    let common = CommonFlags::augment_args(clap::Command::new(""));
    let flags = common.get_arguments().map(|flag| flag.get_id().as_str());
    let typed = flags.filter(|&flag| matches.value_source(flag) == Some(ValueSource::CommandLine));
    typed.map(|flag| flag.replace('_', "-")).collect()
}

/// The words that the shell completes.
pub(super) fn vocabulary<P: Program>() -> Vec<String> {
    fn collect(command: &clap::Command, words: &mut Vec<String>) {
        for argument in command.get_arguments() {
            words.extend(argument.get_long().map(|long| format!("--{long}")));
        }
        for command in command.get_subcommands() {
            words.push(command.get_name().to_owned());
            collect(command, words);
        }
    }
    let mut words = vec!["help".to_owned(), "menu".to_owned(), "quit".to_owned()];
    collect(&grammar::<P>(), &mut words);
    words.sort();
    words.dedup();
    words
}

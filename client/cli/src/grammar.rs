//! The grammar of a command line: a program's own commands, the common commands, and the flags.

use clap::{ArgMatches, Args as _, CommandFactory, Parser, Subcommand, parser::ValueSource};

use super::{
    CliSession, CommonFlags, Failure,
    choices::{Choice, Source},
    menu::Entry,
};

/// A command-line program: what `buyer` and `seller` do not share. It is never instantiated.
pub trait Program: Sized + Send + Sync + 'static {
    /// The program's own commands.
    type Command: Subcommand + Send;
    /// The name of the binary, as typed. Help texts, completions and the shell use it.
    const NAME: &'static str;
    /// What the program is for, as the first line of its help text.
    const ABOUT: &'static str;
    /// The text below the flags in the help: examples, precedence of settings, exit codes.
    const EXAMPLES: &'static str;
    /// The entries of the menu that the shell shows, numbered from 1.
    const MENU: &'static [Entry];

    /// Runs one of the program's own commands.
    fn carry_out(command: Self::Command, session: &CliSession) -> impl Future<Output = Result<(), Failure>>;

    /// Returns what an argument stands for, by the words of its command and its name; `None` if the market has no values
    /// for it. The shell completes them.
    fn source(command: &[&str], argument: &str) -> Option<Source>;

    /// Fetches values to choose from, those that match what was typed.
    fn choices(
        source: Source,
        typed: &str,
        session: &CliSession,
    ) -> impl Future<Output = Result<Vec<Choice>, Failure>>;
}

/// Commands that both programs have.
#[derive(Subcommand)]
pub enum Shared {
    /// Print events as they come, until Ctrl-C
    Listen,
    /// Show your certificate, token and account as the market sees them
    Whoami,
    /// Show what waits for you in your mailbox, and for which consumers; remove one
    Mailbox {
        /// The change to make; without one, the mailbox is shown.
        #[command(subcommand)]
        change: Option<MailboxChange>,
    },
    /// Check files, expiry, clock, network, TLS, identity and callback, each with a remedy
    Doctor,
    /// Type commands, with notifications above the line (also without any command, on a terminal)
    Shell,
    /// Print a completion script for your shell
    Completions {
        /// The shell that will read the script.
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// A change to one's mailbox.
#[derive(Subcommand)]
pub enum MailboxChange {
    /// Remove a consumer that is no longer used, so that no event waits for it
    Rm {
        /// The consumer's name, as `mailbox` shows it.
        consumer: String,
    },
}

#[derive(Parser)]
#[command(version, subcommand_required = false, arg_required_else_help = false)]
pub(super) struct Cli<C: Subcommand> {
    #[command(flatten)]
    pub(super) flags: CommonFlags,
    #[command(subcommand)]
    pub(super) command: Option<Either<C>>,
}

#[derive(Subcommand)]
pub(super) enum Either<C: Subcommand> {
    #[command(flatten)]
    Own(C),
    #[command(flatten)]
    Shared(Shared),
}

/// Returns the whole grammar of a program.
pub(super) fn grammar<P: Program>() -> clap::Command {
    Cli::<P::Command>::command().name(P::NAME).bin_name(P::NAME).about(P::ABOUT).after_help(P::EXAMPLES)
}

/// Returns the common flags that were typed on a line; the others come from the environment.
pub(super) fn typed_flags(matches: &ArgMatches) -> Vec<String> {
    let common = CommonFlags::augment_args(clap::Command::new(""));
    let flags = common.get_arguments().map(|flag| flag.get_id().as_str());
    let typed = flags.filter(|&flag| matches.value_source(flag) == Some(ValueSource::CommandLine));
    typed.map(|flag| flag.replace('_', "-")).collect()
}

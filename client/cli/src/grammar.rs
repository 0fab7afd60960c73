//! The grammar of a command line: a program's own commands, the common commands, and the flags.

use clap::{ArgMatches, Args as _, CommandFactory, Parser, Subcommand, parser::ValueSource};
use souk_help::Guide;

use super::{
    CliSession, CommonFlags, ContextCommand, Explain, Failure, Join,
    choices::{Choice, Source},
    menu::Entry,
    paging::Live,
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
    /// Join a market with an invitation code: get a certificate, keep it as a context, and register
    ///
    /// The market's operator makes the code (`gen-certs invite`). It names the authority, which is verified before anything
    /// is sent. The key is made here and never leaves this machine. If it is interrupted, run the same command again.
    #[command(after_help = "Examples:\n  {program} join souk1ae3k…\n  {program} join --as work")]
    Join(Join),
    /// Print events as they come, until Ctrl-C
    #[command(
        after_help = "Examples:\n  {program} listen\n  {program} listen --output ndjson --consumer backup"
    )]
    Listen,
    /// Show your certificate, token and account as the market sees them
    #[command(after_help = "Example:\n  {program} whoami")]
    Whoami,
    /// Show what waits for you in your mailbox, and for which consumers; remove one
    #[command(
        after_help = "Examples:\n  {program} mailbox --watch\n  {program} mailbox rm old-laptop",
        args_conflicts_with_subcommands = true
    )]
    Mailbox {
        /// Whether it is watched.
        #[command(flatten)]
        live: Live,
        /// The change to make; without one, the mailbox is shown.
        #[command(subcommand)]
        change: Option<MailboxChange>,
    },
    /// Check files, expiry, clock, network, TLS, identity and callback, each with a remedy
    #[command(
        after_help = "Example:\n  {program} --market market.example.org:7443 --cert alice.pem doctor\n  {program} doctor"
    )]
    Doctor,
    /// Your contexts: what `join` has made, one for each market that you have joined
    #[command(subcommand)]
    Context(ContextCommand),
    /// Explain the reason of an error, or a message, field or call of the contract
    ///
    /// Without a topic, lists the reasons and calls. Fields may be written as errors name them: item.unit_price. Works
    /// without a market.
    Explain(Explain),
    /// Type commands, with notifications above the line (also without any command, on a terminal)
    #[command(after_help = "Examples:\n  {program} shell\n  {program} shell < commands.txt")]
    Shell,
    /// Commands that every program has.
    #[command(flatten)]
    Guide(Guide),
}

/// A change to one's mailbox.
#[derive(Subcommand)]
pub enum MailboxChange {
    /// Remove a consumer that is no longer used, so that no event waits for it
    #[command(after_help = "Example:\n  {program} mailbox rm old-laptop")]
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

/// Returns the whole grammar of a program, as its manual pages and completions need it.
pub fn grammar<P: Program>() -> clap::Command {
    Cli::<P::Command>::command().name(P::NAME).bin_name(P::NAME).about(P::ABOUT).after_help(P::EXAMPLES)
}

/// Returns the grammar by which lines are parsed, whose help texts fit a screen.
pub(super) fn parser<P: Program>() -> clap::Command {
    souk_help::help(grammar::<P>())
}

/// Returns the common flags that were typed on a line; the others come from the environment.
pub(super) fn typed_flags(matches: &ArgMatches) -> Vec<String> {
    let common = CommonFlags::augment_args(clap::Command::new(""));
    let flags = common.get_arguments().map(|flag| flag.get_id().as_str());
    let typed = flags.filter(|&flag| matches.value_source(flag) == Some(ValueSource::CommandLine));
    typed.map(|flag| flag.replace('_', "-")).collect()
}

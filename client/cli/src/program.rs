//! Runs a program, from its command line to its exit code.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::FromArgMatches as _;

use super::{
    Audience, CliSession, Failure, builtin, exit,
    grammar::{Cli, Either, Program, Shared, parser},
    output, shell,
};

/// Runs a program with the arguments of the process, or with others; the first is its name.
pub async fn run<P: Program>(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match parser::<P>().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => souk_help::worded(error).exit(),
    };
    let cli = match Cli::<P::Command>::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    init_log();
    let output = cli.flags.output.unwrap_or_default();
    match start::<P>(cli).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::report_to(Audience::of(P::NAME), &failure, output);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Starts logging if `SOUK_LOG` is set, such as `SOUK_LOG=debug`.
fn init_log() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("SOUK_LOG") {
        // Without reports about a log that nobody reads any more, which would end the program.
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .log_internal_errors(false)
            .init();
    }
}

async fn start<P: Program>(cli: Cli<P::Command>) -> Result<u8, Failure> {
    let session = CliSession::new(P::NAME, cli.flags.resolve(P::NAME)?);
    let outcome = run_command::<P>(cli.command, &session).await;
    session.conclude(outcome).await
}

async fn run_command<P: Program>(
    command: Option<Either<P::Command>>,
    session: &CliSession,
) -> Result<u8, Failure> {
    match command {
        Some(Either::Own(command)) => P::carry_out(command, session).await.map(|()| exit::OK),
        Some(Either::Shared(Shared::Shell)) => shell::run::<P>(session).await,
        Some(Either::Shared(command)) => builtin::run::<P>(command, session).await,
        None if io::stdin().is_terminal() && io::stdout().is_terminal() => shell::run::<P>(session).await,
        None => {
            let help = parser::<P>().render_help();
            souk_stdio::report(format_args!("{help}"));
            Ok(exit::USAGE)
        }
    }
}

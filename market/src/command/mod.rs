//! The commands of the `market` program, one file each.

mod admin;
mod archive;
mod archived;
mod audit;
mod backup;
mod check;
mod clock;
mod dead_letters;
mod demo;
mod home;
mod join;
mod restore;
mod serve;
mod stats;
mod store;
mod top_talkers;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use souk_cli::{Audience, Explain, Failure, Output, ended, explain};
use souk_help::Guide;
use souk_stdio::Stdout;

/// The market of Souk: sellers list, buyers buy, over gRPC and mutual TLS.
#[derive(Parser)]
#[command(name = "market", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Join(join::JoinArgs),
    Demo(demo::DemoArgs),
    Admin(Box<admin::AdminArgs>),
    Audit(audit::AuditArgs),
    Clock(Box<clock::ClockArgs>),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Check(check::CheckArgs),
    Stats(Box<stats::StatsArgs>),
    Explain(Explain),
    #[command(flatten)]
    Guide(Guide),
}

impl Cli {
    /// Parses the arguments of the process. Ends it if they are wrong, or ask for help.
    pub fn read() -> Self {
        let parsed = souk_help::help(Self::command()).try_get_matches();
        let parsed = parsed.and_then(|matches| Self::from_arg_matches(&matches));
        parsed.unwrap_or_else(|error| souk_help::worded(error).exit())
    }

    /// Runs the given command, and returns the program's exit code.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(args) => serve::run(*args).await,
            Command::Join(args) => Ok(join::run(args).await),
            Command::Demo(args) => demo::run(args).await,
            Command::Audit(args) => audit::run(args).await,
            Command::Clock(args) => clock::run(*args).await,
            Command::Backup(args) => backup::run(args),
            Command::Restore(args) => restore::run(args),
            Command::Check(args) => check::run(args).await,
            Command::Stats(args) => Ok(stats::run(*args).await),
            Command::Admin(args) => Ok(admin::run(*args).await),
            Command::Explain(topic) => {
                let output = Output::default();
                Ok(ended(explain(&topic, Audience::Operator, output), output))
            }
            Command::Guide(guide) => {
                let done = guide.run(Self::command(), &mut Stdout);
                Ok(ended(done.map_err(Failure::from), Output::default()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_short_help_with_an_example_and_a_manual_page() {
        let problems = souk_help::problems(&Cli::command());
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}

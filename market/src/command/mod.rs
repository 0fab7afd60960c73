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
mod restore;
mod serve;
mod stats;
mod store;
mod top_talkers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Demo(demo::DemoArgs),
    Admin(Box<admin::AdminArgs>),
    Audit(audit::AuditArgs),
    Clock(Box<clock::ClockArgs>),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Check(check::CheckArgs),
    Stats(Box<stats::StatsArgs>),
}

impl Cli {
    /// Runs the given command, and returns the program's exit code.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(args) => serve::run(*args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Audit(args) => audit::run(args).await,
            Command::Clock(args) => clock::run(*args).await,
            Command::Backup(args) => backup::run(args),
            Command::Restore(args) => restore::run(args),
            Command::Check(args) => check::run(args).await,
            Command::Stats(args) => Ok(stats::run(*args).await),
            Command::Admin(args) => Ok(admin::run(*args).await),
        }
    }
}

//! The `market` program.

use std::process::ExitCode;

use clap::Parser as _;
use market::{app::OpenError, command::Cli, config::ConfigError};
use souk_proto::reason::exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// The same codes as the other command lines have.
fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<OpenError>() {
        Some(error) if error.is_about_identity() => exit::IDENTITY,
        _ if error.is::<ConfigError>() => exit::USAGE,
        _ => exit::ERROR,
    }
}

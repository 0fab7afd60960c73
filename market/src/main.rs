//! The `market` program: parses the command line and runs the command.

use std::process::ExitCode;

use clap::Parser as _;
use market::command::Cli;
use souk_cli::exit;
use souk_server::{app::OpenError, config::ConfigError};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", in_words(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Formats an error with its causes, leaving out those that are already part of the text before.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        if text.is_empty() {
            cause
        } else if text.contains(cause.trim_end()) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

/// Returns the exit code of an error. The codes are the same for all programs.
fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<OpenError>() {
        Some(error) if error.is_about_identity() => exit::IDENTITY,
        _ if error.is::<ConfigError>() => exit::USAGE,
        _ => exit::ERROR,
    }
}

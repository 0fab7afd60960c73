//! The `market` program.

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

/// The error and what caused it, leaving out causes that the text before has told already.
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

/// The same codes as the other command lines have.
fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<OpenError>() {
        Some(error) if error.is_about_identity() => exit::IDENTITY,
        _ if error.is::<ConfigError>() => exit::USAGE,
        _ => exit::ERROR,
    }
}

//! The `market` program: parses the command line and runs the command.

use std::{process::ExitCode, time::Duration};

use market::command::Cli;
use souk_cli::exit;
use souk_client::error::without_links;
use souk_server::{app::OpenError, config::ConfigError};
use souk_stdio::errln;
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the process waits for threads that a system call blocks.
const END_PATIENCE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let cli = Cli::read();
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let code = runtime.block_on(cli.run()).unwrap_or_else(|error| failed(&error));
    // Dropping the runtime would wait forever for a look-up of a name, or for a disk that does not answer.
    runtime.shutdown_timeout(END_PATIENCE);
    code
}

fn failed(error: &anyhow::Error) -> ExitCode {
    errln!("error: {}", without_links(&in_words(error)));
    ExitCode::from(exit_code(error))
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

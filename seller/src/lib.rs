//! The `seller` program as a library, so that the load generator sends what sellers send.

mod command;

use std::{ffi::OsString, process::ExitCode};

use command::Seller;

/// Runs the program; the first argument is its name.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    souk_cli::run::<Seller>(arguments).await
}

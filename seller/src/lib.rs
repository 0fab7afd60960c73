//! The `seller` program as a library, so that the load generator sends what sellers send.

mod command;

use std::{ffi::OsString, path::Path, process::ExitCode};

use command::Seller;

/// Reads a file of items as `import` does, without a market. Returns the numbers of rows that can be read and that
/// cannot. The file name's extension decides the format.
///
/// # Errors
/// The program's message, if the rest of the file can't be read.
pub fn count_items(path: &Path) -> Result<(usize, usize), String> {
    command::count_items(path).map_err(|failure| failure.to_string())
}

/// Runs the program; the first argument is its name.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    souk_cli::run::<Seller>(arguments).await
}

//! The `seller` program. Everything else is in the library, which the load generator uses too.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    seller::run(std::env::args_os()).await
}

//! The `seller` program.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    seller::run(std::env::args_os()).await
}

//! The `buyer` program.

mod command;

use std::process::ExitCode;

use command::Buyer;

#[tokio::main]
async fn main() -> ExitCode {
    souk_cli::run::<Buyer>(std::env::args_os()).await
}

//! The `buyer` program. What it shares with `seller` is in `souk_cli`.

mod command;

use std::process::ExitCode;

use command::Buyer;

#[tokio::main]
async fn main() -> ExitCode {
    souk_cli::run::<Buyer>(std::env::args_os()).await
}

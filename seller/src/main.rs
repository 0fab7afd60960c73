//! The `seller` program.

mod command;

use std::process::ExitCode;

use command::Seller;

#[tokio::main]
async fn main() -> ExitCode {
    souk_client::cli::run::<Seller>().await
}

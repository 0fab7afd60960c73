//! The commands of sellers, one file each.

mod choices;
mod delete;
mod edit;
mod export;
mod import;
mod items;
mod menu;
mod orders;
mod pick;
mod register;
mod reprice;
mod ride;
mod sales;
mod sell;
mod show;
mod sync;
mod till;
mod today;
mod update;

pub(crate) use import::count_items;

use clap::Subcommand;
use souk_cli::{Choice, CliSession, Entry, Failure, Program, Source};

/// Implements [`Program`] for `seller`.
pub(crate) struct Seller;

/// The seller's own commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    Register(register::Register),
    Sell(sell::Sell),
    Update(update::Update),
    Delete(delete::Delete),
    Undelete(delete::Undelete),
    Edit(edit::Edit),
    Reprice(reprice::Reprice),
    Today(today::Today),
    Items(items::Items),
    Show(show::Show),
    Sales(sales::Sales),
    Order(show::Order),
    Import(import::Import),
    Export(export::Export),
    #[command(subcommand)]
    Ride(ride::Ride),
    Sync(sync::Sync),
    #[command(subcommand)]
    Till(till::Till),
    Ship(orders::Ship),
    Deliver(orders::Deliver),
    Cancel(orders::Cancel),
}

impl Program for Seller {
    type Command = Command;

    const NAME: &'static str = "seller";
    const ABOUT: &'static str = "Sell on a Souk market";
    const EXAMPLES: &'static str = "Examples:
  seller --cert alice.pem register Alice
  seller --cert alice.pem sell --name \"Brass lantern\" --category home/light --price \"12.50 GBP\" --quantity 10
  seller --cert alice.pem update 7 --price \"9.99 GBP\" --quantity +5
  seller --cert alice.pem sales --from 2026-11-01 --all --output csv
  seller --cert alice.pem sales --summary item
  seller --cert alice.pem import items.csv --dry-run
  seller --cert alice.pem today
  seller --cert alice.pem items lamp --below 5 --sort stock
  seller --cert alice.pem edit 7 9-12
  seller --cert alice.pem reprice --where \"category=home\" --by -5%
  seller --cert alice.pem ship 12 14-17
  till-program | seller --cert alice.pem sync --till shop --from-stdin --output ndjson
  seller --cert alice.pem shell

Values come from flags, then SOUK_* variables, then the settings file, then the defaults.
Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 identity, 5 conflict, 6 unavailable, 130 Ctrl-C.";
    const MENU: &'static [Entry] = menu::MENU;

    async fn carry_out(command: Command, session: &CliSession) -> Result<(), Failure> {
        match command {
            Command::Register(register) => register.run(session).await,
            Command::Sell(sell) => sell.run(session).await,
            Command::Update(update) => update.run(session).await,
            Command::Delete(delete) => delete.run(session).await,
            Command::Undelete(undelete) => undelete.run(session).await,
            Command::Edit(edit) => edit.run(session).await,
            Command::Reprice(reprice) => reprice.run(session).await,
            Command::Today(today) => today.run(session).await,
            Command::Items(items) => items.run(session).await,
            Command::Show(show) => show.run(session).await,
            Command::Order(order) => order.run(session).await,
            Command::Sales(sales) => sales.run(session).await,
            Command::Import(import) => import.run(session).await,
            Command::Export(export) => export.run(session).await,
            Command::Ride(ride) => ride.run(session).await,
            Command::Sync(sync) => sync.run(session).await,
            Command::Till(till) => till.run(session).await,
            Command::Ship(ship) => ship.run(session).await,
            Command::Deliver(deliver) => deliver.run(session).await,
            Command::Cancel(cancel) => cancel.run(session).await,
        }
    }

    fn source(command: &[&str], argument: &str) -> Option<Source> {
        choices::source(command, argument)
    }

    async fn choices(source: Source, typed: &str, session: &CliSession) -> Result<Vec<Choice>, Failure> {
        choices::choices(source, typed, session).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_short_help_with_an_example_and_a_manual_page() {
        let problems = souk_help::problems(&souk_cli::grammar::<Seller>());
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}

//! What buyers do, one file for each command.

mod buy;
mod cancel;
mod categories;
mod choices;
mod menu;
mod orders;
mod place;
mod rate;
mod register;
mod search;
mod show;
mod track;
mod watch;
mod wish;

use clap::Subcommand;
use souk_cli::{Choice, CliSession, Entry, Failure, Program, Source};

/// Implements [`Program`] for `buyer`.
pub(crate) struct Buyer;

/// The buyer's own commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    Register(register::Register),
    Search(search::Search),
    Watch(watch::Watch),
    Categories(categories::Categories),
    Show(show::Show),
    Buy(buy::Buy),
    Place(place::Place),
    Orders(orders::Orders),
    Order(orders::Order),
    Cancel(cancel::Cancel),
    Track(track::Track),
    #[command(subcommand)]
    Wish(wish::Wish),
    Rate(rate::Rate),
}

impl Program for Buyer {
    type Command = Command;

    const NAME: &'static str = "buyer";
    const ABOUT: &'static str = "Buy on a Souk market";
    const EXAMPLES: &'static str = "Examples:
  buyer --cert bob.pem register Bob
  buyer --cert bob.pem search lantern --category home --max-price \"20 GBP\" --in-stock
  buyer --cert bob.pem buy 7 --quantity 2 --expect-price \"12.50 GBP\"
  buyer --cert bob.pem place 7x2 3 12x5
  buyer --cert bob.pem wish add 7
  buyer --cert bob.pem rate 7 5
  buyer --cert bob.pem shell

Values come from flags, then SOUK_* variables, then the settings file, then the defaults.
Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 identity, 5 conflict or out of stock, 6 unavailable, 130 Ctrl-C.";
    const MENU: &'static [Entry] = menu::MENU;

    async fn carry_out(command: Command, session: &CliSession) -> Result<(), Failure> {
        match command {
            Command::Register(register) => register.run(session).await,
            Command::Search(search) => search.run(session).await,
            Command::Watch(watch) => watch.run(session).await,
            Command::Categories(categories) => categories.run(session).await,
            Command::Show(show) => show.run(session).await,
            Command::Buy(buy) => buy.run(session).await,
            Command::Place(place) => place.run(session).await,
            Command::Orders(orders) => orders.run(session).await,
            Command::Order(order) => order.run(session).await,
            Command::Cancel(cancel) => cancel.run(session).await,
            Command::Track(track) => track.run(session).await,
            Command::Wish(wish) => wish.run(session).await,
            Command::Rate(rate) => rate.run(session).await,
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
        let problems = souk_help::problems(&souk_cli::grammar::<Buyer>());
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}

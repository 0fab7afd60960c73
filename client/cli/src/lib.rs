//! The code shared by the two command-line programs: flags, output, the shell, listening.
//!
//! A program implements [`Program`]: its name, its commands (clap) and how to carry one out. The same
//! code then runs as a subcommand, as a line in the interactive shell, and as a line of a script.

mod audience;
mod builtin;
pub mod choices;
mod confirm;
mod consumer;
pub mod doctor;
mod examine;
pub mod exit;
mod explain;
mod failure;
mod fields;
mod files;
mod filter;
mod flags;
mod formatting;
mod grammar;
mod hints;
mod interrupt;
pub mod listen;
pub mod menu;
mod moment;
mod money;
mod outage;
mod output;
mod paging;
mod plain;
mod program;
mod query;
pub mod registering;
mod session;
mod settings;
mod shell;
mod spreadsheet;
mod table;
pub mod view;
mod when;
mod wording;

pub use audience::Audience;
pub use choices::{Choice, Source};
pub use confirm::ask_yes_no;
pub use examine::examine;
pub use explain::{Explain, explain};
pub use failure::{Failure, hint};
pub use fields::DataField;
pub use filter::{OrderFilter, TimeFilter, parse_time, wire as wire_time};
pub use flags::{CommonFlags, Resolved};
pub use formatting::{Format, FormatFlags};
pub use grammar::{Program, Shared, grammar};
pub use interrupt::Interrupt;
pub use listen::listen;
pub use menu::Entry;
pub use money::{format_amount, format_money, parse_decimal, parse_money};
pub use outage::{Outage, Persistence};
pub use output::{Look, Output, Printer, Shown, ended};
pub use paging::{LivePaging, Paging};
pub use plain::{plain, prose};
pub use program::run;
pub use session::CliSession;
pub use spreadsheet::{neutral, original};
pub use table::{Cell, Column, Tone};
pub use when::{TimeStyle, When};

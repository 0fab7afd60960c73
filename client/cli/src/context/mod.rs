//! The commands that list, choose, show and remove contexts.

mod command;
mod list;
mod show;

pub use command::ContextCommand;
pub(crate) use command::{folder, warn_of_variables};

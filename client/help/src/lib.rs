//! What the help of all programs has in common: the layout of help texts, manual pages, completion scripts, and the rules
//! that tests hold them to.

mod guide;
mod layout;
mod rules;
mod wording;

pub use guide::{Guide, GuideError};
pub use layout::{LESS_COMMON, help, manual};
pub use rules::{HELP_LINES_MAX, problems};
pub use wording::{expected, worded};

//! Settings files in TOML: mistakes are reported with their line, relative paths are relative to the file, and `~` is the
//! home folder. The programs decide which keys there are.

mod file;
mod guess;
mod mistake;
mod path;
mod types;

pub use file::{Entry, SettingsFile};
pub use guess::closest;
pub use mistake::{Mistake, SettingsError};
pub use path::expanded;
pub use types::expected_type;

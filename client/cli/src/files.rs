//! The locations of a user's files (XDG Base Directory Specification).

use std::{env, path::PathBuf};

/// Returns the folder of the settings: `$XDG_CONFIG_HOME/souk`, or `~/.config/souk`.
pub(super) fn config_folder() -> Option<PathBuf> {
    folder("XDG_CONFIG_HOME", ".config")
}

/// Returns the folder of the shell history and the record of seen events: `$XDG_STATE_HOME/souk`, or
/// `~/.local/state/souk`.
pub(super) fn state_folder() -> Option<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

fn folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    // The specification requires relative paths to be ignored.
    let set = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(below_home));
    set.or_else(home).map(|folder| folder.join("souk"))
}

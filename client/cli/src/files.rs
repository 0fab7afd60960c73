//! The locations of a user's files (XDG Base Directory Specification).

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use souk_enrolment::context::ContextFolder;

/// Returns the folder of the contexts, which is that of the settings; `None` without a home directory.
pub(super) fn contexts() -> Option<ContextFolder> {
    config_folder().map(ContextFolder::at)
}

/// Returns the folder of the settings: `$XDG_CONFIG_HOME/souk`, or `~/.config/souk`.
pub(super) fn config_folder() -> Option<PathBuf> {
    folder("XDG_CONFIG_HOME", ".config")
}

/// Returns the folder of the shell history and the record of seen events: `$XDG_STATE_HOME/souk`, or
/// `~/.local/state/souk`.
pub(super) fn state_folder() -> Option<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

/// Creates a folder, and makes sure that files can be written in it.
pub(super) fn make_writable(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // The permissions alone don't tell: the file system may be read-only.
    let probe = folder.join(format!("probe.{}.tmp", std::process::id()));
    fs::File::create(&probe)?;
    fs::remove_file(&probe)
}

fn folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    // The specification requires relative paths to be ignored; an empty variable counts as unset.
    let set = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    // Without HOME, as under some service managers, the one of the user database.
    let home = || env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(below_home));
    set.or_else(home).map(|folder| folder.join("souk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_not_be_written_is_told_from_one_that_can() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("state/souk");
        make_writable(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::write(home.path().join("file"), "").unwrap();
        assert!(make_writable(&home.path().join("file/souk")).is_err());
    }
}

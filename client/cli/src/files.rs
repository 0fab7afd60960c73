//! The locations of a user's files (XDG Base Directory Specification).

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use souk_enrolment::context::ContextFolder;

/// Returns the folder of the settings, which is that of the contexts: `$XDG_CONFIG_HOME/souk`, or `~/.config/souk`.
pub(super) fn config_folder() -> Option<PathBuf> {
    ContextFolder::of_user().map(|folder| folder.path().to_owned())
}

/// Returns the folder of the shell history and the record of seen events: `$XDG_STATE_HOME/souk`, or
/// `~/.local/state/souk`. `None` without a home directory.
pub(super) fn state_folder() -> Option<PathBuf> {
    // As `ContextFolder::of_user`, with another variable.
    let set = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".local/state"));
    set.or_else(home).map(|folder| folder.join("souk"))
}

/// Creates a folder, and makes sure that files can be written in it.
pub(super) fn make_writable(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // The permissions alone don't tell: the file system may be read-only.
    let probe = folder.join(format!("probe.{}.tmp", std::process::id()));
    fs::File::create(&probe)?;
    fs::remove_file(&probe)
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

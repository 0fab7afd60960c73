//! Paths as people write them.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Replaces a leading `~` by the home folder, which a shell does only at the beginning of a word. Without a home folder,
/// the path stays as it is.
pub fn expanded(path: &Path) -> PathBuf {
    let home = env::var_os("HOME").filter(|home| !home.is_empty());
    expanded_in(home.as_deref().map(Path::new), path)
}

fn expanded_in(home: Option<&Path>, path: &Path) -> PathBuf {
    match (home, path.strip_prefix("~")) {
        (Some(home), Ok(below)) => home.join(below),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leading_tilde_is_the_home_folder() {
        let home = Some(Path::new("/home/alice"));
        assert_eq!(expanded_in(home, Path::new("~/souk/alice.pem")), Path::new("/home/alice/souk/alice.pem"));
        for path in ["~bob/bob.pem", "souk/~/alice.pem", "/~/alice.pem", "alice~.pem"] {
            assert_eq!(expanded_in(home, Path::new(path)), Path::new(path));
        }
        assert_eq!(expanded_in(None, Path::new("~/alice.pem")), Path::new("~/alice.pem"));
    }
}

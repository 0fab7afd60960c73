//! The names of files after a power cut: of the creations, renames and removals in a folder since it was last synced,
//! the later ones are undone, by chance. A journaling file system keeps them in order.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use rand::{RngExt as _, rngs::StdRng};

/// A change of a name, from a line of the library's notes.
#[derive(Debug, PartialEq, Eq)]
enum Change<'a> {
    Create { name: &'a str },
    Rename { from: &'a str, to: &'a str, replaced: Option<&'a str> },
    Unlink { name: &'a str, saved: &'a str },
}

impl<'a> Change<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<_> = line.split('\t').collect();
        match fields[..] {
            ["create", name] => Some(Self::Create { name }),
            ["rename", from, to, saved] => {
                Some(Self::Rename { from, to, replaced: Some(saved).filter(|saved| *saved != "-") })
            }
            ["unlink", name, saved] => Some(Self::Unlink { name, saved }),
            _ => None,
        }
    }

    /// Returns the folder whose sync makes the change durable.
    fn folder(&self) -> &'a str {
        let name = match self {
            Self::Create { name } | Self::Unlink { name, .. } => name,
            Self::Rename { to, .. } => to,
        };
        name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    fn undo(&self, root: &Path) -> io::Result<()> {
        match self {
            Self::Create { name } => {
                let path = root.join(name);
                if path.is_dir() { fs::remove_dir_all(path) } else { gone(fs::remove_file(path)) }
            }
            Self::Rename { from, to, replaced } => {
                gone(fs::rename(root.join(to), root.join(from)))?;
                replaced.map_or(Ok(()), |saved| gone(fs::rename(PathBuf::from(saved), root.join(to))))
            }
            Self::Unlink { name, saved } => gone(fs::rename(PathBuf::from(saved), root.join(name))),
        }
    }
}

/// Ignores that a file is not there: a folder that was undone took it along.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Undoes some of the changes that are not durable.
pub(super) fn undo(root: &Path, notes: &str, random: &mut StdRng) -> io::Result<()> {
    let mut unsynced: HashMap<&str, Vec<(usize, Change<'_>)>> = HashMap::new();
    for (number, line) in notes.lines().enumerate() {
        if let Some(folder) = line.strip_prefix("sync\t") {
            unsynced.remove(folder);
        } else if let Some(change) = Change::parse(line) {
            unsynced.entry(change.folder()).or_default().push((number, change));
        }
    }
    let mut folders: Vec<_> = unsynced.into_iter().collect();
    folders.sort_by(|one, other| one.0.cmp(other.0));
    let mut lost = Vec::new();
    for (_, changes) in folders {
        let kept = match random.random_range(0..3) {
            0 => 0,
            1 => changes.len(),
            _ => random.random_range(0..=changes.len()),
        };
        lost.extend(changes.into_iter().skip(kept));
    }
    // The latest first, over all folders: a rename may lead from one to another.
    lost.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    lost.iter().try_for_each(|(_, change)| change.undo(root))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn unsynced_names_are_undone_and_synced_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (root, saved) = (folder.path(), folder.path().join("saved"));
        for seed in 0..20 {
            fs::write(root.join("synced"), "1").unwrap();
            fs::write(root.join("b"), "new").unwrap();
            fs::write(&saved, "old").unwrap();
            let notes = format!("create\tsynced\nsync\t\ncreate\ta\nrename\ta\tb\t{}\n", saved.display());
            undo(root, &notes, &mut StdRng::seed_from_u64(seed)).unwrap();
            assert!(root.join("synced").exists());
            let b = fs::read_to_string(root.join("b")).unwrap();
            assert_eq!(b == "new", !root.join("a").exists() && saved.exists(), "{b}");
            let _ = fs::remove_file(root.join("a"));
        }
    }

    #[test]
    fn a_removed_file_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let saved = folder.path().join("saved");
        fs::write(&saved, "x").unwrap();
        let notes = format!("unlink\ta\t{}\n", saved.display());
        let mut random = StdRng::seed_from_u64(1);
        while !folder.path().join("a").exists() {
            undo(folder.path(), &notes, &mut random).unwrap();
        }
    }
}

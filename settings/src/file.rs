//! A settings file and its entries.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use crate::{
    mistake::{Mistake, SettingsError},
    path::expanded,
};

/// A settings file that has been read.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    path: PathBuf,
    text: String,
    entries: Vec<Entry>,
}

/// A key of a settings file, with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    keys: Vec<String>,
    value: Value,
    key_at: Range<usize>,
    value_at: Range<usize>,
}

impl Entry {
    /// Returns the names of the sections that the key is in, then the key.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Returns the key with its sections, such as `server.listen`.
    pub fn name(&self) -> String {
        self.keys.join(".")
    }

    /// Returns the value.
    pub fn value(&self) -> &Value {
        &self.value
    }
}

impl SettingsFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, or is not TOML.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, text)
    }

    fn parse(path: &Path, text: String) -> Result<Self, SettingsError> {
        let mut entries = Vec::new();
        let parsed = DeTable::parse(&text)
            .and_then(|table| Ok((table, text.parse::<Table>()?)))
            .map(|(table, values)| flatten(table.get_ref(), &values, &[], &mut entries));
        if let Err(error) = parsed {
            let at = error.span().unwrap_or_default();
            let problem = error.message().to_owned();
            return Err(wrong(Mistake::new(path.to_owned(), &text, at, problem)));
        }
        // In the order of the file, so that the first mistake is reported.
        entries.sort_by_key(|entry: &Entry| entry.key_at.start);
        Ok(Self { path: path.to_owned(), text, entries })
    }

    /// Returns the entries in the order of the file. A section without keys is an entry, whose value is an empty table.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the entry with a name, such as `server.listen`, if there is one.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name() == name)
    }

    /// Creates an error that points at the key of an entry. The problem is a clause: it has no capital and no full stop.
    pub fn wrong_key(&self, entry: &Entry, problem: impl Into<String>) -> SettingsError {
        self.wrong(entry.key_at.clone(), problem.into())
    }

    /// Creates an error that points at the value of an entry.
    pub fn wrong_value(&self, entry: &Entry, problem: impl Into<String>) -> SettingsError {
        self.wrong(entry.value_at.clone(), problem.into())
    }

    /// Resolves a path in the file: a relative one is relative to the file's folder.
    pub fn resolved(&self, path: &str) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        // Joining an absolute path replaces the folder.
        folder.join(expanded(Path::new(path)))
    }

    fn wrong(&self, at: Range<usize>, problem: String) -> SettingsError {
        wrong(Mistake::new(self.path.clone(), &self.text, at, problem))
    }
}

fn wrong(mistake: Mistake) -> SettingsError {
    SettingsError::Wrong(Box::new(mistake))
}

/// Collects the entries of a table. `values` are those of the same table.
fn flatten(table: &DeTable<'_>, values: &Table, above: &[String], entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let name: &str = key.get_ref();
        let Some(found) = values.get(name) else { continue };
        let keys: Vec<_> = above.iter().cloned().chain([name.to_owned()]).collect();
        match (value.get_ref(), found) {
            (DeValue::Table(inner), Value::Table(found)) if !found.is_empty() => {
                flatten(inner, found, &keys, entries);
            }
            _ => {
                entries.push(Entry { keys, value: found.clone(), key_at: key.span(), value_at: value.span() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<SettingsFile, SettingsError> {
        SettingsFile::parse(Path::new("/etc/souk/market.toml"), text.to_owned())
    }

    #[test]
    fn entries_have_names_values_and_places() {
        let file =
            file("b = 1\n[server]\nlisten = \"[::]:1\"\n[empty]\n[limits]\nburst.calls = 2\n").unwrap();
        let names: Vec<_> = file.entries().iter().map(Entry::name).collect();
        assert_eq!(names, ["b", "server.listen", "empty", "limits.burst.calls"]);
        let listen = file.find("server.listen").unwrap();
        assert_eq!(listen.value(), &Value::String("[::]:1".into()));
        let at_value = file.wrong_value(listen, "no").to_string();
        assert!(at_value.ends_with("  3 | listen = \"[::]:1\"\n    |          ^^^^^^^^"), "{at_value}");
        let at_key = file.wrong_key(listen, "no").to_string();
        assert!(at_key.ends_with("    | ^^^^^^"), "{at_key}");
        assert!(at_key.starts_with("the settings file /etc/souk/market.toml is wrong in line 3: no\n"));
    }

    #[test]
    fn text_that_is_no_toml_is_reported_with_its_line() {
        for (text, line) in [("a = \n", 1), ("a = 1\n[b\n", 2), ("a = 1\na = 2\n", 2), ("\n\nmarket: x", 3)] {
            let error = file(text).unwrap_err();
            let SettingsError::Wrong(mistake) = &error else { panic!("{error}") };
            assert_eq!(mistake.line(), line, "{error}");
            assert!(!error.to_string().contains("TOML parse error"), "{error}");
        }
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let file = file("").unwrap();
        assert_eq!(file.resolved("pki/a.pem"), Path::new("/etc/souk/pki/a.pem"));
        assert_eq!(file.resolved("/srv/a.pem"), Path::new("/srv/a.pem"));
        let beside = SettingsFile::parse(Path::new("market.toml"), String::new()).unwrap();
        assert_eq!(beside.resolved("a.pem"), Path::new("a.pem"));
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no.toml");
        let error = SettingsFile::read(&path).unwrap_err().to_string();
        assert!(error.contains("no.toml") && error.contains("--config"), "{error}");
    }
}

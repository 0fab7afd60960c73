//! Settings of the store and the search index.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use souk_store::postgres::{self, PostgresOptions};

/// The value of `store.path` for a store in memory.
pub(super) const MEMORY: &str = "memory";

/// The store, and the folder of the search index (`None` for an index in memory).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// In memory; the contents are lost at shutdown.
    Memory {
        /// Folder of the search index.
        index: Option<PathBuf>,
    },
    /// In a SQLite file.
    Sqlite {
        /// Path of the SQLite file.
        path: PathBuf,
        /// Folder of the search index.
        index: PathBuf,
    },
    /// In a PostgreSQL database, which any number of markets can share.
    Postgres {
        /// Address of the database.
        address: String,
        /// The password and the CA certificate of the database.
        options: PostgresOptions,
        /// Folder of the search index.
        index: Option<PathBuf>,
    },
}

/// Store settings given as flags, which override the settings file.
#[derive(Clone, Debug, Default)]
pub struct StoreFlags {
    /// Overrides `store.path` in the settings file.
    pub path: Option<PathBuf>,
    /// Overrides `store.password_file` in the settings file.
    pub password_file: Option<PathBuf>,
}

/// Section `[store]` as it is written in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreSettings {
    /// Path of a SQLite file, `memory`, or the address of a PostgreSQL database.
    path: PathBuf,
    /// Folder of the search index. `None` means next to the SQLite file, or in memory with another store.
    index: Option<PathBuf>,
    /// File with the database's password. `None` means the variable `PGPASSWORD`.
    password_file: Option<PathBuf>,
    /// CA certificate of the database. `None` if the address names it or none is needed.
    ca: Option<PathBuf>,
}

impl StoreSettings {
    /// Converts the section to a store configuration, with flags that override it.
    pub(super) fn under(self, flags: StoreFlags) -> StoreConfig {
        let Self { path, index, password_file, ca } = self;
        let path = flags.path.unwrap_or(path);
        let options = PostgresOptions { password_file: flags.password_file.or(password_file), ca };
        StoreConfig::new(path, index, options)
    }
}

impl StoreConfig {
    /// Creates the configuration for a SQLite file, `memory`, or the address of a PostgreSQL database.
    pub fn at(place: impl Into<PathBuf>) -> Self {
        Self::new(place.into(), None, PostgresOptions::default())
    }

    fn new(path: PathBuf, index: Option<PathBuf>, options: PostgresOptions) -> Self {
        match path.to_str() {
            Some(MEMORY) => Self::Memory { index },
            Some(address) if postgres::is_address(&path) => {
                Self::Postgres { address: address.to_owned(), options, index }
            }
            _ => {
                let index = index.unwrap_or_else(|| path.with_extension("index"));
                Self::Sqlite { path, index }
            }
        }
    }

    /// Returns whether the store is in memory, so that its contents are lost at shutdown.
    pub fn is_memory(&self) -> bool {
        matches!(self, Self::Memory { .. })
    }

    /// Returns the folder of the search index, or `None` for an index in memory.
    pub fn index_directory(&self) -> Option<&Path> {
        match self {
            Self::Memory { index } | Self::Postgres { index, .. } => index.as_deref(),
            Self::Sqlite { index, .. } => Some(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_memory_a_database_or_a_file() {
        assert_eq!(StoreConfig::at("memory"), StoreConfig::Memory { index: None });
        let database = StoreConfig::at("postgres://souk@db/souk");
        assert!(
            matches!(&database, StoreConfig::Postgres { address, .. } if address == "postgres://souk@db/souk")
        );
        assert_eq!(database.index_directory(), None);
        let file = StoreConfig::at("data/souk.db");
        assert_eq!(file.index_directory(), Some(Path::new("data/souk.index")));
    }

    #[test]
    fn flags_lie_over_the_file() {
        let settings = || StoreSettings {
            path: "souk.db".into(),
            index: Some("index".into()),
            password_file: Some("old".into()),
            ca: Some("ca.pem".into()),
        };
        let kept = settings().under(StoreFlags::default());
        assert_eq!(kept, StoreConfig::Sqlite { path: "souk.db".into(), index: "index".into() });
        let address = "postgres://souk@db/souk";
        let flags = StoreFlags { path: Some(address.into()), password_file: Some("new".into()) };
        let StoreConfig::Postgres { options, index, .. } = settings().under(flags) else {
            panic!("a database")
        };
        assert_eq!((options.password_file, options.ca), (Some("new".into()), Some("ca.pem".into())));
        assert_eq!(index, Some("index".into()));
    }
}

//! Where everything is kept.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use souk_store::postgres::{self, PostgresOptions};

/// The path that stands for no store at all.
const MEMORY: &str = "memory";

/// Where everything is kept, and where the search index is (`None`: in memory).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// In memory: everything is lost when the market ends.
    Memory {
        /// The search index.
        index: Option<PathBuf>,
    },
    /// In a SQLite file.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The search index.
        index: PathBuf,
    },
    /// In a PostgreSQL database, which any number of markets share.
    Postgres {
        /// The database's address.
        address: String,
        /// The password, and who vouches for the server.
        options: PostgresOptions,
        /// The search index.
        index: Option<PathBuf>,
    },
}

/// What flags set of the store, over the settings file.
#[derive(Clone, Debug, Default)]
pub struct StoreFlags {
    /// `store.path`.
    pub path: Option<PathBuf>,
    /// `store.password_file`.
    pub password_file: Option<PathBuf>,
}

/// The `[store]` table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreSettings {
    /// A SQLite file, `memory`, or the address of a PostgreSQL database.
    path: PathBuf,
    /// The search index, unless beside the SQLite file.
    index: Option<PathBuf>,
    /// The database's password, unless in `PGPASSWORD`.
    password_file: Option<PathBuf>,
    /// The authority of the database's certificate, unless the address names it.
    ca: Option<PathBuf>,
}

impl StoreSettings {
    /// What they mean, with flags laid over them.
    pub(super) fn under(self, flags: StoreFlags) -> StoreConfig {
        let Self { path, index, password_file, ca } = self;
        let path = flags.path.unwrap_or(path);
        let options = PostgresOptions { password_file: flags.password_file.or(password_file), ca };
        StoreConfig::new(path, index, options)
    }
}

impl StoreConfig {
    /// The store at a place: a SQLite file, `memory`, or the address of a PostgreSQL database.
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

    /// Whether everything is forgotten at the end.
    pub fn is_memory(&self) -> bool {
        matches!(self, Self::Memory { .. })
    }

    /// Where the search index is kept; `None`: in memory.
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

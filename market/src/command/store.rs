//! The flags of commands that work on the store itself, on the market's machine.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use souk_server::config::{Config, StoreConfig, StoreFlags};
use souk_store::{Reads, StoreError};

/// Names a store, like the flags of `market serve` do.
#[derive(Args)]
pub(super) struct StoreArgs {
    /// Settings file (TOML), which names the store.
    #[arg(long, env = "SOUK_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The SQLite file, or the address of the PostgreSQL database [default: souk.db].
    #[arg(long, env = "SOUK_STORE", value_name = "STORE", global = true)]
    store: Option<PathBuf>,
}

impl StoreArgs {
    /// Returns the settings of the store.
    pub(super) fn settings(self) -> anyhow::Result<StoreConfig> {
        let store = StoreFlags { path: self.store, ..StoreFlags::default() };
        Ok(Config::load_under(self.config.as_deref(), &[], store)?.store)
    }
}

/// Opens the queries of a store, whether or not a market is running.
pub(super) async fn open_reads(store: &StoreConfig) -> anyhow::Result<Arc<dyn Reads>> {
    let opened: Result<_, StoreError> = match store {
        StoreConfig::Memory { .. } => anyhow::bail!(
            "a market in memory keeps its store to itself; name the store of another market with --store"
        ),
        StoreConfig::Sqlite { path, .. } => souk_store::sqlite::open_reads(path),
        StoreConfig::Postgres { address, options, .. } => {
            souk_store::postgres::open_reads(address, options).await
        }
    };
    Ok(opened?)
}

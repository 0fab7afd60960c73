//! Opens the store, and what is read from it before anything is served.

use std::{path::Path, sync::Arc};

use souk_domain::PartyId;
use souk_search::{IndexHome, Search, StoreWriters};
use souk_store::{OpeningProgress, Reads, Store, StoreError};

use super::{
    OpenError,
    synonyms::{self, SynonymFile},
};
use crate::{
    access::{Epochs, Suspended},
    clock::{Clock, Monotonic, SteadyClock},
    config::{SearchConfig, StoreConfig},
    random::Random,
};

/// Number of suspended parties read from the store at a time.
const SUSPENDED_PAGE: usize = 1_000;

/// The open store, and the components that continue from what it holds.
pub(super) struct Data {
    pub(super) store: Store,
    pub(super) steady: SteadyClock,
    pub(super) search: Search,
    /// The file of synonyms, to be followed.
    pub(super) synonyms: Option<SynonymFile>,
    pub(super) suspended: Suspended,
    pub(super) epochs: Epochs,
}

impl Data {
    pub(super) async fn open(
        (config, searching): (&StoreConfig, &SearchConfig),
        (clock, random): (Clock, Random),
        progress: &OpeningProgress,
    ) -> Result<Self, OpenError> {
        // First, so that a mistake in the settings is reported at once, and not after a migration.
        let (wording, synonyms) = synonyms::open(searching)?;
        let store = open_store(config, random, progress).await?;
        let steady = SteadyClock::open(Arc::clone(&store.clocks), clock, Monotonic::SYSTEM).await?;
        let writers = if store.replicas.is_some() { StoreWriters::Several } else { StoreWriters::ThisMarket };
        let search = Search::open(index_home(config), wording, Arc::clone(&store.reads), writers).await?;
        // Loaded before the port is served, so that no suspended party gets a call through at start-up.
        let suspended = Suspended::new(suspended_parties(&*store.reads).await?);
        let epochs = Epochs::new(store.reads.raised_epochs().await?);
        Ok(Self { store, steady, search, synonyms, suspended, epochs })
    }
}

fn index_home(config: &StoreConfig) -> IndexHome {
    config.index_directory().map(Path::to_owned).map_or(IndexHome::Memory, IndexHome::Directory)
}

pub(super) async fn open_store(
    config: &StoreConfig,
    random: Random,
    progress: &OpeningProgress,
) -> Result<Store, StoreError> {
    match config {
        StoreConfig::Memory { .. } => Ok(souk_store::memory::open()),
        StoreConfig::Sqlite { path, .. } => {
            let (path, progress) = (path.clone(), progress.clone());
            // It may migrate for minutes, and meanwhile calls are refused on this runtime.
            let opening = move || souk_store::sqlite::open_reporting(&path, &progress);
            tokio::task::spawn_blocking(opening).await.map_err(StoreError::unavailable)?
        }
        StoreConfig::Postgres { address, options, .. } => {
            souk_store::postgres::open_reporting(address, options, random.uuid_v4(), progress).await
        }
    }
}

/// Reads all suspended parties, a page at a time.
async fn suspended_parties(reads: &dyn Reads) -> Result<Vec<PartyId>, StoreError> {
    let mut found = Vec::new();
    loop {
        let page = reads.parties(found.last().copied(), true, SUSPENDED_PAGE).await?;
        let is_last = page.len() < SUSPENDED_PAGE;
        found.extend(page.iter().map(|party| party.id));
        if is_last {
            return Ok(found);
        }
    }
}

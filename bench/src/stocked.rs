//! A market in a folder of its own, stocked with made-up items, that can be stopped and started again.

use std::{
    fs,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use souk_authority::pki::{InitOptions, Party, Pki};
use souk_certs::{clock, identity::Role};
use souk_client::Connection;
use souk_proto::v1::{self, import_items_request::Message};
use souk_testkit::actor::pounds;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    fixture::{connect, issue, register_buyer, register_seller},
    load::CONNECTIONS,
    made_up::Catalogue,
    process::ServerProcess,
    site::{free_address, get},
};

/// The number of sellers, among whom the items are spread.
pub(crate) const SELLERS: usize = 4;
/// Rows of one import. A later one continues after a token has expired.
const ROWS_AT_ONCE: u64 = 100_000;
/// Units of an item that is in stock, more than a run buys.
const STOCK: i64 = 1_000_000;
/// Deadline for an index of any size to be built.
const READY_PATIENCE: Duration = Duration::from_secs(3_600);
/// How often to poll a metric at first, and how often to search until every item is found.
const LOOK: Duration = Duration::from_millis(2);
const LOOK_FOR_ITEMS: Duration = Duration::from_millis(50);
/// Later, metrics are polled at intervals of the elapsed time divided by this, because each poll costs the market some work.
const LATER: u32 = 50;

/// The market and its parties.
pub(crate) struct StockedMarket {
    program: PathBuf,
    command: &'static str,
    threads: usize,
    admin: SocketAddr,
    server: Option<ServerProcess>,
    pub(crate) catalogue: Arc<Catalogue>,
    /// The number of items, whose numbers in the catalogue are below it.
    pub(crate) items: u64,
    sellers: Vec<Party>,
    buyers: Vec<Party>,
    folder: TempDir,
}

/// Disk space in bytes, and the number of the index's segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) store: u64,
    pub(crate) index: u64,
    pub(crate) segments: usize,
}

impl StockedMarket {
    /// Mints certificates, starts the market by `program COMMAND`, and registers the parties.
    pub(crate) async fn open(
        program: &Path,
        command: &'static str,
        threads: usize,
        catalogue: Arc<Catalogue>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("souk-stocked-").tempdir()?;
        let mut pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), clock::now())?;
        let mut party = |kind: &str, number, role| issue(&mut pki, &format!("{kind}-{number}"), role);
        let sellers = (0..SELLERS).map(|number| party("seller", number, Role::Seller));
        let sellers = sellers.collect::<Result<_, _>>()?;
        let buyers = (0..CONNECTIONS).map(|number| party("buyer", number, Role::Buyer));
        let buyers = buyers.collect::<Result<_, _>>()?;
        let mut market = Self {
            program: program.to_owned(),
            command,
            threads,
            admin: free_address().await?,
            server: None,
            catalogue,
            items: 0,
            sellers,
            buyers,
            folder,
        };
        market.start().await?;
        for seller in market.sellers().await? {
            register_seller(&seller).await?;
        }
        for (number, buyer) in market.buyers().await?.iter().enumerate() {
            register_buyer(buyer, &format!("buyer {number}")).await?;
        }
        Ok(market)
    }

    /// Starts the market, and returns the time until searches are answered from a complete index.
    pub(crate) async fn start(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let (program, folder) = (&self.program, self.folder.path());
        let server =
            ServerProcess::start_with_admin(program, self.command, folder, self.threads, self.admin).await?;
        self.server = Some(server);
        self.wait_until("souk_search_ready", 1.0).await?;
        Ok(began.elapsed())
    }

    /// Waits until a metric has a value.
    pub(crate) async fn wait_until(&self, metric: &str, value: f64) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            // The port may not answer yet.
            let metrics = get(self.admin, "/metrics").await.unwrap_or_default();
            let found =
                metrics.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse::<f64>().ok());
            if found == Some(value) {
                return Ok(());
            }
            ensure!(began.elapsed() < READY_PATIENCE, "{metric} is {found:?} instead of {value}");
            sleep(LOOK.max(began.elapsed() / LATER)).await;
        }
    }

    /// Stops the market as an operator does, and waits until it has ended.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        match &mut self.server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    pub(crate) fn server(&self) -> anyhow::Result<&ServerProcess> {
        self.server.as_ref().context("the market was not started")
    }

    /// Returns a new connection of each seller.
    pub(crate) async fn sellers(&self) -> anyhow::Result<Vec<Connection>> {
        self.connections(&self.sellers).await
    }

    /// Returns a new connection of each buyer.
    pub(crate) async fn buyers(&self) -> anyhow::Result<Vec<Connection>> {
        self.connections(&self.buyers).await
    }

    async fn connections(&self, parties: &[Party]) -> anyhow::Result<Vec<Connection>> {
        let server = self.server()?;
        stream::iter(parties).then(|party| connect(party, server)).try_collect().await
    }

    /// Imports items until there are `to`. Returns the time until the last row was acknowledged.
    pub(crate) async fn stock(&mut self, to: u64) -> anyhow::Result<Duration> {
        let sellers = self.sellers().await?;
        let began = Instant::now();
        let chunks = (self.items..to).step_by(usize::try_from(ROWS_AT_ONCE)?);
        let imports = chunks.enumerate().map(|(chunk, first)| {
            let seller = sellers[chunk % sellers.len()].clone();
            import(seller, Arc::clone(&self.catalogue), first..to.min(first + ROWS_AT_ONCE))
        });
        let mut imports = stream::iter(imports).buffer_unordered(sellers.len());
        while let Some(imported) = imports.next().await {
            imported?;
        }
        let took = began.elapsed();
        self.items = to;
        self.wait_until_found(&sellers[0]).await?;
        Ok(took)
    }

    /// Waits until searches find every item.
    async fn wait_until_found(&self, searcher: &Connection) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_PATIENCE;
        let expected = i64::try_from(self.items)?;
        loop {
            let request = v1::SearchItemRequest { page_size: 1, ..Default::default() };
            // It fails while the index is far behind.
            let found = searcher.call(request).await.map(|answer| answer.total_size);
            if matches!(found, Ok(total) if total == expected) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "searches find {found:?} instead of {expected}");
            sleep(LOOK_FOR_ITEMS).await;
        }
    }

    /// Deletes the index of a stopped market, so that the next start builds it again.
    pub(crate) fn delete_index(&self) -> anyhow::Result<()> {
        Ok(fs::remove_dir_all(self.index())?)
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("souk.index")
    }

    /// Returns the size of the store and of the index.
    pub(crate) fn sizes(&self) -> anyhow::Result<Sizes> {
        let store = ["souk.db", "souk.db-wal"].map(|name| fs::metadata(self.folder.path().join(name)));
        let store = store.iter().flatten().map(fs::Metadata::len).sum();
        let (mut index, mut segments) = (0, 0);
        let mut folders = vec![self.index()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                // A merge may have removed it meanwhile.
                let Ok(metadata) = fs::metadata(&path) else { continue };
                if metadata.is_dir() {
                    folders.push(path);
                    continue;
                }
                index += metadata.len();
                if path.file_name().is_some_and(|name| name == "meta.json") {
                    let content = fs::read(&path)?;
                    // The market adds a checksum.
                    let meta = serde_json::Deserializer::from_slice(&content).into_iter::<Value>().next();
                    segments =
                        meta.transpose()?.map_or(0, |meta| meta["segments"].as_array().map_or(0, Vec::len));
                }
            }
        }
        Ok(Sizes { store, index, segments })
    }
}

/// Imports the items with these numbers as one seller.
async fn import(seller: Connection, catalogue: Arc<Catalogue>, numbers: Range<u64>) -> anyhow::Result<()> {
    let expected = i64::try_from(numbers.end - numbers.start)?;
    let header = Message::Header(v1::ImportHeader::default());
    // Made while they are sent, so that any number of items needs no memory.
    let rows = numbers.map(move |number| Message::Row(row(&catalogue, number)));
    let messages = std::iter::once(header).chain(rows);
    let messages = messages.map(|message| v1::ImportItemsRequest { message: Some(message) });
    let done = seller.seller().import_items(stream::iter(messages)).await?.into_inner();
    if done.created_count != expected {
        bail!("{} of {expected} rows were imported: {:?}", done.created_count, done.errors.first());
    }
    Ok(())
}

/// Returns the row by which an item of the catalogue is listed.
fn row(catalogue: &Catalogue, number: u64) -> v1::ImportRow {
    let made_up = catalogue.item(number);
    let item = v1::ItemDraft {
        sku: Some(format!("M-{number}")),
        name: Some(made_up.name),
        description: Some(made_up.description),
        category: Some(made_up.category),
        unit_price: pounds(made_up.price_minor),
        quantity: Some(if made_up.is_in_stock { STOCK } else { 0 }),
    };
    v1::ImportRow {
        line: i64::try_from(number % ROWS_AT_ONCE).unwrap_or(0) + 1,
        item: Some(item),
        item_id: 0,
    }
}

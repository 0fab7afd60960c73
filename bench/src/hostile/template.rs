//! A market's folder with certificates, parties and items. Each case gets a copy of it.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::Context as _;
use futures::stream;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use souk_authority::pki::{InitOptions, IssueOptions, Party, Pki};
use souk_certs::{clock, credentials::Credentials, identity::Role};
use souk_client::{ClientConfig, Connection};
use souk_proto::v1::{self, import_items_request::Message};
use souk_testkit::actor::draft;
use tempfile::TempDir;

use super::{
    passes::{Pass, Passes},
    victim::Victim,
};

/// Units of each item, more than any run buys.
const STOCK: i64 = 1_000_000_000;
/// Items of the attacker's seller.
const OWN_ITEMS: usize = 100;
/// Letters of the words in the names of items.
const WORD_LETTERS: usize = 9;
/// Pages before the deep one.
const DEEP: usize = 9;
const SEED: u64 = 14;

/// The folder and its parties.
pub(super) struct Template {
    folder: TempDir,
    pub(super) seller: Party,
    pub(super) buyers: [Party; 2],
    hostile_seller: Party,
    hostile_buyer: Party,
    /// The item that the honest buyers look for, and the first of the attacker's items.
    pub(super) item: i64,
    own_item: i64,
}

impl Template {
    /// Mints certificates, registers everybody, and lists this many items of the honest seller.
    pub(super) async fn make(items: usize) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("souk-hostile-").tempdir()?;
        let mut pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), clock::now())?;
        let mut issue = |name, role| pki.issue(name, role, &IssueOptions::default(), clock::now());
        let mut template = Self {
            seller: issue("alice", Role::Seller)?,
            buyers: [issue("bob", Role::Buyer)?, issue("carol", Role::Buyer)?],
            hostile_seller: issue("mallory", Role::Seller)?,
            hostile_buyer: issue("mallet", Role::Buyer)?,
            item: 0,
            own_item: 0,
            folder,
        };
        let mut market = Victim::start_in(template.folder.path()).await?;
        template.fill(market.address(), items).await?;
        market.stop().await?;
        Ok(template)
    }

    async fn fill(&mut self, market: SocketAddr, items: usize) -> anyhow::Result<()> {
        for buyer in [&self.buyers[0], &self.buyers[1], &self.hostile_buyer] {
            let display_name = buyer.name.to_string();
            let request = v1::RegisterBuyerRequest { display_name, ..Default::default() };
            connect(buyer, market).await?.call(request).await?;
        }
        let mut random = StdRng::seed_from_u64(SEED);
        for (seller, count) in [(&self.seller, items), (&self.hostile_seller, OWN_ITEMS)] {
            let connection = connect(seller, market).await?;
            let display_name = seller.name.to_string();
            let request = v1::RegisterSellerRequest { display_name, ..Default::default() };
            connection.call(request).await?;
            let first = v1::SellItemRequest {
                item: Some(draft("Reading lamp", "home/light", 1_250, STOCK)),
                ..Default::default()
            };
            let first = connection.call(first).await?.item.context("an item")?.item_id;
            import(&connection, count, &mut random).await?;
            if seller.name == self.seller.name {
                self.item = first;
            } else {
                self.own_item = first;
            }
        }
        Ok(())
    }

    /// Returns a copy of the folder.
    pub(super) fn copy(&self) -> anyhow::Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("souk-hostile-").tempdir()?;
        copy(self.folder.path(), folder.path())?;
        Ok(folder)
    }

    /// Returns what the attacker gets to know at a market.
    pub(super) async fn passes(&self, market: SocketAddr) -> anyhow::Result<Passes> {
        let deep_page = deep_page(&connect(&self.hostile_buyer, market).await?).await?;
        Ok(Passes {
            deep_page,
            seller: pass(&self.hostile_seller, market).await?,
            buyer: pass(&self.hostile_buyer, market).await?,
            item: self.item,
            own_item: self.own_item,
        })
    }
}

async fn pass(party: &Party, market: SocketAddr) -> anyhow::Result<Pass> {
    let connection = connect(party, market).await?;
    let token = connection.call(v1::IssueTokenRequest {}).await?.access_token;
    Ok(Pass { id: connection.party().to_string(), token, certificate: party.files().cert })
}

/// Returns the settings with which a party connects.
pub(super) fn config(party: &Party, market: SocketAddr) -> ClientConfig {
    ClientConfig::new(market.into(), party.files())
}

async fn connect(party: &Party, market: SocketAddr) -> anyhow::Result<Connection> {
    let config = config(party, market);
    let credentials = Credentials::load(&config.credentials, &config.trust_domain, clock::now())?;
    Ok(Connection::with_credentials(&config, &credentials)?)
}

/// Returns the token of the last page that the market shows of a search, or of one far behind.
async fn deep_page(buyer: &Connection) -> anyhow::Result<String> {
    let mut page_token = String::new();
    for _ in 0..DEEP {
        let query = "lamp".to_owned();
        let request = v1::SearchItemRequest { query, page_size: 100, page_token, ..Default::default() };
        page_token = match buyer.call(request.clone()).await?.next_page_token {
            end if end.is_empty() => return Ok(request.page_token),
            next => next,
        };
    }
    Ok(page_token)
}

/// Lists items whose names have two words that occur nowhere else, so that the index has many words.
async fn import(seller: &Connection, items: usize, random: &mut StdRng) -> anyhow::Result<()> {
    let mut word =
        || (0..WORD_LETTERS).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect::<String>();
    let header = Message::Header(v1::ImportHeader::default());
    let mut messages = vec![v1::ImportItemsRequest { message: Some(header) }];
    for number in 0..items {
        let name = format!("{} {} lamp", word(), word());
        let item = v1::ItemDraft {
            sku: Some(format!("S-{number}")),
            ..draft(&name, "home/light", 1_000 + i64::try_from(number)?, STOCK)
        };
        let row = v1::ImportRow { line: i64::try_from(number)? + 1, item: Some(item), ..Default::default() };
        messages.push(v1::ImportItemsRequest { message: Some(Message::Row(row)) });
    }
    let done = seller.seller().import_items(stream::iter(messages)).await?.into_inner();
    anyhow::ensure!(done.failed_count == 0, "items were refused: {:?}", done.errors.first());
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

//! The fixture of the benchmarks: certificates, servers, registered parties and listed items.

use std::path::Path;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use souk_authority::pki::{InitOptions, IssueOptions, Party, Pki};
use souk_certs::{clock, identity::Role};
use souk_client::{ClientConfig, Connection};
use souk_proto::v1;
use tempfile::TempDir;

use crate::{load::CONNECTIONS, process::ServerProcess, workload::WORDS};

/// Number of items over which the uniform load is spread.
pub(crate) const ITEMS: usize = 1_000;
/// Units of each item, more than any run buys.
const STOCK: i64 = 1_000_000_000;
/// Number of concurrent calls while listing items.
const LISTINGS_AT_ONCE: usize = 64;

/// The running servers and the clients connected to them.
pub(crate) struct Fixture {
    pub(crate) echo: ServerProcess,
    pub(crate) market: ServerProcess,
    pub(crate) unguarded: ServerProcess,
    /// Connections to the echo server, one per buyer.
    pub(crate) echo_clients: Vec<Connection>,
    /// Connections to the market without a guard, one per buyer.
    pub(crate) unguarded_clients: Vec<Connection>,
    /// Connections to the market, one per registered buyer.
    pub(crate) buyers: Vec<Connection>,
    pub(crate) items: Vec<i64>,
    // Last, because fields are dropped in order and the servers must stop before their folder is deleted.
    _folder: TempDir,
}

impl Fixture {
    /// Starts the servers of `program`, a build of `bench`, and lists items at its market.
    pub(crate) async fn set(program: &Path, threads: usize, log: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let dir = folder.path();
        let mut pki = Pki::init(&dir.join("pki"), &InitOptions::default(), clock::now())?;
        let echo = ServerProcess::start_from(program, "serve-echo", dir, threads, log).await?;
        let market = ServerProcess::start_from(program, "serve-market", dir, threads, log).await?;
        let unguarded = ServerProcess::start_from(program, "serve-unguarded", dir, threads, log).await?;
        let mut unguarded_clients = Vec::new();
        let mut buyers = Vec::new();
        let mut echo_clients = Vec::new();
        for number in 1..=CONNECTIONS {
            let party = issue(&mut pki, &format!("buyer-{number}"), Role::Buyer)?;
            echo_clients.push(connect(&party, &echo).await?);
            let client = connect(&party, &unguarded).await?;
            register_buyer(&client, party.name.as_str()).await?;
            unguarded_clients.push(client);
            let buyer = connect(&party, &market).await?;
            register_buyer(&buyer, party.name.as_str()).await?;
            buyers.push(buyer);
        }
        let seller = connect(&issue(&mut pki, "seller-1", Role::Seller)?, &market).await?;
        let items = list_items(&seller).await?;
        Ok(Self { echo, market, unguarded, echo_clients, unguarded_clients, buyers, items, _folder: folder })
    }
}

pub(crate) fn issue(pki: &mut Pki, name: &str, role: Role) -> anyhow::Result<Party> {
    Ok(pki.issue(name, role, &IssueOptions::default(), clock::now())?)
}

pub(crate) async fn connect(party: &Party, server: &ServerProcess) -> anyhow::Result<Connection> {
    let market = server.address.to_string().parse().context("the server's own address")?;
    Ok(Connection::open(&ClientConfig::new(market, party.files())).await?)
}

pub(crate) async fn register_buyer(buyer: &Connection, name: &str) -> anyhow::Result<()> {
    let request = v1::RegisterBuyerRequest { display_name: name.into(), ..Default::default() };
    buyer.call(request).await?;
    Ok(())
}

/// Connects and registers as many buyers as the load has connections.
pub(crate) async fn registered_buyers(
    pki: &mut Pki,
    server: &ServerProcess,
) -> anyhow::Result<Vec<Connection>> {
    let mut buyers = Vec::new();
    for number in 1..=CONNECTIONS {
        let party = issue(pki, &format!("buyer-{number}"), Role::Buyer)?;
        let buyer = connect(&party, server).await?;
        register_buyer(&buyer, party.name.as_str()).await?;
        buyers.push(buyer);
    }
    Ok(buyers)
}

pub(crate) async fn register_seller(seller: &Connection) -> anyhow::Result<()> {
    // A display name belongs to one party.
    let display_name = format!("seller {}", seller.party());
    seller.call(v1::RegisterSellerRequest { display_name, ..Default::default() }).await?;
    Ok(())
}

pub(crate) async fn list_items(seller: &Connection) -> anyhow::Result<Vec<i64>> {
    register_seller(seller).await?;
    let items = stream::iter(0..ITEMS)
        .map(|number| async move {
            let (first, second) = (WORDS[number % WORDS.len()], WORDS[number / WORDS.len() % WORDS.len()]);
            let item = v1::ItemDraft {
                name: Some(format!("{first} with {second} number {number}")),
                category: Some(format!("home/{first}")),
                unit_price: Some(v1::Money { amount_minor: 1_250, currency_code: "GBP".into() }),
                quantity: Some(STOCK),
                ..Default::default()
            };
            let request = v1::SellItemRequest { item: Some(item), ..Default::default() };
            let listed = seller.call(request).await?;
            anyhow::Ok(listed.item.context("an item")?.item_id)
        })
        .buffer_unordered(LISTINGS_AT_ONCE);
    items.try_collect().await
}

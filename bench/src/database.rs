//! `bench compare --store postgres`: purchases at one and at two markets on one database, compared with `pgbench`
//! running a hand-written transaction on the same server in the same run.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use souk_authority::pki::{InitOptions, IssueOptions, Pki};
use souk_certs::{clock, identity::Role};
use souk_client::{ClientConfig, Connection};
use souk_proto::v1;
use souk_store::postgres::{self, PostgresOptions};
use souk_testkit::database::DatabaseServer;
use tempfile::TempDir;

use crate::{
    figures::median,
    fixture,
    load::{self, CONNECTIONS, IN_FLIGHT},
    process::ServerProcess,
    workload,
};

/// Number of sellers. Purchases from one seller serialize on the row lock of its mailbox.
const SELLERS: usize = 20;
/// Number of items over which the uniform load is spread.
const ITEMS: usize = 1_000;
/// Units of each item, more than any run buys.
const STOCK: i64 = 1_000_000_000;
/// Number of concurrent calls while listing items.
const LISTINGS_AT_ONCE: usize = 64;
/// Settings of the database server. Durability is left at its defaults; only capacity is raised, for the clients of
/// both markets and pgbench.
pub(crate) const SETTINGS: [&str; 3] =
    ["max_connections = 300", "shared_buffers = 256MB", "max_wal_size = 4GB"];

/// Two markets on one database, and buyers with connections to both.
pub(crate) struct Markets {
    /// Dropping them stops the markets.
    _servers: Vec<ServerProcess>,
    /// For each market, one connection per buyer.
    pub(crate) buyers: [Vec<Connection>; 2],
    pub(crate) items: Vec<i64>,
    _folder: TempDir,
}

impl Markets {
    /// Starts both markets on a database, and lists items there.
    pub(crate) async fn open(
        address: &str,
        threads: usize,
        log: &str,
        (sellers, items, stock): (usize, usize, i64),
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), clock::now())?;
        let mut servers = Vec::new();
        for _ in 0..2 {
            servers.push(ServerProcess::start_market_on(address, folder.path(), threads, log).await?);
        }
        let mut buyers = [Vec::new(), Vec::new()];
        for number in 1..=CONNECTIONS {
            for (server, buyers) in servers.iter().zip(&mut buyers) {
                buyers.push(connect(&mut pki, Role::Buyer, &format!("buyer-{number}"), server).await?);
            }
            fixture::register_buyer(&buyers[0][number - 1], &format!("buyer {number}")).await?;
        }
        let mut listed = Vec::new();
        for number in 1..=sellers {
            let seller = connect(&mut pki, Role::Seller, &format!("seller-{number}"), &servers[0]).await?;
            listed.extend(list(&seller, items / sellers, stock).await?);
        }
        Ok(Self { _servers: servers, buyers, items: listed, _folder: folder })
    }
}

async fn connect(
    pki: &mut Pki,
    role: Role,
    name: &str,
    server: &ServerProcess,
) -> anyhow::Result<Connection> {
    let party = match pki.find(name) {
        Ok(party) => party,
        Err(_) => pki.issue(name, role, &IssueOptions::default(), clock::now())?,
    };
    let market = server.address.to_string().parse().context("the server's own address")?;
    Ok(Connection::open(&ClientConfig::new(market, party.files())).await?)
}

async fn list(seller: &Connection, items: usize, stock: i64) -> anyhow::Result<Vec<i64>> {
    fixture::register_seller(seller).await?;
    let listed = stream::iter(0..items).map(|number| async move {
        let item = v1::ItemDraft {
            name: Some(format!("item {number}")),
            category: Some("home".into()),
            unit_price: Some(v1::Money { amount_minor: 1_250, currency_code: "GBP".into() }),
            quantity: Some(stock),
            ..Default::default()
        };
        let request = v1::SellItemRequest { item: Some(item), ..Default::default() };
        let listed = seller.call(request).await?;
        anyhow::Ok(listed.item.context("an item")?.item_id)
    });
    listed.buffer_unordered(LISTINGS_AT_ONCE).try_collect().await
}

/// What is measured, each in one column of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runner {
    Pgbench,
    OneMarket,
    TwoMarkets,
}

impl Runner {
    const ALL: [Self; 3] = [Self::Pgbench, Self::OneMarket, Self::TwoMarkets];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Pgbench => "pgbench",
            Self::OneMarket => "one market",
            Self::TwoMarkets => "two markets",
        }
    }
}

/// Rates in calls per second, indexed by load (uniform, hot), runner and round.
type Rates = [[Vec<f64>; 3]; 2];

/// The loads, each with the minimum ratio to pgbench that the design promises.
const LOADS: [(&str, f64); 2] = [("uniform", 1.2), ("all on one item", 5.0)];

pub(crate) async fn compare(
    rounds: u32,
    duration: Duration,
    threads: usize,
    log: &str,
) -> anyhow::Result<()> {
    let server = DatabaseServer::start(&SETTINGS)?;
    for name in ["souk", "by_hand"] {
        ran(server.program("createdb").args(["--encoding=UTF8", "--template=template0", name]))?;
    }
    let by_hand = server.address("by_hand", None);
    drop(postgres::open(&by_hand, &PostgresOptions::default(), souk_certs::random::uuid_v4()).await?);
    let (sellers, items) = (format!("sellers={SELLERS}"), format!("items={ITEMS}"));
    let fill = include_str!("../sql/fill.sql");
    ran(server
        .program("psql")
        .args(["-q", "-d", "by_hand", "-v", &sellers, "-v", &items, "-v", "ON_ERROR_STOP=1"])
        .args(["-f", &script(server.folder(), "fill.sql", fill)?]))?;
    let markets = Markets::open(&server.address("souk", None), threads, log, (SELLERS, ITEMS, STOCK)).await?;
    println!(
        "{} clients each: {CONNECTIONS} connections × {IN_FLIGHT} calls in flight, or pgbench's; {rounds} rounds × {} s; \
         {threads} threads for each market",
        CONNECTIONS * IN_FLIGHT,
        duration.as_secs()
    );
    let mut rates: Rates = Default::default();
    for round in 1..=rounds {
        for (load, (name, _)) in LOADS.iter().enumerate() {
            for (runner, rates) in Runner::ALL.into_iter().zip(&mut rates[load]) {
                let rate = match runner {
                    Runner::Pgbench => pgbench(&server, load == 1, duration)?,
                    Runner::OneMarket => buy(&markets, false, load == 1, duration).await?,
                    Runner::TwoMarkets => buy(&markets, true, load == 1, duration).await?,
                };
                println!("round {round}: {name:<16} {:<12} {rate:>8.0} orders/s", runner.as_str());
                rates.push(rate);
            }
        }
    }
    print(&rates);
    Ok(())
}

fn print(rates: &Rates) {
    println!(
        "\n{:<16} {:>12} {:>12} {:>12}   ratio to pgbench (one, two)",
        "orders/s", "pgbench", "one market", "two markets"
    );
    for ((name, target), by_runner) in LOADS.iter().zip(rates) {
        let [by_hand, one, two] = [0, 1, 2].map(|runner| median(by_runner[runner].iter().copied()));
        // The ratio is computed within each round, so that slowdowns of the machine cancel out.
        let ratio = |runner: usize| {
            median(by_runner[runner].iter().zip(&by_runner[0]).map(|(rate, base)| rate / base))
        };
        let verdict = if ratio(1).max(ratio(2)) >= *target { "reached" } else { "missed" };
        println!(
            "{name:<16} {by_hand:>12.0} {one:>12.0} {two:>12.0}   {:.2}, {:.2}   ≥ {target}: {verdict}",
            ratio(1),
            ratio(2)
        );
    }
}

/// Writes a script and returns its path. The file is world-readable, because PostgreSQL's programs may run as another
/// user.
fn script(folder: &Path, name: &str, text: &str) -> anyhow::Result<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.join(name);
    std::fs::write(&file, text)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    Ok(file.display().to_string())
}

pub(crate) fn ran(command: &mut std::process::Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{}: {}", command.get_program().display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs pgbench and returns its transactions per second.
fn pgbench(server: &DatabaseServer, is_hot: bool, duration: Duration) -> anyhow::Result<f64> {
    let purchase = script(server.folder(), "purchase.sql", include_str!("../sql/purchase.sql"))?;
    let clients = (CONNECTIONS * IN_FLIGHT).to_string();
    let items = format!("items={}", if is_hot { 1 } else { ITEMS });
    let (sellers, seconds) = (format!("sellers={SELLERS}"), duration.as_secs().to_string());
    let mut command = server.program("pgbench");
    command.args(["-n", "-M", "prepared", "-j", "2", "-c", &clients, "-T", &seconds, "-f", &purchase]);
    let output = ran(command.args(["-D", &items, "-D", &sellers, "by_hand"]))?;
    let rate = output.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.with_context(|| format!("pgbench printed no rate: {output}"))
}

/// Measures orders per second at one market, or at two with half of the clients each.
async fn buy(markets: &Markets, at_two: bool, is_hot: bool, duration: Duration) -> anyhow::Result<f64> {
    let [first, second] = &markets.buyers;
    let clients: Vec<Connection> = match at_two {
        false => first.clone(),
        true => first.iter().step_by(2).chain(second.iter().skip(1).step_by(2)).cloned().collect(),
    };
    let items = if is_hot { vec![markets.items[0]] } else { markets.items.clone() };
    let measured = load::run(&clients, duration, move |connection, number| {
        workload::buy(connection, items[workload::spread(number) % items.len()])
    });
    Ok(measured.await?.calls_per_second())
}

//! `bench join`: newcomers with nothing but a code, and attackers, against the real programs; and, if asked for, the tests of
//! every row of the threat table.

mod attacks;
mod home;
mod threats;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Args;
use home::{Home, Service, text};
use souk_certs::{clock, credentials::Credentials, identity::TrustDomain};
use souk_client::{ClientConfig, Connection};
use souk_enrolment::context::Context;
use souk_proto::v1;
use tokio::time::{Instant, timeout};

use crate::site::free_address;

/// Join with codes as newcomers do, attack the enrolment service, and revoke
#[derive(Args)]
pub(crate) struct JoinArgs {
    /// Print times without judging them, on a machine that does other work
    #[arg(long)]
    any_time: bool,
    /// Also run the tests of every row of the threat table in docs/authority.md, which cargo builds first
    #[arg(long)]
    cases: bool,
}

/// The targets: from the code to the first result of a search, and from the revocation to the end of the party's connection.
const TARGET: Duration = Duration::from_secs(2);
/// Until a market has found its authority again.
const AGAIN_WITHIN: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: JoinArgs) -> anyhow::Result<()> {
    let target = if args.any_time { AGAIN_WITHIN } else { TARGET };
    let one = OneMachine::open().await?;
    row("one machine, four commands", one.four_commands(target).await)?;
    row("three machines, six commands", one.six_commands().await)?;
    attacks::run(&one).await?;
    row("revoked: cut off", one.revoked(target).await)?;
    one.market.kill().await?;
    row("an authority of its own, and what happens without it", authority_apart().await)?;
    if args.cases {
        threats::run().await?;
    }
    println!("join: ok");
    Ok(())
}

/// Prints a row, or fails with its name.
fn row(name: &str, outcome: anyhow::Result<String>) -> anyhow::Result<()> {
    let detail = outcome.with_context(|| name.to_owned())?;
    println!("ok  {name}{}", if detail.is_empty() { String::new() } else { format!(" ({detail})") });
    Ok(())
}

/// `market serve --authority`, with ports that are free.
struct OneMachine {
    home: Home,
    market: Service,
    address: SocketAddr,
    enrolment: SocketAddr,
}

impl OneMachine {
    async fn open() -> anyhow::Result<Self> {
        let (home, address, enrolment) = (Home::new()?, free_address().await?, free_address().await?);
        let flags =
            ["serve", "--authority", "--listen", &text(address), "--enrolment-listen", &text(enrolment)];
        let market = home.serve("market", &flags, "invite somebody").await?;
        Ok(Self { home, market, address, enrolment })
    }

    /// Invites a party, and returns the code, which is all that standard output has.
    async fn invite(&self, role: &str, name: &str) -> anyhow::Result<String> {
        let said = self.home.ok("gen-certs", &["invite", role, name]).await?;
        let code = said.strip_suffix('\n').context("a line")?;
        let is_word = code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        ensure!(is_word && code.starts_with("souk1"), "standard output has more than a code");
        Ok(code.to_owned())
    }

    async fn four_commands(&self, target: Duration) -> anyhow::Result<String> {
        let home = &self.home;
        home.ok("seller", &["join", &self.invite("seller", "alice").await?]).await?;
        let lantern = [
            "sell",
            "--name",
            "Brass lantern",
            "--category",
            "home/light",
            "--price",
            "12.50 GBP",
            "--quantity",
            "10",
        ];
        home.ok("seller", &lantern).await?;
        let code = self.invite("buyer", "bob").await?;
        let begun = Instant::now();
        home.ok("buyer", &["join", &code]).await?;
        let found = home.ok("buyer", &["search", "lantern"]).await?;
        let took = begun.elapsed();
        ensure!(found.contains("Brass lantern"), "the lantern was not found: {found}");
        ensure!(took <= target, "code to first search took {took:.1?}");
        home.ok("buyer", &["buy", "1"]).await?;
        Ok(format!("code to first search {:.1} s", took.as_secs_f64()))
    }

    async fn six_commands(&self) -> anyhow::Result<String> {
        let (seller, buyer) = (Home::new()?, Home::new()?);
        let carol = self.invite("seller", "carol").await?;
        let dave = self.invite("buyer", "dave").await?;
        seller.ok("seller", &["join", &carol]).await?;
        let vase = [
            "sell",
            "--name",
            "Blue vase",
            "--category",
            "home/vase",
            "--price",
            "30 GBP",
            "--quantity",
            "1",
        ];
        seller.ok("seller", &vase).await?;
        buyer.ok("buyer", &["join", &dave]).await?;
        let found = buyer.ok("buyer", &["search", "vase"]).await?;
        ensure!(found.contains("Blue vase"), "the vase was not found: {found}");
        Ok(String::new())
    }

    async fn revoked(&self, target: Duration) -> anyhow::Result<String> {
        let home = Home::new()?;
        home.ok("buyer", &["join", &self.invite("buyer", "ed").await?]).await?;
        let connection = connected(&home, "ed", self.address).await?;
        connection.call(v1::WhoAmIRequest {}).await?;
        let begun = Instant::now();
        self.home.ok("gen-certs", &["revoke", "ed"]).await?;
        cut(&connection, begun, target).await
    }
}

/// Connects as the party of a context, with the SDK.
async fn connected(home: &Home, name: &str, market: SocketAddr) -> anyhow::Result<Connection> {
    let files = Context::at(home.context(name)).credential_files();
    Ok(Connection::open(&ClientConfig::new(market.into(), files)).await?)
}

/// Calls until the party is refused.
async fn cut(connection: &Connection, begun: Instant, target: Duration) -> anyhow::Result<String> {
    let served = async { while connection.call(v1::WhoAmIRequest {}).await.is_ok() {} };
    timeout(target, served).await.with_context(|| format!("still served after {target:?}"))?;
    Ok(format!("after {:.1} s", begun.elapsed().as_secs_f64()))
}

/// An authority on a machine of its own, a market that joins it, and trade while the authority is away.
async fn authority_apart() -> anyhow::Result<String> {
    let (ca, host, party) = (Home::new()?, Home::new()?, Home::new()?);
    let (address, enrolment) = (free_address().await?, free_address().await?);
    let (market_at, enrolment_at) = (text(address), text(enrolment));
    ca.ok("gen-certs", &["init", "--public", &enrolment_at, "--market", &market_at]).await?;
    let serve = ["serve", "--listen", &enrolment_at];
    let authority = ca.serve("gen-certs", &serve, "enrolment is open").await?;
    let invite = async |role: &str, name: &str| {
        ca.ok("gen-certs", &["invite", role, name]).await.map(|code| code.trim().to_owned())
    };
    let context = host.path().join("market");
    let dir = context.display().to_string();
    host.ok("market", &["join", &invite("market", "m1").await?, "--dir", &dir]).await?;
    let context = format!("tls.context={dir}");
    let flags = ["serve", "--set", &context, "--listen", &market_at, "--store", "souk.db"];
    let market = host.serve("market", &flags, "the market is open").await?;
    party.ok("buyer", &["join", &invite("buyer", "fay").await?]).await?;
    let late = invite("buyer", "gus").await?;
    let connection = connected(&party, "fay", address).await?;
    authority.kill().await?;
    connection.call(v1::WhoAmIRequest {}).await?;
    party.ok("buyer", &["search", "lamp"]).await?;
    Home::new()?.refused("buyer", &["join", &late], (6, "was not reached")).await?;
    // Revoked while nobody follows: in force as soon as the authority is back.
    ca.ok("gen-certs", &["revoke", "fay"]).await?;
    let authority = ca.serve("gen-certs", &serve, "enrolment is open").await?;
    let served = async { while connection.call(v1::WhoAmIRequest {}).await.is_ok() {} };
    timeout(AGAIN_WITHIN, served).await.context("the revocation did not reach the market")?;
    Home::new()?.ok("buyer", &["join", &late]).await?;
    superseded(&ca, enrolment).await?;
    market.kill().await?;
    authority.kill().await?;
    Ok(String::new())
}

/// A certificate that was copied is noticed when the second of the two copies is renewed.
async fn superseded(ca: &Home, enrolment: SocketAddr) -> anyhow::Result<()> {
    use souk_enrolment::{
        join::{JoinError, renew},
        key::PartyKey,
    };
    let home = Home::new()?;
    let code = ca.ok("gen-certs", &["invite", "buyer", "hal"]).await?;
    home.ok("buyer", &["join", code.trim()]).await?;
    let files = Context::at(home.context("hal")).credential_files();
    let copied = Credentials::load(&files, &TrustDomain::default(), clock::now())?;
    renew(&enrolment.into(), &copied, &PartyKey::generate()?).await?;
    let second = renew(&enrolment.into(), &copied, &PartyKey::generate()?).await;
    let is_noticed = matches!(&second, Err(JoinError::Refused(status))
        if souk_proto::Reason::of(status) == Some(souk_proto::Reason::RenewalSuperseded));
    ensure!(is_noticed, "the copy was renewed, too: {second:?}");
    Ok(())
}

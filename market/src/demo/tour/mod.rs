//! The tour: tries every call of every service at least once, over real connections, and checks each answer.

mod deliveries;
mod identity;
mod infrastructure;
mod joining;
mod orders;
mod riding;
mod selling;
mod suspension;
mod syncing;
mod trading;

use std::{collections::BTreeSet, future::Future, net::SocketAddr};

use anyhow::bail;
use souk_certs::identity::Role;
use souk_testkit::{
    actor::{Actor, EventReceiver},
    local::{LocalMarket, LocalMarketOptions},
};

/// A free loopback port, for callback servers.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The parties of the tour, and what they trade.
struct Cast {
    market: LocalMarket,
    /// A seller with a callback server.
    alice: Actor,
    alice_events: EventReceiver,
    /// A seller behind NAT, without one.
    carol: Actor,
    /// A buyer that receives events by a stream.
    bob: Actor,
    /// A buyer that competes with Bob.
    dave: Actor,
    /// Alice's lamp: 10 units at 12.50 GBP.
    lamp: i64,
}

impl Cast {
    async fn set() -> anyhow::Result<Self> {
        let market = LocalMarket::open(LocalMarketOptions::default()).await?;
        let alice = Actor::enter(&market, Role::Seller, "Alice").await?;
        Ok(Self {
            alice_events: alice.listen(ANY_PORT).await?,
            carol: Actor::enter(&market, Role::Seller, "Carol").await?,
            bob: Actor::enter(&market, Role::Buyer, "Bob").await?,
            dave: Actor::enter(&market, Role::Buyer, "Dave").await?,
            lamp: 0,
            alice,
            market,
        })
    }
}

/// The record of the steps so far.
#[derive(Default)]
struct Log {
    steps: usize,
    ok: usize,
    covered: BTreeSet<&'static str>,
}

impl Log {
    /// Runs a step and prints its result. `calls` names the RPCs that it tries, as `Service/Method`.
    async fn step(
        &mut self,
        what: &str,
        calls: &[&'static str],
        trial: impl Future<Output = anyhow::Result<()>>,
    ) {
        self.steps += 1;
        let outcome = trial.await;
        match outcome {
            Ok(()) => {
                self.ok += 1;
                self.covered.extend(calls);
                say!("ok      {:>2}  {what}", self.steps);
            }
            Err(error) => say!("failed  {:>2}  {what}: {error:#}", self.steps),
        }
    }
}

/// Runs the tour, and returns whether all steps succeeded.
pub async fn run() -> anyhow::Result<bool> {
    let mut cast = Cast::set().await?;
    let mut log = Log::default();
    identity::tour(&mut log, &mut cast).await;
    selling::tour(&mut log, &mut cast).await;
    trading::tour(&mut log, &mut cast).await;
    deliveries::tour(&mut log, &mut cast).await;
    suspension::tour(&mut log, &mut cast).await;
    orders::tour(&mut log, &mut cast).await;
    riding::tour(&mut log, &mut cast).await;
    syncing::tour(&mut log, &mut cast).await;
    infrastructure::tour(&mut log, &mut cast).await;
    joining::tour(&mut log).await;
    let covered = log.covered.clone();
    log.step("every call of the contract was tried", &[], async { check_coverage(&covered) }).await;
    let Cast { market, alice_events, .. } = cast;
    alice_events.close().await;
    log.step("the market drained, and its folder is gone", &[], async {
        let folder = market.path().to_owned();
        market.close().await?;
        if folder.exists() { bail!("{} is still there", folder.display()) } else { Ok(()) }
    })
    .await;
    say!("tour: {} steps, {} ok", log.steps, log.ok);
    Ok(log.steps == log.ok)
}

/// Returns every RPC in the contract, as `Service/Method`.
fn contract() -> Vec<String> {
    let calls = souk_proto::methods().into_iter();
    calls
        .filter_map(|call| Some(format!("{}/{}", call.service.strip_prefix("shopping.v1.")?, call.name)))
        .collect()
}

fn check_coverage(covered: &BTreeSet<&'static str>) -> anyhow::Result<()> {
    let mut missing = contract();
    missing.retain(|call| !covered.contains(call.as_str()));
    if missing.is_empty() { Ok(()) } else { bail!("not tried: {}", missing.join(", ")) }
}

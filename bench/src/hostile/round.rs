//! One case: the market under attack, and the control.

use std::{net::SocketAddr, path::Path, process::Stdio, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{
    assault::Assault,
    case::{Case, Target},
    honest::{Honest, Plan, Served},
    template::Template,
    victim::Victim,
};

/// Memory that a market may keep after an attack, in bytes: what its allocator, caches and index take when they are
/// first used.
const KEPT: u64 = 64 << 20;
/// Time for the memory to be back.
const BACK_PATIENCE: Duration = Duration::from_secs(10);
/// An attacker that is idle on the market still gets this share of a core for its control, so that it can connect.
const LEAST_SHARE: f64 = 0.02;

/// How the cases are run.
pub(super) struct Rounds {
    pub(super) template: Template,
    pub(super) plan: Plan,
    /// A market that nobody attacks, for the control; `None` in the short form.
    pub(super) idle: Option<Victim>,
}

/// What was measured in one case.
pub(super) struct Outcome {
    pub(super) served: Served,
    pub(super) control: Option<Served>,
    /// The most memory above that before the attack, in bytes.
    pub(super) growth: u64,
    /// Whether it was back in time.
    pub(super) is_back: bool,
    pub(super) has_ended: bool,
    /// The most descriptors above those before the attack.
    pub(super) descriptors: usize,
    pub(super) logged: u64,
    pub(super) hits: u64,
    /// The attacker's share of a core.
    pub(super) share: f64,
    pub(super) breach: Option<String>,
}

impl Rounds {
    /// Measures how an idle market serves, with nothing beside it.
    pub(super) async fn alone(&self) -> anyhow::Result<Option<Served>> {
        let Some(idle) = &self.idle else { return Ok(None) };
        let honest = Honest::enter(&self.template, idle.address(), self.plan).await?;
        Ok(Some(honest.measure().await?))
    }

    /// Runs a case.
    pub(super) async fn run(&self, case: &Case) -> anyhow::Result<Outcome> {
        let market = Arc::new(Victim::start(self.template.copy()?).await?);
        let honest = Honest::enter(&self.template, market.address(), self.plan).await?;
        let passes = self.template.passes(market.address()).await?;
        passes.write(market.dir())?;
        let target = match case.target {
            Target::Market => market.address(),
            Target::Admin => market.admin(),
            Target::Callback => honest.callback,
        };
        let (before, descriptors, logged) = (market.memory()?, market.descriptors()?, market.logged());
        let watch = market.watch();
        let assault = Assault::begin(case, market.dir(), target, None).await?;
        let served = honest.measure().await?;
        let (hits, share, breach) = (assault.hits(), assault.share()?, assault.breach());
        assault.end().await?;
        let is_back = market.shrinks_to(before + KEPT, BACK_PATIENCE).await;
        let outcome = Outcome {
            control: None,
            served,
            growth: watch.memory().saturating_sub(before),
            descriptors: watch.descriptors().saturating_sub(descriptors),
            is_back,
            has_ended: market.memory().is_err(),
            logged: market.logged() - logged,
            hits,
            share,
            breach,
        };
        let control = self.control(case, market.dir(), share).await?;
        Ok(Outcome { control, ..outcome })
    }

    /// Measures how an idle market serves while the same attacker, with as much CPU time, attacks a sink.
    async fn control(&self, case: &Case, dir: &Path, share: f64) -> anyhow::Result<Option<Served>> {
        let Some(idle) = &self.idle else { return Ok(None) };
        let sink = Sink::start(case.target.is_market().then_some(dir)).await?;
        let honest = Honest::enter(&self.template, idle.address(), self.plan).await?;
        let assault = Assault::begin(case, dir, sink.address, Some(share.max(LEAST_SHARE))).await?;
        let served = honest.measure().await?;
        assault.end().await?;
        Ok(Some(served))
    }
}

/// A `bench sink`, which is killed on drop.
struct Sink {
    address: SocketAddr,
    _child: Child,
}

impl Sink {
    async fn start(dir: Option<&Path>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("sink");
        if let Some(dir) = dir {
            command.arg("--dir").arg(dir);
        }
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().context("the child has no standard output")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        Ok(Self { address: line.context("the sink did not start")?.parse()?, _child: child })
    }
}

//! `bench hostile`: an honest client uses a market while one attacker after another tries to keep it out. The attacker
//! is a stranger, or holds the certificates of one seller and one buyer.
//!
//! A case is *held* if 99 % of the honest calls are answered in time, their median is at most three times that of the
//! control, and the market's memory grows by at most 256 MiB and is back within 10 s. For the control, the same attacker
//! with as much CPU time attacks a [sink], while the honest client uses an idle market beside it: what the machine itself
//! costs is in both.

mod assault;
mod attacker;
mod attacks;
mod case;
mod honest;
mod link;
mod pace;
mod passes;
mod round;
pub(crate) mod sink;
mod template;
mod verdict;
mod victim;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;

pub(crate) use attacker::AttackArgs;
use honest::Plan;
use round::Rounds;
use template::Template;
use verdict::Verdict;
use victim::Victim;

/// Attack a market in every way that is known, and measure what an honest client notices of it
#[derive(Args)]
pub(crate) struct HostileArgs {
    /// Only cases whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Counts and memory only, with fewer calls: for a debug build on a busy machine.
    #[arg(long)]
    short: bool,
    /// Print the cases, and run none.
    #[arg(long)]
    list: bool,
}

/// Items of the honest seller.
const ITEMS: usize = 5_000;
const LONG: Plan = Plan {
    calls: 400,
    least: Duration::from_secs(4),
    most: Duration::from_secs(30),
    deadline: Duration::from_secs(2),
    redials: false,
};
const ITEMS_IN_SHORT: usize = 500;
const SHORT: Plan = Plan {
    calls: 40,
    least: Duration::from_secs(1),
    most: Duration::from_secs(20),
    deadline: Duration::from_secs(10),
    redials: true,
};

pub(crate) async fn run(args: HostileArgs) -> anyhow::Result<()> {
    let is_chosen = |name: &str| args.only.as_ref().is_none_or(|text| name.contains(text.as_str()));
    let cases: Vec<_> = attacks::all().into_iter().filter(|case| is_chosen(case.name)).collect();
    ensure!(!cases.is_empty(), "no case has such a name; --list prints all of them");
    if args.list {
        for case in cases {
            println!("{:28} {}", case.name, case.about);
        }
        return Ok(());
    }
    let (plan, items) = if args.short { (SHORT, ITEMS_IN_SHORT) } else { (LONG, ITEMS) };
    let template = Template::make(items).await.context("can't set up the market")?;
    let idle = if args.short { None } else { Some(Victim::start(template.copy()?).await?) };
    let rounds = Rounds { template, plan, idle };
    let mut alone = rounds.alone().await?;
    let mut held = 0;
    for case in &cases {
        match rounds.run(case).await {
            Ok(outcome) => {
                let mut verdict = Verdict::of(case.name, &outcome, alone.as_ref());
                if verdict.is_invalid {
                    // The machine may be slower than it was at the beginning.
                    alone = rounds.alone().await?;
                    verdict = Verdict::of(case.name, &outcome, alone.as_ref());
                }
                held += usize::from(verdict.is_held);
                println!("{}\n{}", verdict.line, verdict.details);
            }
            // The other cases can still be measured.
            Err(error) => println!("case {} NOT HELD (it could not be run: {error:#})", case.name),
        }
    }
    println!("hostile: {} cases, {held} held", cases.len());
    ensure!(held == cases.len(), "{} cases are not held", cases.len() - held);
    Ok(())
}

/// Runs the attacker's process.
pub(crate) async fn attack(args: AttackArgs) -> anyhow::Result<()> {
    let case =
        attacks::all().into_iter().find(|case| case.name == args.case).context("no case has this name")?;
    attacker::attack(&args, case.at_once, case.session).await
}

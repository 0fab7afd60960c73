//! `bench faults`: one fault after another hits a market that trades. No change may be acknowledged that is not there
//! afterwards, and the market must recover when the fault is over.

mod inject;

use std::{fmt, time::Duration};

use anyhow::ensure;
use clap::{Args, ValueEnum};
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    site::{Site, until},
    trade::{Trade, TradeOptions},
};

/// Put a market through faults of its disk, its files and its clock, and verify what it acknowledges
#[derive(Args)]
pub(crate) struct FaultsArgs {
    /// Only these faults; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Fault>,
    /// How long a fault lasts, in seconds. Longer than SQLite waits for a lock by default.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// A sync of the write-ahead log fails, and then the power does.
    SyncError,
    /// The disk is full.
    DiskFull,
    /// The file system has become read-only.
    ReadOnly,
    /// Reads of the database fail.
    ReadError,
    /// The database is not at its path any more.
    Deleted,
    /// Another file is at the database's path.
    Replaced,
    /// The clock jumps 40 days ahead, and back.
    ClockAhead,
    /// The clock jumps 40 days back, and ahead.
    ClockBehind,
    /// The market is started with a clock that is 40 days ahead, and again with a right one.
    StartedAhead,
    /// Another process holds the database's write lock.
    HeldLock,
    /// Another process holds a snapshot of the database.
    OpenReader,
    /// Each sync takes 100 ms.
    SlowDisk,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Acknowledgements before the fault and, to count as recovered, after it.
const ACKS: usize = 50;
const ACKS_PATIENCE: Duration = Duration::from_secs(60);
/// Time for the market to notice that its file is gone; answers that were decided before may still arrive.
const GRACE: Duration = Duration::from_millis(500);
const SELLERS: usize = 6;

/// What a fault did.
#[derive(Debug, Default)]
struct Outcome {
    /// Acknowledged changes that are not there, or that went into a file that was no longer the market's.
    wrong_acks: usize,
    /// Notifications that are not in the mailboxes any more.
    lost_events: usize,
    has_recovered: bool,
    /// Whether the market ended by itself.
    has_died: bool,
    /// Whether it had to be started again, because it had ended or did not recover by itself.
    was_restarted: bool,
    acked_meanwhile: usize,
    can_read: bool,
    is_ready: Option<bool>,
    /// The reasons with which calls were rejected for the time being.
    reasons: Vec<&'static str>,
}

impl Outcome {
    /// Returns what else is required of a fault.
    fn complaint(&self, fault: Fault) -> Option<&'static str> {
        match fault {
            _ if self.wrong_acks + self.lost_events > 0 => Some("acknowledged changes are not there"),
            _ if !self.has_recovered => Some("the market did not recover"),
            Fault::SyncError if !self.has_died => Some("the market goes on after a failed sync"),
            Fault::DiskFull if self.was_restarted => Some("the market did not recover by itself"),
            Fault::DiskFull if self.reasons != ["STORAGE_FULL"] => {
                Some("the only reason should be STORAGE_FULL")
            }
            Fault::DiskFull if !self.can_read => Some("reads failed although only the disk was full"),
            Fault::DiskFull | Fault::Deleted | Fault::Replaced if self.is_ready == Some(true) => {
                Some("/readyz reported a market that could not write")
            }
            Fault::OpenReader | Fault::SlowDisk if self.acked_meanwhile == 0 => {
                Some("nothing was acknowledged meanwhile")
            }
            _ => None,
        }
    }
}

pub(crate) async fn run(args: FaultsArgs) -> anyhow::Result<()> {
    let faults = if args.only.is_empty() { Fault::value_variants() } else { &args.only };
    let mut complaints = 0;
    for fault in faults {
        let outcome = suffer(*fault, Duration::from_secs(args.seconds), args.seed).await?;
        let words = |yes: bool| if yes { "yes" } else { "no" };
        let complaint = outcome.complaint(*fault);
        println!(
            "fault={fault} wrong_acks={} recovered={}; lost_events={} died={} restarted={} acked_meanwhile={} reads={} \
             readyz={} reasons={}{}",
            outcome.wrong_acks,
            words(outcome.has_recovered),
            outcome.lost_events,
            words(outcome.has_died),
            words(outcome.was_restarted),
            outcome.acked_meanwhile,
            words(outcome.can_read),
            outcome.is_ready.map_or("silent", |is_ready| if is_ready { "200" } else { "503" }),
            outcome.reasons.join(","),
            complaint.map(|complaint| format!("; NOT AS REQUIRED: {complaint}")).unwrap_or_default(),
        );
        complaints += usize::from(complaint.is_some());
    }
    ensure!(complaints == 0, "{complaints} of {} faults did not end as required", faults.len());
    Ok(())
}

/// Puts a new market through a fault.
async fn suffer(fault: Fault, duration: Duration, seed: u64) -> anyhow::Result<Outcome> {
    let mut site = Site::new().await?;
    site.start().await?;
    // Deliveries write to the log without a sync, which a failed sync makes the kernel forget. Otherwise the events are to
    // stay in the mailboxes, where they can be counted.
    let callbacks = fault == Fault::SyncError;
    let mut trade = Trade::open(&mut site, TradeOptions { sellers: SELLERS, callbacks, seed }).await?;
    trade.start();
    ensure!(advances(&trade).await, "no trade before the fault: {}", site.last_words());
    let mut outcome = Outcome::default();
    let mut injected = inject::begin(fault, &mut site, duration).await?;
    sleep(GRACE).await;
    let acked = trade.acked();
    outcome.can_read = trade.can_read().await;
    outcome.is_ready = site.is_ready().await;
    let ends = until(duration.saturating_sub(GRACE), || {
        outcome.has_died = site.status().is_ok_and(|status| status.is_some());
        outcome.has_died
    });
    ends.await;
    outcome.acked_meanwhile = trade.acked() - acked;
    if matches!(fault, Fault::Deleted | Fault::Replaced) {
        outcome.wrong_acks += outcome.acked_meanwhile;
    }
    outcome.reasons = trade.reasons();
    injected.end(&mut site).await?;
    if fault == Fault::SyncError {
        site.kill().await?;
        site.disk.cut(&mut StdRng::seed_from_u64(seed))?;
    }
    outcome.was_restarted = outcome.has_died || fault == Fault::SyncError;
    if outcome.was_restarted {
        site.start().await?;
    }
    outcome.has_recovered = advances(&trade).await;
    if !outcome.has_recovered {
        outcome.was_restarted = true;
        site.kill().await?;
        outcome.has_recovered = site.try_start().await? && advances(&trade).await;
    }
    if outcome.has_recovered {
        trade.stop().await?;
        let mut found = trade.audit().await?;
        outcome.lost_events = if callbacks { 0 } else { trade.lost_events().await? };
        found.add(trade.repeat_all().await?);
        outcome.wrong_acks += found.lost + found.doubled + usize::from(!found.is_clean());
        site.stop().await?;
    } else {
        eprintln!("{fault}: {}", site.last_words());
    }
    Ok(outcome)
}

/// Returns whether trade goes on.
async fn advances(trade: &Trade) -> bool {
    let goal = trade.acked() + ACKS;
    until(ACKS_PATIENCE, || trade.acked() >= goal).await
}

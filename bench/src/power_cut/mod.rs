//! `bench power-cut`: cuts the power of a market that trades on a [`Disk`](crate::disk::Disk), which forgets unsynced
//! writes, tears pages, reorders and fails syncs. After each restart, every acknowledged change must be there.

mod postgres;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{sleep, timeout};

use crate::{
    backups::Backup,
    disk::Cut,
    site::{Site, until},
    trade::{Findings, Trade, TradeOptions},
};

/// Cut the power of a market while it trades, and verify that nothing acknowledged is lost
#[derive(Args)]
pub(crate) struct PowerCutArgs {
    /// Number of power cuts.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    cuts: u32,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The store on the disk; with "postgres", it is the database server that loses its power.
    #[arg(long, value_enum, default_value_t = StoreKind::Sqlite)]
    store: StoreKind,
    /// Let every sync succeed, so that only unsynced writes are at risk.
    #[arg(long)]
    reliable_syncs: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoreKind {
    Sqlite,
    Postgres,
}

/// Acknowledgements before each cut.
const ACKS_PER_CUT: usize = 60;
const ACKS_PATIENCE: Duration = Duration::from_secs(120);
/// A cut comes within this time after them, and after a failed sync.
const CUT_WITHIN_MILLIS: u64 = 1_500;
/// How long to wait for a named point.
const POINT_PATIENCE: Duration = Duration::from_secs(10);
/// The number of sellers, each with one item and a callback server: the writes to their mailboxes are not synced, and lie
/// in the same log as the orders.
const SELLERS: usize = 8;
/// A start-up is cut at one of its first syncs.
const START_SYNCS: u32 = 12;

/// What happens before the power goes.
#[derive(Clone, Copy, Debug)]
enum Prelude {
    /// Nothing in particular.
    None,
    /// The cut comes right before, or right after, a sync of the write-ahead log.
    BeforeSync,
    AfterSync,
    /// A sync of the write-ahead log fails.
    FailedSync,
    /// Syncs of any file fail now and then.
    FailingSyncs,
    /// The cut comes during a checkpoint.
    Checkpoint,
    /// The cut comes during a backup.
    Backup,
}

impl Prelude {
    const ALL: [Self; 7] = [
        Self::None,
        Self::FailedSync,
        Self::BeforeSync,
        Self::FailingSyncs,
        Self::AfterSync,
        Self::Checkpoint,
        Self::Backup,
    ];

    fn rules(self, pass: u32) -> String {
        match self {
            Self::None | Self::Backup => String::new(),
            Self::BeforeSync => format!("before sync souk.db-wal {pass} 0"),
            Self::AfterSync => format!("after sync souk.db-wal {pass} 0"),
            Self::FailedSync => format!("fail sync souk.db-wal {pass} 1"),
            Self::FailingSyncs => "chance sync souk.db-wal 30 0\nchance sync souk.db 100 0".to_owned(),
            Self::Checkpoint => "before sync souk.db 1 0".to_owned(),
        }
    }
}

/// What all cuts took together, and how often the market did not come back.
#[derive(Default)]
struct Toll {
    cuts: u32,
    dropped_bytes: u64,
    failed_syncs: u64,
    corrupt: u32,
    /// Cuts during the start after another cut.
    during_recovery: u32,
    /// Cuts during a backup, and after how many of those the file under its name was not complete.
    during_backup: u32,
    broken_backups: u32,
}

impl Toll {
    fn add(&mut self, cut: Cut) {
        self.cuts += 1;
        self.dropped_bytes += cut.dropped_bytes;
        self.failed_syncs += cut.failed_syncs;
    }
}

pub(crate) async fn run(args: PowerCutArgs) -> anyhow::Result<()> {
    if args.store == StoreKind::Postgres {
        return postgres::run(&args).await;
    }
    let mut random = StdRng::seed_from_u64(args.seed);
    let mut site = Site::new().await?;
    site.start().await?;
    let options = TradeOptions { sellers: SELLERS, callbacks: true, seed: args.seed };
    let mut trade = Trade::open(&mut site, options).await?;
    trade.start();
    let (mut findings, mut toll, mut round) = (Findings::default(), Toll::default(), 0);
    while toll.cuts < args.cuts {
        let acked = trade.acked();
        let has_traded = until(ACKS_PATIENCE, || trade.acked() >= acked + ACKS_PER_CUT).await;
        trade.check()?;
        ensure!(has_traded, "only {} acknowledgements: {}", trade.acked() - acked, site.last_words());
        let mut prelude = Prelude::ALL[round % Prelude::ALL.len()];
        if args.reliable_syncs && matches!(prelude, Prelude::FailedSync | Prelude::FailingSyncs) {
            prelude = Prelude::None;
        }
        round += 1;
        let backup = matches!(prelude, Prelude::Backup).then(|| Backup::start(&site, site.disk.folder()));
        let mut backup = backup.transpose()?;
        wait_for(prelude, &mut site, &mut random).await?;
        site.kill().await?;
        if let Some(backup) = &mut backup {
            backup.kill().await?;
        }
        let newest = trade.newest();
        site.disk.obey("")?;
        toll.add(site.disk.cut(&mut random)?);
        if !restart(&mut site, &mut toll, args.cuts, &mut random).await? {
            toll.corrupt += 1;
            eprintln!(
                "after cut {} ({prelude:?}) the market does not start: {}",
                toll.cuts,
                site.last_words()
            );
            break;
        }
        if let Some(backup) = backup {
            toll.during_backup += 1;
            toll.broken_backups += u32::from(!backup.ends_whole(&site).await?);
        }
        let found = trade.recheck(newest).await?;
        if !found.is_clean() {
            eprintln!("after cut {} ({prelude:?}): {found:?}", toll.cuts);
        }
        findings.add(found);
    }
    if toll.corrupt == 0 {
        trade.stop().await?;
        findings.add(trade.audit().await?);
        findings.add(trade.repeat_all().await?);
        toll.corrupt += u32::from(!is_intact(&mut site).await?);
    }
    report(&args, &trade, &findings, &toll)
}

fn report(args: &PowerCutArgs, trade: &Trade, findings: &Findings, toll: &Toll) -> anyhow::Result<()> {
    println!(
        "cuts={} acked={} dropped_bytes={} failed_syncs={} lost={} doubled={} corrupt={}; oversold={} imbalance={} \
         during_recovery={} during_backup={} broken_backups={}",
        toll.cuts,
        trade.acked(),
        toll.dropped_bytes,
        toll.failed_syncs,
        findings.lost,
        findings.doubled,
        toll.corrupt,
        findings.oversold,
        findings.imbalance,
        toll.during_recovery,
        toll.during_backup,
        toll.broken_backups,
    );
    ensure!(
        findings.is_clean() && toll.corrupt == 0 && toll.broken_backups == 0,
        "acknowledged changes were lost, or the store or a backup was damaged"
    );
    ensure!(toll.dropped_bytes > 0, "no write was dropped");
    ensure!(toll.failed_syncs > 0 || args.reliable_syncs, "no sync failed");
    Ok(())
}

/// Waits for the moment of the cut. At most points the market then kills itself.
async fn wait_for(prelude: Prelude, site: &mut Site, random: &mut StdRng) -> anyhow::Result<()> {
    let moment = Duration::from_millis(random.random_range(0..CUT_WITHIN_MILLIS));
    site.disk.obey(&prelude.rules(random.random_range(1..=20)))?;
    match prelude {
        Prelude::None | Prelude::Backup => sleep(moment).await,
        Prelude::BeforeSync | Prelude::AfterSync | Prelude::Checkpoint => {
            // If the point is not reached, the cut comes now.
            let _ = timeout(POINT_PATIENCE, site.ended()).await;
        }
        Prelude::FailedSync | Prelude::FailingSyncs => {
            let has_failed =
                until(POINT_PATIENCE, || site.disk.failed_syncs().is_ok_and(|failed| failed > 0)).await;
            ensure!(has_failed, "no sync has failed by the rules");
            sleep(moment).await;
        }
    }
    Ok(())
}

/// Starts the market after a cut. Every second time, the power is cut again during the start.
async fn restart(site: &mut Site, toll: &mut Toll, cuts: u32, random: &mut StdRng) -> anyhow::Result<bool> {
    while toll.cuts < cuts && random.random_bool(0.4) {
        let verb = if random.random_bool(0.5) { "before" } else { "after" };
        site.disk.obey(&format!("{verb} sync * {} 0", random.random_range(1..=START_SYNCS)))?;
        let killed = site.disk.kills()?;
        let is_open = site.try_start().await?;
        if !is_open && site.disk.kills()? == killed {
            return Ok(false);
        }
        site.kill().await?;
        site.disk.obey("")?;
        toll.add(site.disk.cut(random)?);
        toll.during_recovery += u32::from(!is_open);
    }
    site.try_start().await
}

/// Returns whether the market's own check of its files finds nothing, once it has been stopped.
async fn is_intact(site: &mut Site) -> anyhow::Result<bool> {
    site.stop().await?;
    let store = site.disk.folder().join("souk.db").display().to_string();
    for command in ["check", "audit"] {
        let is_there = site.command(&[command, "--help"]).output().await?.status.success();
        let arguments: &[&str] = if command == "check" {
            &["check", "--store", &store]
        } else {
            &["audit", "verify", "--store", &store]
        };
        if is_there {
            let output = site.command(arguments).output().await.context("can't run the market")?;
            if !output.status.success() {
                eprintln!("market {command}: {}", String::from_utf8_lossy(&output.stderr));
                return Ok(false);
            }
        }
    }
    Ok(true)
}

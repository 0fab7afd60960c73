//! `bench crash`: kills the market again and again while it trades, at random moments and at named points of the way
//! from a call to its notification, and compares what it has with what it acknowledged.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{sleep, timeout};

use crate::{
    backups::Backup,
    site::{Site, until},
    trade::{Findings, Trade, TradeOptions},
};

/// Kill the market with SIGKILL while it trades, and verify that nothing is lost, doubled or undelivered
#[derive(Args)]
pub(crate) struct CrashArgs {
    /// Number of kills.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: u32,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Acknowledgements before each kill.
const ACKS_PER_KILL: usize = 200;
/// Deadline for those acknowledgements.
const ACKS_PATIENCE: Duration = Duration::from_secs(120);
/// A random kill comes within this time after them.
const RANDOM_WITHIN_MILLIS: u64 = 60;
/// A named point is reached within so many passes.
const PASSES: u32 = 5;
/// How long to wait for a named point. A mailbox that was being sent at the last kill stays leased for 30 s, so that
/// there may be nothing to send.
const POINT_PATIENCE: Duration = Duration::from_secs(10);
/// Deadline for all notifications at the end: longer than a lease, and the back-off after it.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(120);
/// Most sellers, and kills for each of them: a kill leaves some of their mailboxes leased.
const SELLERS: (usize, u32) = (48, 2);
/// Kills while an empty store is migrated.
const MIGRATION_KILLS: u64 = 8;
/// Every so many kills, a backup is being made meanwhile.
const BACKUP_EVERY: u32 = 10;

/// The moment of a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Random,
    /// Before the sync of the write-ahead log that makes a batch durable.
    BeforeCommit,
    /// After that sync, before any of the batch's callers is answered.
    BeforeAnswer,
    /// Before a notification is sent. The market has changed a mailbox's lease for it.
    BeforeSend,
    /// After a notification has been handed to the network.
    AfterSend,
    /// When a seller has the notification, before the market learns it.
    BeforeSettle,
}

impl Point {
    const ALL: [Self; 8] = [
        Self::Random,
        Self::BeforeCommit,
        Self::BeforeAnswer,
        Self::Random,
        Self::BeforeSend,
        Self::AfterSend,
        Self::Random,
        Self::BeforeSettle,
    ];
}

pub(crate) async fn run(args: CrashArgs) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(args.seed);
    let migrations = kill_migrations().await?;
    let mut site = Site::new().await?;
    site.start().await?;
    let sellers = SELLERS.0.min(8 + (args.kills / SELLERS.1) as usize);
    let options = TradeOptions { sellers, callbacks: true, seed: args.seed };
    let mut trade = Trade::open(&mut site, options).await?;
    trade.start();
    let (mut findings, mut points, mut backups, mut broken_backups) = (Findings::default(), 0, 0, 0);
    for kill in 1..=args.kills {
        let acked = trade.acked();
        let has_traded = until(ACKS_PATIENCE, || trade.acked() >= acked + ACKS_PER_KILL).await;
        trade.check()?;
        ensure!(has_traded, "only {} acknowledgements: {}", trade.acked() - acked, site.last_words());
        let backup = (kill % BACKUP_EVERY == 0).then(|| Backup::start(&site, site.path())).transpose()?;
        let (point, cut_off) = (Point::ALL[kill as usize % Point::ALL.len()], trade.cut_off());
        points += usize::from(kill_at(point, &mut site, &trade, &mut random).await?);
        if let Some(backup) = backup {
            backups += 1;
            broken_backups += usize::from(!backup.ends_whole(&site).await?);
        }
        let newest = trade.newest();
        site.disk.forget()?;
        site.start().await?;
        ensure!(
            until(ACKS_PATIENCE, || trade.cut_off() > cut_off).await,
            "no call was in flight at kill {kill}, at {point:?}"
        );
        findings.add(trade.recheck(newest).await?);
    }
    trade.stop().await?;
    // Before the requests are repeated: those of lost orders would place them again.
    findings.add(trade.audit().await?);
    findings.add(trade.repeat_all().await?);
    let undelivered = trade.undelivered(DELIVERY_PATIENCE).await;
    println!(
        "kills={} acked={} in_flight_at_kill={} lost={} doubled={} oversold={} imbalance={} undelivered={undelivered}; \
         at_named_points={points} migrations_killed={migrations} backups_killed={backups} \
         broken_backups={broken_backups} out_of_stock={} notified={}",
        args.kills,
        trade.acked(),
        trade.cut_off(),
        findings.lost,
        findings.doubled,
        findings.oversold,
        findings.imbalance,
        trade.refused(),
        trade.arrivals().len(),
    );
    ensure!(
        findings.is_clean() && undelivered == 0 && broken_backups == 0,
        "the market broke a promise; its last words: {}",
        site.last_words()
    );
    site.stop().await
}

/// Kills the market at a point. Returns whether it was a named one; if the point is not reached, the kill is random.
async fn kill_at(point: Point, site: &mut Site, trade: &Trade, random: &mut StdRng) -> anyhow::Result<bool> {
    let pass = random.random_range(1..=PASSES);
    let rule = match point {
        Point::Random => {
            sleep(Duration::from_millis(random.random_range(0..RANDOM_WITHIN_MILLIS))).await;
            site.kill().await?;
            return Ok(false);
        }
        Point::BeforeSettle => {
            let (held, resume) = trade.arrivals().hold_next();
            let is_reached = timeout(POINT_PATIENCE, held).await.is_ok_and(|told| told.is_ok());
            site.kill().await?;
            drop(resume);
            trade.arrivals().hold_none();
            return Ok(is_reached);
        }
        Point::BeforeCommit => format!("before sync souk.db-wal {pass} 0"),
        Point::BeforeAnswer => format!("after sync souk.db-wal {pass} 0"),
        // Only a callback's peer has a port that is not the market's clients': all listeners match.
        Point::BeforeSend => rules_for(trade, "before"),
        Point::AfterSend => rules_for(trade, "after"),
    };
    let killed = site.disk.kills()?;
    site.disk.obey(&rule)?;
    let is_reached = timeout(POINT_PATIENCE, site.ended()).await.is_ok_and(|ended| ended.is_ok());
    site.disk.obey("")?;
    site.kill().await?;
    ensure!(!is_reached || site.disk.kills()? > killed, "the market ended by itself: {}", site.last_words());
    Ok(is_reached)
}

/// Returns a rule for some of the listeners: at the first message to one of them, the market dies.
fn rules_for(trade: &Trade, verb: &str) -> String {
    trade.ports().iter().take(MAX_RULES).map(|port| format!("{verb} send {port} 1 0\n")).collect()
}

/// The most rules that the disk takes, as RULES in `shim/rules.c`.
const MAX_RULES: usize = 32;

/// Kills markets at each of the first syncs on an empty store, where migrations run, and starts them again.
async fn kill_migrations() -> anyhow::Result<u64> {
    let mut site = Site::new().await?;
    let mut reached = 0;
    for sync in 1..=MIGRATION_KILLS {
        let verb = if sync % 2 == 0 { "after" } else { "before" };
        site.disk.obey(&format!("{verb} sync * {sync} 0"))?;
        let is_open = site.try_start().await?;
        site.kill().await?;
        reached += u64::from(!is_open);
        site.disk.forget()?;
    }
    site.disk.obey("")?;
    site.start().await.context("after its migrations were killed")?;
    site.kill().await?;
    Ok(reached)
}

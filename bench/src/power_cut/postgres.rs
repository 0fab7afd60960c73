//! The same with PostgreSQL: its processes run on the disk, and are stopped at once before each cut. The market goes on,
//! and reconnects to the server that has recovered.

use std::{
    os::unix::fs::{MetadataExt as _, chown},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use souk_testkit::database::DatabaseServer;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::{ACKS_PATIENCE, ACKS_PER_CUT, CUT_WITHIN_MILLIS, PowerCutArgs, SELLERS, Toll, report};
use crate::{
    database::ran,
    disk::Disk,
    site::{Site, until},
    trade::{Findings, Trade, TradeOptions},
};

/// Deadline for the server to end, and to recover.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the server is asked whether it has recovered.
const LOOK: Duration = Duration::from_millis(50);
/// Checkpoints as often as PostgreSQL allows, so that cuts hit them. After a failed sync it must not recover by itself from
/// files of which the kernel holds pages that are not on the disk: nothing would write them again.
const SETTINGS: [&str; 3] =
    ["checkpoint_timeout = '30s'", "max_wal_size = '64MB'", "restart_after_crash = off"];

/// A PostgreSQL server on a disk.
struct Database {
    server: DatabaseServer,
    disk: Disk,
    process: Child,
}

impl Database {
    async fn start() -> anyhow::Result<Self> {
        let server = DatabaseServer::start(&SETTINGS)?;
        ran(server.program("createdb").args(["--encoding=UTF8", "--template=template0", "souk"]))?;
        // Stopped, and started again on the disk. The shell that watches the first one removes the folder at the end.
        let data = server.folder().join("data");
        ran(server.program("pg_ctl").args(["stop", "--mode=fast", "-D"]).arg(&data))?;
        let disk = Disk::new(server.folder())?;
        let owner = data.metadata()?;
        disk.give_to(|path| chown(path, Some(owner.uid()), Some(owner.gid())))?;
        let process = spawn(&server, &disk)?;
        let database = Self { server, disk, process };
        ensure!(database.is_up().await?, "PostgreSQL does not start on the disk");
        Ok(database)
    }

    async fn is_up(&self) -> anyhow::Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let mut asked = self.server.program("pg_isready");
            if asked.args(["--quiet", "--dbname=postgres"]).status()?.success() {
                return Ok(true);
            }
            sleep(LOOK).await;
        }
        Ok(false)
    }

    /// Stops the server at once, without a checkpoint, and waits for its end.
    async fn stop(&mut self) -> anyhow::Result<()> {
        let data = self.server.folder().join("data");
        let mut stop = self.server.program("pg_ctl");
        // It fails if the server has ended by itself.
        let _ = stop.args(["stop", "--mode=immediate", "-D"]).arg(&data).stderr(Stdio::null()).output()?;
        timeout(PATIENCE, self.process.wait()).await.context("PostgreSQL does not stop")??;
        Ok(())
    }

    async fn cut(&mut self, random: &mut StdRng, toll: &mut Toll) -> anyhow::Result<bool> {
        self.stop().await?;
        self.disk.obey("")?;
        toll.add(self.disk.cut(random)?);
        self.process = spawn(&self.server, &self.disk)?;
        self.is_up().await
    }
}

fn spawn(server: &DatabaseServer, disk: &Disk) -> anyhow::Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(server.folder().join("disk.log"))?;
    let mut command = server.program("postgres");
    command.arg("-D").arg(disk.folder()).envs(disk.variables()).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(log);
    Ok(Command::from(command).kill_on_drop(true).spawn()?)
}

pub(super) async fn run(args: &PowerCutArgs) -> anyhow::Result<()> {
    let mut database = Database::start().await?;
    let mut site = Site::new().await?;
    site.on_store(database.server.address("souk", None));
    site.start().await?;
    let mut trade =
        Trade::open(&mut site, TradeOptions { sellers: SELLERS, callbacks: false, seed: args.seed }).await?;
    trade.start();
    let (mut findings, mut toll) = (Findings::default(), Toll::default());
    let cut = cut_again_and_again(args, (&mut database, &site, &mut trade), (&mut findings, &mut toll));
    cut.await.inspect_err(|_| eprintln!("the market's last words: {}", site.last_words()))?;
    if toll.corrupt == 0 {
        trade.stop().await?;
        findings.add(trade.audit().await?);
        findings.add(trade.repeat_all().await?);
        site.stop().await?;
    }
    report(args, &trade, &findings, &toll)
}

async fn cut_again_and_again(
    args: &PowerCutArgs,
    (database, site, trade): (&mut Database, &Site, &mut Trade),
    (findings, toll): (&mut Findings, &mut Toll),
) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(args.seed);
    while toll.cuts < args.cuts {
        let acked = trade.acked();
        let has_traded = until(ACKS_PATIENCE, || trade.acked() >= acked + ACKS_PER_CUT).await;
        trade.check()?;
        ensure!(has_traded, "only {} acknowledgements: {}", trade.acked() - acked, site.last_words());
        if toll.cuts % 2 == 1 && !args.reliable_syncs {
            // PostgreSQL names its log by position. It panics after a failed sync.
            let pass = random.random_range(0..20);
            database.disk.obey(&format!("fail sync * {pass} 1"))?;
            until(ACKS_PATIENCE, || database.disk.failed_syncs().is_ok_and(|failed| failed > 0)).await;
        }
        sleep(Duration::from_millis(random.random_range(0..CUT_WITHIN_MILLIS))).await;
        let newest = trade.newest();
        if !database.cut(&mut random, toll).await? {
            toll.corrupt += 1;
            break;
        }
        findings.add(trade.recheck(newest).await?);
    }
    Ok(())
}

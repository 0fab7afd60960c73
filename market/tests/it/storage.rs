//! The market on a disk that fails, and on a store that is taken away.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use souk_certs::identity::Role;
use souk_proto::{Reason, v1};
use souk_server::config::Config;
use souk_testkit::local::{LocalMarket, LocalMarketOptions};
use tokio::task::JoinSet;

use crate::{
    fixture::{Fixture, PATIENCE, Party, call, eventually, reason},
    observing::{Port, get_from, pick},
    site::{Process, Site},
};

const BUYERS: usize = 4;
const STOCK: i64 = 100_000;

/// Builds the library that lets syncs fail; `None` without a C compiler.
fn shim(site: &Site) -> Option<PathBuf> {
    let (source, library) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim/sync.c"), site.path("sync.so"));
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    match built {
        Ok(status) => {
            assert!(status.success(), "the shim does not compile");
            Some(library)
        }
        Err(error) => {
            eprintln!("skipped, because there is no C compiler: {error}");
            None
        }
    }
}

/// Waits until the market has ended by itself.
async fn ended(mut process: Process) -> (ExitStatus, String) {
    let id = process.child.id();
    in_time(id, move || (process.child.wait().unwrap(), process.log())).await
}

/// Waits for the end of a process, and kills it if that takes too long.
async fn in_time<T: Send + 'static>(id: u32, wait: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(wait)).await {
        Ok(done) => done.unwrap(),
        Err(_) => {
            Command::new("kill").args(["-KILL", &id.to_string()]).status().unwrap();
            panic!("the market goes on");
        }
    }
}

/// Buys one lamp after another until the market is gone. Returns the acknowledged orders, and the requests whose
/// outcome is not known.
async fn buy_until_it_ends(bob: Party, lamp: i64) -> (Vec<v1::Order>, Vec<String>) {
    let (mut orders, mut unknown) = (Vec::new(), Vec::new());
    loop {
        let request_id = bob.request_id();
        match bob.buy_as(request_id.clone(), lamp, 1).await {
            Ok(order) => orders.push(order),
            Err(_) => {
                unknown.push(request_id);
                return (orders, unknown);
            }
        }
    }
}

/// After a failed sync, the kernel takes the pages for written: nothing can be acknowledged any more. The next sync
/// succeeds, so the market must end because of the first.
async fn failed_sync_ends_the_market(file: &str) {
    let mut site = Site::new();
    let Some(shim) = shim(&site) else { return };
    let control = site.path("control");
    let mut command = site.serve();
    command.env("LD_PRELOAD", shim).env("SOUK_FAIL_SYNC", &control);
    let process = Site::start_as(&mut command);
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    let lamp = alice.lamp(STOCK).await;
    let bob = site.party("bob", Role::Buyer, &process).await;
    call!(bob, RegisterBuyerRequest { request_id: bob.request_id(), display_name: "bob".into() }).unwrap();
    let mut buying = JoinSet::new();
    for _ in 0..BUYERS {
        let connection = bob.connection.with_timeout(Duration::from_secs(2));
        buying.spawn(buy_until_it_ends(Party { connection }, lamp));
    }
    eventually("trade goes on", async || alice.item(lamp).await.unwrap().quantity < STOCK - 20).await;
    fs::write(&control, format!("{file} 1\n")).unwrap();

    let (status, log) = ended(process).await;
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().filter(|line| line.starts_with("error:")).collect::<Vec<_>>();
    let [last] = last[..] else { panic!("one line says why: {log}") };
    assert!(last.contains("failed to sync") && last.contains("start it again"), "{last}");

    let process = site.start();
    let bob = site.party("bob", Role::Buyer, &process).await;
    let (mut acknowledged, mut unanswered) = (0, 0);
    while let Some(bought) = buying.join_next().await {
        let (orders, unknown) = bought.unwrap();
        for order in &orders {
            let kept = call!(bob, GetOrderRequest { order_id: order.order_id }).unwrap();
            assert_eq!(kept.order.as_ref(), Some(order));
        }
        acknowledged += orders.len();
        unanswered += unknown.len();
        for request_id in unknown {
            bob.buy_as(request_id, lamp, 1).await.unwrap();
        }
    }
    let left = bob.item(lamp).await.unwrap().quantity;
    assert_eq!(STOCK - left, (acknowledged + unanswered) as i64, "each request bought exactly once");
    println!("{file}: acknowledged={acknowledged} unanswered={unanswered} lost=0 doubled=0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_sync_of_the_log_ends_the_market() {
    failed_sync_ends_the_market("souk.db-wal").await;
}

/// The checkpoint, on a connection of its own, fails and not a commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_sync_of_the_database_ends_the_market() {
    failed_sync_ends_the_market("souk.db").await;
}

/// A market that can't sync what an earlier one left must not open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_sync_at_start_keeps_the_market_closed() {
    let site = Site::new();
    let Some(shim) = shim(&site) else { return };
    let mut process = site.start();
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    for file in ["souk.db-wal.new", "souk.db"] {
        fs::write(site.path("control"), format!("{file} 1000\n")).unwrap();
        // The log of the killed market; without one there is nothing to write again.
        if fs::metadata(site.path("souk.db-wal")).map_or(0, |log| log.len()) == 0 {
            fs::write(site.path("souk.db-wal"), "no frames").unwrap();
        }
        let mut command = site.serve();
        command.env("LD_PRELOAD", &shim).env("SOUK_FAIL_SYNC", site.path("control"));
        let child = command.spawn().unwrap();
        let output = in_time(child.id(), move || child.wait_with_output().unwrap()).await;
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{file}: {told}");
        assert!(told.contains("souk.db"), "{file}: {told}");
    }
}

static ADMIN: Port = Port::new();

/// Moving the store away takes the market out of service, and moving it back puts it into service again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_whose_store_is_gone_acknowledges_nothing_and_is_not_ready() {
    pick(&ADMIN);
    let adjust = |config: &mut Config| config.server.admin_listen = ADMIN.get().copied();
    let market =
        LocalMarket::open(LocalMarketOptions { adjust, ..LocalMarketOptions::default() }).await.unwrap();
    let (store, away) = (market.path().join("souk.db"), market.path().join("souk.away"));
    let fixture = Fixture::over(market);
    let answers =
        async |path: &str, code: &str| get_from(&ADMIN, path).await.starts_with(&format!("HTTP/1.1 {code}"));
    let alice = fixture.seller("alice").await;
    let lamp = alice.lamp(5).await;
    let bob = fixture.buyer("bob").await;
    eventually("the market is ready", || answers("/readyz", "200")).await;

    fs::rename(&store, &away).unwrap();
    let hasty = Party { connection: bob.connection.with_timeout(Duration::from_secs(1)) };
    let request_id = bob.request_id();
    hasty.buy_as(request_id.clone(), lamp, 1).await.unwrap_err();
    eventually("the market says that it is of no use", || answers("/readyz", "503")).await;
    assert!(answers("/livez", "200").await, "a restart would begin with an empty store");
    assert_eq!(alice.item(lamp).await.unwrap().name, "Lamp", "reads go on");

    fs::rename(&away, &store).unwrap();
    eventually("the market is ready again", || answers("/readyz", "200")).await;
    bob.buy_as(request_id, lamp, 1).await.unwrap();
    assert_eq!(bob.item(lamp).await.unwrap().quantity, 4, "the request bought once");
    fixture.close().await;
}

/// The command `market`, as a user whom permissions bind. They don't bind root.
fn as_another_user() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_market"));
    command.current_dir("/");
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(65_534).gid(65_534);
    }
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backup_on_read_only_media_is_restored() {
    let mut site = Site::new();
    let process = site.start();
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    let (media, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (backup, store) = (media.path().join("backup.db"), target.path().join("souk.db"));
    let mut market = Command::new(env!("CARGO_BIN_EXE_market"));
    market.arg("backup").arg(&backup).arg("--store").arg(site.path("souk.db"));
    assert!(market.output().unwrap().status.success());
    process.end().await;
    let permit =
        |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    permit(&backup, 0o444);
    permit(media.path(), 0o555);
    permit(target.path(), 0o777);
    match as_another_user().arg("restore").arg(&backup).arg("--store").arg(&store).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(String::from_utf8(output.stdout).unwrap().contains("1 mailboxes"));
        }
        // Where the other user can't reach the program.
        Err(error) => eprintln!("skipped, because another user can't run the program: {error}"),
    }
    permit(media.path(), 0o755);
}

/// Sets the longest file that a process may write, which fails as a used up disk quota does: not with ENOSPC.
fn limit_files(process: &Process, bytes: &str) {
    let (pid, limit) = (process.child.id().to_string(), format!("--fsize={bytes}:unlimited"));
    assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn used_up_quota_refuses_changes_like_a_full_disk() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        return eprintln!("skipped, because there is no prlimit");
    }
    let mut site = Site::new();
    let market = site.serve();
    // Otherwise a signal ends the process that goes beyond the limit.
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(market.get_program()).args(market.get_args());
    command.envs(market.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let process = Site::start_as(&mut command);
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    let lamp = alice.lamp(STOCK).await;
    let bob = site.party("bob", Role::Buyer, &process).await;
    call!(bob, RegisterBuyerRequest { request_id: bob.request_id(), display_name: "bob".into() }).unwrap();
    limit_files(&process, "4096");
    let hasty = Party { connection: bob.connection.with_timeout(Duration::from_secs(1)) };
    let request_id = bob.request_id();
    assert_eq!(reason(hasty.buy_as(request_id.clone(), lamp, 1).await), Reason::StorageFull);
    assert_eq!(alice.item(lamp).await.unwrap().quantity, STOCK, "reads go on");
    limit_files(&process, "unlimited");
    eventually("the market writes again", async || hasty.buy_as(request_id.clone(), lamp, 1).await.is_ok())
        .await;
    assert_eq!(alice.item(lamp).await.unwrap().quantity, STOCK - 1, "the request bought once");
    process.end().await;
}

/// On read-only media, SQLite can't create the files that it shares a log through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_log_of_a_read_only_copy_is_verified() {
    let mut site = Site::new();
    let process = site.start();
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    process.end().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    fs::copy(site.path("souk.db"), &copy).unwrap();
    let verify = || {
        let mut command = as_another_user();
        command.args(["audit", "verify", "--store"]).arg(&copy).output()
    };
    let protect = |mode: u32| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o444)).unwrap();
    protect(0o555);
    match verify() {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{told}");
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.contains("1 entries"), "{said}");
        }
        // Where the other user can't reach the program.
        Err(error) => return eprintln!("skipped, because another user can't run the program: {error}"),
    }
    protect(0o755);
    fs::write(folder.path().join("copy.db-wal"), "frames").unwrap();
    protect(0o555);
    let output = verify().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && told.contains("copy.db-wal") && told.contains("copy both files"),
        "{told}"
    );
    protect(0o755);
}

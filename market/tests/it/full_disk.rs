//! `market serve` on a disk that fills up: changes are refused as such, reading goes on, and the market recovers by
//! itself when there is space again.

use std::{
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use souk_certs::identity::Role;
use souk_proto::Reason;

use crate::{
    fixture::{call, eventually, reason},
    observing::{free_port, get_at},
    site::{Process, Site},
};

/// The size of the disk: room for the store and its log, not for much trade.
const DISK: &str = "size=32m";

/// Mounts a small disk that only the command sees, and runs the command: as root, or in a user namespace.
const ON_A_SMALL_DISK: &str = r#"mount -t tmpfs -o "$0" tmpfs "$1" && shift && exec "$@""#;

/// A market on a small disk.
struct Small {
    process: Process,
    admin: SocketAddr,
    disk: PathBuf,
}

/// Returns how to call `unshare` here; `None` if no disk can be mounted.
fn unshare(folder: &PathBuf) -> Option<Vec<&'static str>> {
    let ways = [vec!["-m"], vec!["-r", "-m"]];
    ways.into_iter().find(|flags| {
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-c", ON_A_SMALL_DISK, DISK]).arg(folder).arg("true");
        command.output().is_ok_and(|output| output.status.success())
    })
}

impl Small {
    fn start(site: &Site) -> Option<Self> {
        let folder = site.path("disk");
        fs::create_dir(&folder).unwrap();
        let flags = unshare(&folder)?;
        let admin = free_port();
        // The index is elsewhere: it has its own say about a full disk.
        let settings =
            format!("[store]\nindex = {:?}\n[server]\nadmin_listen = \"{admin}\"\n", site.path("index"));
        fs::write(site.path("market.toml"), settings).unwrap();
        let store = folder.join("souk.db");
        let serve = site.serve();
        let own_store = site.path("souk.db");
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-c", ON_A_SMALL_DISK, DISK]).arg(&folder).arg(serve.get_program());
        command.args(serve.get_args().map(|arg| if arg == own_store { store.as_os_str() } else { arg }));
        command.arg("--config").arg(site.path("market.toml"));
        command.current_dir(site.path("")).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = Site::start_as(&mut command);
        // `exec` and `unshare` without a fork keep the process id, through which the disk can be reached.
        let disk = PathBuf::from(format!("/proc/{}/root{}", process.child.id(), folder.display()));
        Some(Self { process, admin, disk })
    }

    /// Takes all space that is left.
    fn fill(&self) {
        let mut filler = File::create(self.disk.join("filler")).unwrap();
        // In small pieces at the end, so that not even a page is left.
        for piece in [64 * 1024, 512] {
            while filler.write_all(&vec![0; piece]).is_ok() {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_refuses_changes_as_such_and_recovers_by_itself() {
    let mut site = Site::new();
    let Some(mut small) = Small::start(&site) else {
        eprintln!("skipped: no disk can be mounted here (needs root or user namespaces)");
        return;
    };
    let alice = site.party("alice", Role::Seller, &small.process).await;
    alice.register_as_seller("alice").await.unwrap();
    let lamp = alice.lamp(1_000).await;
    let ready = async || get_at(small.admin, "/readyz").await;
    eventually("the market is ready", async || ready().await.starts_with("HTTP/1.1 200")).await;

    small.fill();
    // The log may have room left for some more changes. Whatever is refused is refused as such, and took no effect.
    let before = alice.item(lamp).await.unwrap().unit_price.unwrap().amount_minor;
    let (mut price, mut tried, mut refused) = (before, 100, Vec::new());
    while refused.len() < 20 {
        tried += 1;
        let request_id = alice.request_id();
        match alice.reprice_as(request_id.clone(), lamp, tried).await {
            Ok(_) => price = tried,
            result => {
                assert_eq!(reason(result), Reason::StorageFull);
                refused.push(request_id);
            }
        }
        if !refused.is_empty() {
            let answer = ready().await;
            let is_full = answer.starts_with("HTTP/1.1 503") && answer.contains("\nstore: the disk is full");
            assert!(is_full, "{answer}");
        }
    }
    let item = call!(alice, GetItemRequest { item_id: lamp }).unwrap().item.unwrap();
    assert_eq!(
        item.unit_price.unwrap().amount_minor,
        price,
        "reading goes on, and nothing refused took effect"
    );

    fs::remove_file(small.disk.join("filler")).unwrap();
    // No call but this: a market that is not ready gets none.
    eventually("the market is ready again", async || ready().await.starts_with("HTTP/1.1 200")).await;
    let log = fs::metadata(small.disk.join("souk.db-wal")).unwrap().len();
    assert!(log < 256 * 1024, "the log gives its space back before it takes new changes: {log} bytes");
    // Another price than at first would be refused if the request had taken effect.
    let again = alice.reprice_as(refused.remove(0), lamp, 7).await.unwrap();
    assert_eq!((again.version, again.unit_price.unwrap().amount_minor), (item.version + 1, 7));
    small.process.signal("-TERM");
    assert!(small.process.child.wait().unwrap().success());
    let log = small.process.log();
    let lines_with = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!((lines_with("the disk of the store is full"), lines_with("\"ERROR\"")), (1, 1), "{log}");
    assert_eq!(lines_with("the disk of the store has space again"), 1, "{log}");
}

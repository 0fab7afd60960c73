//! A market that is started on the file of an older one, and killed while it brings it up to date.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use souk_authority::pki::IssueOptions;
use souk_certs::{
    client::ClientTls,
    clock,
    connector::{self, ConnectOptions},
    credentials::Credentials,
    identity::{Identity, Role, TrustDomain},
};
use souk_proto::v1::{self, account_service_client::AccountServiceClient};
use souk_testkit::eventually;
use tonic::{Code, Request, Status};

use crate::{fixture::PATIENCE, site::Site};

/// The migrations that the older market knew.
const OLD: [&str; 3] = [
    include_str!("../../store/src/sqlite/migrations/0001_initial.sql"),
    include_str!("../../store/src/sqlite/migrations/0002_suspension.sql"),
    include_str!("../../store/src/sqlite/migrations/0003_audit.sql"),
];
/// Enough for some seconds of work.
const ORDERS: i64 = 300_000;
const KILLS: usize = 3;

/// Writes the store of a market of schema 3.
fn write_old(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    for migration in OLD {
        connection.execute_batch(migration).unwrap();
    }
    connection
        .execute_batch(&format!(
            "PRAGMA user_version = 3; PRAGMA application_id = 0x536f756b;
             BEGIN;
             INSERT INTO party (id, role, display_name, registered_at, epoch)
                 VALUES (randomblob(16), 'seller', 'Alice', 1, 0);
             INSERT INTO item SELECT 1, id, 'Lamp', 'home', 100, 'GBP', 7, 7 + 2 * {ORDERS}, 2 * {ORDERS}, 0, 0, 0,
                 3, 1, 1, NULL, 1, '' FROM party;
             WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ORDERS})
             INSERT INTO orders SELECT i, id, 'Bob', id, 'Alice', 1, 'Lamp', 100, 'GBP', 2, 200, 'placed', i, NULL
                 FROM n, party;
             COMMIT;"
        ))
        .unwrap();
}

struct Starting {
    child: Child,
    admin: SocketAddr,
    market: SocketAddr,
}

impl Drop for Starting {
    fn drop(&mut self) {
        // Kill -9.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Starting {
    fn of(site: &Site) -> Self {
        let (admin, market) = (free(), free());
        let mut command = site.serve_at(&market.to_string(), &site.path("pki/market.pem"));
        command.args(["--admin-listen", &admin.to_string()]);
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        Self { child, admin, market }
    }

    /// Returns the answer of the admin port, or nothing while it is not open yet.
    fn get(&self, path: &str) -> Option<String> {
        let mut tcp = TcpStream::connect(self.admin).ok()?;
        tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .ok()?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Returns how far a migration is, according to `/readyz`.
    fn percent(&self, migration: &str) -> Option<u8> {
        let answer = self.get("/readyz")?;
        let (_, state) = answer.split_once(&format!("store: migrating: {migration} "))?;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        state.split_once(" %")?.0.parse().ok()
    }

    fn percent_above(&self, migration: &str, least: u8) -> u8 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.percent(migration) {
                Some(percent) if percent > least => return percent,
                _ => assert!(Instant::now() < deadline, "{migration} gets no further than {least} %"),
            }
        }
    }

    async fn call(&self, site: &mut Site) -> Status {
        let name = "alice";
        let party = match site.pki.find(name) {
            Ok(party) => party,
            Err(_) => site.pki.issue(name, Role::Seller, &IssueOptions::default(), clock::now()).unwrap(),
        };
        let domain = TrustDomain::default();
        let credentials = Credentials::load(&party.files(), &domain, clock::now()).unwrap();
        let tls = ClientTls::new(&credentials).unwrap();
        let channel =
            connector::channel(self.market.into(), Identity::Market, tls, &domain, ConnectOptions::default());
        let mut request = Request::new(v1::IssueTokenRequest::default());
        request.set_timeout(Duration::from_secs(5));
        AccountServiceClient::new(channel).issue_token(request).await.unwrap_err()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_migration_continues_and_the_market_says_how_far_it_is() {
    let mut site = Site::new();
    write_old(&site.path("souk.db"));
    for migration in ["0004", "0009", "0017"] {
        let mut reached = 0;
        for kill in 0..KILLS {
            let starting = Starting::of(&site);
            let first = starting.percent_above(migration, 0);
            assert!(first >= reached, "{migration} begins at {first} %, although {reached} % were done");
            let alive = starting.get("/livez").unwrap();
            assert!(alive.starts_with("HTTP/1.1 200"), "starting again would not help");
            if (migration, kill) == ("0004", 0) {
                let refused = starting.call(&mut site).await;
                assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
                assert!(refused.message().contains("migrating: 0004"), "{refused:?}");
            }
            reached = starting.percent_above(migration, first);
        }
    }
    let last = Starting::of(&site);
    eventually("the market is open", async || {
        last.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    })
    .await;
    drop(last);
    let migrated = Connection::open(site.path("souk.db")).unwrap();
    let count = |sql: &str| migrated.query_row::<i64, _, _>(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM orders WHERE total_minor = 200 AND status = 'placed'"), ORDERS);
    assert_eq!(count("SELECT sum(orders) FROM sales"), ORDERS);
    assert_eq!(count("SELECT ordered FROM total"), 2 * ORDERS);
    assert_eq!(count("SELECT count(*) FROM sqlite_schema WHERE name IN ('migration', 'orders_anew')"), 0);
}

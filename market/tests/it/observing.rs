//! Observability: health, metrics, and the request id of each call.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
};

use souk_certs::identity::Role;
use souk_client::{ClientConfig, Connection, Timings, timing::CallTiming};
use souk_proto::v1;
use souk_server::config::Config;
use souk_testkit::{
    actor::{Actor, draft},
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    postgres::{Database, is_there},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::fixture::eventually;

/// A free port for one test. It is found by binding a listener, which is closed before the market binds the
/// port.
pub(crate) type Port = OnceLock<SocketAddr>;
static ADMIN: Port = Port::new();
static ADMIN_ON_POSTGRES: Port = Port::new();

pub(crate) fn pick(port: &Port) {
    port.set(free_port()).unwrap();
}

/// Returns the address of a port that is free at the moment.
pub(crate) fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn get(path: &str) -> String {
    get_from(&ADMIN, path).await
}

pub(crate) async fn get_from(port: &Port, path: &str) -> String {
    get_at(*port.get().unwrap(), path).await
}

/// Returns the admin port's answer, with its head.
pub(crate) async fn get_at(address: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_call_times_are_exposed() {
    pick(&ADMIN);
    let adjust = |config: &mut Config| config.server.admin_listen = ADMIN.get().copied();
    let market =
        LocalMarket::open(LocalMarketOptions { adjust, ..LocalMarketOptions::default() }).await.unwrap();
    assert!(get("/livez").await.starts_with("HTTP/1.1 200"));
    // The index catches up a moment after the market listens.
    eventually("the market is ready", async || get("/readyz").await.starts_with("HTTP/1.1 200")).await;
    let checks = ["ledger: ok", "store: ok", "database: ok", "search: ok", "shutdown: ok"];
    assert!(get("/readyz").await.ends_with(&(checks.join("\n") + "\n")));
    assert!(get("/elsewhere").await.starts_with("HTTP/1.1 404"));

    let alice = Actor::enter(&market, Role::Seller, "Alice").await.unwrap();
    alice.register(None).await.unwrap();
    alice.sell(draft("Lamp", "home", 100, 1)).await.unwrap();
    alice.sell(draft("", "home", 100, 1)).await.unwrap_err();
    let figures = get("/metrics").await;
    let count = |method: &str, code: &str| {
        let (method, code) = (format!("rpc_method=\"{method}\""), format!("rpc_grpc_status_code=\"{code}\""));
        let mut counts = figures.lines().filter(|line| line.starts_with("rpc_server_duration_seconds_count"));
        let line = counts.find(|line| line.contains(&method) && line.contains(&code));
        line.map(|line| line.rsplit(' ').next().unwrap().to_owned())
    };
    assert_eq!(count("SellItem", "0"), Some("1".to_owned()), "{figures}");
    assert_eq!(count("SellItem", "3"), Some("1".to_owned()), "{figures}");
    for figure in
        ["souk_store_state 0", "souk_wal_bytes ", "souk_wal_pending_pages ", "souk_wal_checkpoints_total "]
    {
        assert!(figures.lines().any(|line| line.starts_with(figure)), "{figure}: {figures}");
    }
    for part in ["souk_memory_anonymous_bytes ", "souk_memory_file_bytes "] {
        let bytes: u64 = figures.lines().find_map(|line| line.strip_prefix(part)).unwrap().parse().unwrap();
        assert!(bytes > 1_000_000, "{part}{bytes}");
    }
    market.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_is_not_ready_while_its_database_hangs() {
    if !is_there() {
        return;
    }
    pick(&ADMIN_ON_POSTGRES);
    let database = Database::on_its_own_server();
    let options = LocalMarketOptions {
        store: StoreKind::Postgres(database.address().to_owned()),
        adjust: |config| config.server.admin_listen = ADMIN_ON_POSTGRES.get().copied(),
        ..LocalMarketOptions::default()
    };
    let market = LocalMarket::open(options).await.unwrap();
    let answers = async |path: &str, code: &str| {
        get_from(&ADMIN_ON_POSTGRES, path).await.starts_with(&format!("HTTP/1.1 {code}"))
    };
    eventually("the market is ready", || answers("/readyz", "200")).await;
    database.server().freeze().unwrap();
    eventually("the market says that it is of no use", || answers("/readyz", "503")).await;
    assert!(answers("/livez", "200").await, "starting it again would not help");
    database.server().thaw().unwrap();
    eventually("the market is ready again", || answers("/readyz", "200")).await;
    market.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_gets_the_server_timing_and_the_request_id() {
    let market = LocalMarket::open(LocalMarketOptions::default()).await.unwrap();
    let reported = Arc::new(Mutex::new(Vec::new()));
    let timings = {
        let reported = Arc::clone(&reported);
        Timings::new(move |call: &CallTiming| reported.lock().unwrap().push(call.clone()))
    };
    let config = market.identity(Role::Seller, "Alice").await.unwrap();
    let connection =
        Connection::open(&ClientConfig { timings: Some(timings), ..config.clone() }).await.unwrap();
    let alice = Actor { role: Role::Seller, name: "Alice".into(), config, connection };
    alice.register(None).await.unwrap();
    alice.sell(draft("", "home", 100, 1)).await.unwrap_err();
    let calls = reported.lock().unwrap().clone();
    let methods: Vec<_> = calls.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(
        methods,
        ["AccountService/RegisterSeller", "AccountService/IssueToken", "SellerService/SellItem"]
    );
    for call in &calls {
        let [attempt] = call.attempts.as_slice() else { panic!("{call:?}") };
        assert!(attempt.market.unwrap() <= attempt.took && attempt.took <= call.took, "{call:?}");
        assert_eq!(attempt.request_id.as_ref().unwrap().len(), 32);
    }
    assert_eq!(calls[2].attempts[0].code, Some(tonic::Code::InvalidArgument));
    market.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_logged_with_its_request_id() {
    let market = LocalMarket::open(LocalMarketOptions::default()).await.unwrap();
    let alice = Actor::enter(&market, Role::Seller, "Alice").await.unwrap();
    alice.register(None).await.unwrap();
    let ask = async |id: Option<&str>| {
        let mut request = tonic::Request::new(v1::ListCategoriesRequest::default());
        if let Some(id) = id {
            request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        }
        let answer = alice.connection.catalog().list_categories(request).await.unwrap();
        answer.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(ask(Some("my-call_7")).await, "my-call_7");
    let (one, other) = (ask(None).await, ask(None).await);
    assert!(one.len() == 32 && one != other);
    // An id that could forge a log line, or flood the log, is replaced.
    let long = "x".repeat(65);
    for odd in ["two words", "a\"b", "", &long] {
        assert_eq!(ask(Some(odd)).await.len(), 32, "{odd}");
    }
    market.close().await.unwrap();
}

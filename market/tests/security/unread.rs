//! Clients that ask and do not read: HTTP/2 lets them keep their windows closed.

use std::{net::SocketAddr, sync::OnceLock, time::Instant};

use futures::{StreamExt as _, stream::FuturesUnordered};
use h2::client::{Builder, ResponseFuture};
use prost::Message;
use souk_certs::identity::Role;
use souk_proto::{Reason, v1};
use souk_server::config::Config;
use souk_testkit::{
    actor::{Actor, draft},
    eventually, frames,
    local::LocalMarketOptions,
};
use tokio::{net::TcpListener, time::timeout};
use tonic::Status;

use crate::{
    fixture::{Fixture, PATIENCE, get},
    raw::Pass,
    streams::Streams,
};

/// More than a market may hold for one party, and less than it may hold for all.
const MOST_HELD: u64 = 64 * 1024 * 1024;
const SEARCH: &str = "/shopping.v1.CatalogService/SearchItem";
const WATCH: &str = "/shopping.v1.CatalogService/WatchSearch";

type Port = OnceLock<SocketAddr>;

static SEARCHES: Port = Port::new();
static WATCHES: Port = Port::new();

/// Opens a market with metrics on a free port.
async fn open(port: &'static Port, adjust: fn(&mut Config)) -> Fixture {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    port.set(free).unwrap();
    Fixture::with(LocalMarketOptions { adjust, ..LocalMarketOptions::default() }).await
}

async fn figure(port: &Port, name: &str) -> u64 {
    let text = get(*port.get().unwrap(), "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
}

/// Opens a connection of Mallory whose streams have no room for any data.
async fn closed(fixture: &Fixture, mallory: &Actor, pass: &Pass) -> Streams {
    Streams::open_with(fixture, mallory, pass.clone(), Builder::new().initial_window_size(0)).await
}

/// Makes a call, and returns its answer's headers when they come.
async fn call(streams: &Streams, path: &str, message: &impl Message) -> ResponseFuture {
    let (answer, mut stream) = streams.begin(path).await;
    stream.send_data(frames::message(&message.encode_to_vec()).into(), true).unwrap();
    answer
}

/// Enters Mallory, who lists items of 16 KiB each.
async fn enter(fixture: &Fixture, items: usize) -> (Actor, Pass) {
    let mallory = fixture.seller("Mallory").await;
    for number in 0..items {
        let description = Some("\u{1f4a1}".repeat(4_000));
        let item = draft(&format!("Ballast {number}"), "ballast", 100, 1);
        mallory.sell(v1::ItemDraft { description, ..item }).await.unwrap();
    }
    let pass = Pass::of(fixture, &mallory).await;
    (mallory, pass)
}

/// Checks that Bob finds, sees and connects, each well within a client's patience.
async fn serves(fixture: &Fixture) {
    let begun = Instant::now();
    for _ in 0..20 {
        let request = v1::SearchItemRequest { query: "lamp".to_owned(), ..Default::default() };
        assert_eq!(fixture.bob.search(request).await.unwrap().items.len(), 1);
        fixture.bob.item(fixture.lamp.item_id).await.unwrap();
    }
    let fresh = Actor::enter(&fixture.market, Role::Buyer, "Bob").await.unwrap();
    fresh.item(fixture.lamp.item_id).await.unwrap();
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_that_nobody_reads() {
    let fixture = open(&SEARCHES, |config| config.server.admin_listen = SEARCHES.get().copied()).await;
    let (mallory, pass) = enter(&fixture, 80).await;
    let request = v1::SearchItemRequest { query: "ballast".to_owned(), page_size: 200, ..Default::default() };
    let mut held = Vec::new();
    let mut answers = FuturesUnordered::new();
    for _ in 0..4 {
        let closed = closed(&fixture, &mallory, &pass).await;
        for _ in 0..125 {
            answers.push(call(&closed, SEARCH, &request).await);
        }
        held.push(closed);
    }
    // What is refused has its status in the headers; the rest has only begun.
    let (mut bodies, mut refused) = (Vec::new(), 0);
    while let Some(answer) = timeout(PATIENCE, answers.next()).await.expect("in time") {
        let answer = answer.unwrap();
        match Status::from_header_map(answer.headers()) {
            Some(status) => {
                assert_eq!(Reason::of(&status), Some(Reason::Overloaded), "{status:?}");
                refused += 1;
            }
            None => bodies.push(answer.into_body()),
        }
    }
    let unread = figure(&SEARCHES, "souk_unread_answer_bytes").await;
    assert!(refused > 0 && unread > 0, "{refused} refused, {unread} bytes held");
    assert!(unread < MOST_HELD, "{unread} bytes of answers to {} searches", bodies.len());
    serves(&fixture).await;
    drop((bodies, held));
    eventually("nothing is held for a client that is gone", async || {
        figure(&SEARCHES, "souk_unread_answer_bytes").await == 0
    })
    .await;
    fixture.hold().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_nobody_reads() {
    let fixture = open(&WATCHES, |config| config.server.admin_listen = WATCHES.get().copied()).await;
    let (mallory, pass) = enter(&fixture, 80).await;
    let closed = closed(&fixture, &mallory, &pass).await;
    let request = v1::WatchSearchRequest { query: "ballast".to_owned(), ..Default::default() };
    let mut answers = Vec::new();
    for _ in 0..80 {
        answers.push(call(&closed, WATCH, &request).await);
    }
    serves(&fixture).await;
    eventually("the first matches are there", async || {
        figure(&WATCHES, "souk_unread_answer_bytes").await > 0
    })
    .await;
    let unread = figure(&WATCHES, "souk_unread_answer_bytes").await;
    assert!(unread < MOST_HELD, "{unread} bytes are held");
    drop((answers, closed));
    eventually("the watches have ended", async || figure(&WATCHES, "souk_watched_searches").await == 0).await;
    fixture.hold().await;
}

/// The pages of all lists end before a mebibyte, and the next one goes on where they ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_large_rows() {
    let fixture = Fixture::open().await;
    let (mallory, _) = enter(&fixture, 90).await;
    let mut request =
        v1::SearchItemRequest { query: "ballast".to_owned(), page_size: 200, ..Default::default() };
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = mallory.search(request.clone()).await.unwrap();
        assert!(page.encoded_len() < (1 << 20) + 8_192, "{} bytes", page.encoded_len());
        assert_eq!(page.total_size, 90);
        found.extend(page.items.into_iter().map(|item| item.item_id));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!((found.len(), pages), (90, 2));
    let mut request = v1::DisplaySellerItemsRequest { page_size: 200, ..Default::default() };
    let first = mallory.connection.call(request.clone()).await.unwrap();
    assert!(first.encoded_len() < (1 << 20) + 8_192, "{} bytes", first.encoded_len());
    request.page_token = first.next_page_token;
    let second = mallory.connection.call(request).await.unwrap();
    assert_eq!((first.items.len() + second.items.len(), second.next_page_token), (90, String::new()));
    fixture.hold().await;
}

//! The real `market serve` as a child process: killed, stopped by a signal, and started with wrong settings.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use souk_authority::pki::IssueOptions;
use souk_certs::{clock, identity::Role};
use souk_client::{TillNotice, till};
use souk_proto::v1::{self, sync_line};
use tokio::task::JoinSet;

use crate::{
    fixture::{PATIENCE, Party, call},
    site::Site,
};

async fn register_buyer(party: &Party) {
    call!(party, RegisterBuyerRequest { display_name: "bob".into() }).unwrap();
}

const BUYERS: usize = 8;
const STOCK: i64 = 100_000;

/// G1 and G3: after kill -9 during trade and a restart, every acknowledged order is there, and retrying the
/// others with their request ids buys each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_orders_survive_kill_9_and_retries_buy_once() {
    let mut site = Site::new();
    let mut process = site.start();
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    let lamp = alice.lamp(STOCK).await;
    let bob = site.party("bob", Role::Buyer, &process).await;
    register_buyer(&bob).await;
    let mut buying = JoinSet::new();
    for _ in 0..BUYERS {
        let connection = bob.connection.with_timeout(Duration::from_secs(2));
        buying.spawn(buy_until_it_fails(Party { connection }, lamp));
    }
    tokio::time::timeout(PATIENCE, async { while alice.item(lamp).await.unwrap().quantity > STOCK - 200 {} })
        .await
        .expect("trade goes on");
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    let (mut acknowledged, mut unanswered) = (Vec::new(), Vec::new());
    while let Some(bought) = buying.join_next().await {
        let (orders, last_request) = bought.unwrap();
        acknowledged.extend(orders);
        unanswered.push(last_request);
    }
    let process = site.start();
    let bob = site.party("bob", Role::Buyer, &process).await;
    for order in &acknowledged {
        let kept = call!(bob, GetOrderRequest { order_id: order.order_id }).unwrap();
        assert_eq!(kept.order.as_ref(), Some(order));
    }
    for request_id in unanswered {
        let once = bob.buy_as(request_id.clone(), lamp, 1).await.unwrap();
        assert_eq!(bob.buy_as(request_id, lamp, 1).await.unwrap(), once);
    }
    let left = bob.item(lamp).await.unwrap().quantity;
    assert_eq!(STOCK - left, (acknowledged.len() + BUYERS) as i64, "each request bought exactly once");
    println!("acknowledged={} unanswered={BUYERS} lost=0 doubled=0", acknowledged.len());
}

/// Buys until a call fails. Returns the acknowledged orders, and the request id of the failed call.
async fn buy_until_it_fails(bob: Party, lamp: i64) -> (Vec<v1::Order>, String) {
    let mut orders = Vec::new();
    loop {
        let request_id = bob.request_id();
        match bob.buy_as(request_id.clone(), lamp, 1).await {
            Ok(order) => orders.push(order),
            Err(_) => return (orders, request_id),
        }
    }
}

/// A till keeps sending across kill -9 of its market: every line is answered once and takes effect once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn till_continues_across_kill_9_of_its_market() {
    const LINES: i64 = 2_000;
    let mut site = Site::new();
    let mut process = site.start();
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    let lamp = alice.lamp(1).await;
    let (till, mut notices) = till::open(alice.connection.clone(), "shop".into(), 0);
    let sending = tokio::spawn(async move {
        for line in 1..=LINES {
            let item = Some(sync_line::Item::ItemId(lamp));
            let change = Some(sync_line::Change::QuantityDelta(1));
            till.send(v1::SyncLine { line, item, change }).await.unwrap();
        }
    });
    let (mut answered, mut interruptions) = (0, 0);
    loop {
        match tokio::time::timeout(PATIENCE, notices.recv()).await.expect("a notice in time").unwrap() {
            TillNotice::Acknowledged(answer) => {
                answered += 1;
                assert_eq!(answer.line, answered);
                if answered == LINES / 4 {
                    let address = process.address;
                    process.child.kill().unwrap();
                    process.child.wait().unwrap();
                    process = site.start_at(address);
                }
            }
            TillNotice::Interrupted { .. } => interruptions += 1,
            TillNotice::Done => break,
            TillNotice::Ended(failure) => panic!("the stream ended: {failure}"),
            _ => {}
        }
    }
    sending.await.unwrap();
    assert_eq!((answered, alice.item(lamp).await.unwrap().quantity), (LINES, LINES + 1));
    println!("lines={LINES} interruptions={interruptions} lost=0 doubled=0");
}

/// G10: SIGTERM ends the market in time, with exit code 0 and nothing lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains_and_loses_nothing() {
    let mut site = Site::new();
    let process = site.start();
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    let lamp = alice.lamp(5).await;
    // A stream without an end must not delay the drain.
    let mut stream =
        alice.connection.events().subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap();
    process.end().await;
    let process = site.start();
    let alice = site.party("alice", Role::Seller, &process).await;
    assert_eq!(alice.item(lamp).await.unwrap().quantity, 5);
}

fn refusal_of(command: &mut Command) -> String {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn wrong_settings_are_refused_with_a_remedy() {
    let site = Site::new();
    let missing = refusal_of(&mut site.serve_with(Path::new("nowhere.pem")));
    assert!(missing.contains("nowhere.pem"), "{missing}");
    let crl = site.path("pki/crl.pem");
    let hidden = site.path("pki/crl.hidden");
    std::fs::rename(&crl, &hidden).unwrap();
    let no_crl = refusal_of(&mut site.serve());
    assert!(no_crl.contains("crl.pem"), "{no_crl}");
    std::fs::rename(&hidden, &crl).unwrap();
    let flag = refusal_of(site.serve().arg("--lissten"));
    assert!(flag.contains("--listen"), "{flag}");
    let settings = site.path("market.toml");
    std::fs::write(&settings, "[server]\nlisten = 7\n").unwrap();
    let malformed = refusal_of(site.serve().arg("--config").arg(&settings));
    assert!(malformed.contains("market.toml is wrong in line 2: server.listen"), "{malformed}");
    assert!(malformed.contains("\n  2 | listen = 7\n    |          ^"), "{malformed}");
}

#[tokio::test]
async fn buyers_certificate_does_not_open_a_market() {
    let mut site = Site::new();
    site.pki.issue("bob", Role::Buyer, &IssueOptions::default(), clock::now()).unwrap();
    let refused = refusal_of(&mut site.serve_with(&site.path("pki/bob.pem")));
    assert!(refused.contains("market"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_market_on_the_same_store_is_refused() {
    let site = Site::new();
    let _first = site.start();
    let refused = refusal_of(&mut site.serve());
    assert!(refused.contains(&*site.path("souk.db").to_string_lossy()), "{refused}");
}

/// The message must contain the path, so that the operator finds the file.
#[test]
fn damaged_store_is_refused_by_name() {
    let site = Site::new();
    damage(&site.path("souk.db"));
    let refused = refusal_of(&mut site.serve());
    assert!(refused.contains("souk.db"), "{refused}");
}

fn damage(store: &Path) {
    std::fs::write(
        store,
        "this is not a database, only some text that is long enough to look at ".repeat(100),
    )
    .unwrap();
}

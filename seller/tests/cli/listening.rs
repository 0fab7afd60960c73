//! Events at several terminals of one seller, and the doctor beside them.

use serde_json::{Value, json};
use souk_certs::identity::Role;
use souk_testkit::{actor::Actor, eventually};

use super::{LAMP, buy, list_lamp, market, registered};

#[tokio::test(flavor = "multi_thread")]
async fn sales_are_told_by_stream_and_by_callback() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;

    let mut stream = alice.start(&["listen", "--output", "ndjson"]);
    buy(&market, lamp, 1).await;
    let event: Value = serde_json::from_str(&stream.line().await).expect("JSON");
    assert_eq!(event["kind"], json!("order_placed"), "{event}");
    assert_eq!(stream.interrupt().await, 0);

    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let listen = free.local_addr().expect("an address").to_string();
    drop(free);
    let ran = alice.run(&["register", "Alice", "--listen", &listen]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut callback = alice.start(&["listen", "--listen", &listen]);
    buy(&market, lamp, 2).await;
    let sentence = callback.line().await;
    assert!(sentence.contains("Bob") && sentence.contains("Brass lantern"), "{sentence}");
    assert_eq!(callback.interrupt().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_leaves_a_running_listener_alone() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    let mut listener = alice.start(&["listen", "--output", "ndjson"]);
    buy(&market, lamp, 1).await;
    listener.line().await;

    let findings = alice.run(&["doctor", "--output", "json"]).await.rows();
    let events = findings.iter().find(|found| found["check"] == json!("events")).expect("it is checked");
    assert_eq!(events["outcome"], json!("pass"), "{events}");
    let event: Value = serde_json::from_str(&listener.line().await).expect("JSON");
    assert_eq!(event["kind"], json!("test"), "{event}");
    buy(&market, lamp, 1).await;
    let event: Value = serde_json::from_str(&listener.line().await).expect("JSON");
    assert_eq!(event["kind"], json!("order_placed"), "{event}");
    assert_eq!(listener.interrupt().await, 0);
}

/// The initial certificate is revoked at the same time, so that only the new one can work.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_passes_with_a_backlog_and_leaves_it_alone() {
    /// More than the client library reads ahead, and than the market sends at a time.
    const SALES: i64 = 300;
    let market = market().await;
    let alice = registered(&market).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let listen = free.local_addr().expect("an address").to_string();
    drop(free);
    let ran = alice.run(&["register", "Alice", "--listen", &listen]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = alice.run(&[&LAMP[..9], &["--output", "json"]].concat()).await;
    let lamp = ran.json()["item_id"].as_i64().expect("an id");
    let ran = alice.run(&["update", &lamp.to_string(), "--quantity", "1000"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let bob = Actor::enter(&market, Role::Buyer, "Bob").await.expect("a buyer");
    bob.register(None).await.expect("registered");
    for _ in 0..SALES {
        bob.buy(lamp, 1).await.expect("bought");
    }
    for arguments in
        [&["doctor", "--output", "json"][..], &["doctor", "--listen", &listen, "--output", "json"]]
    {
        let findings = alice.run(arguments).await.rows();
        assert!(findings.iter().all(|found| found["outcome"] == json!("pass")), "{findings:?}");
    }
    let mailbox = alice.run(&["mailbox", "--output", "json"]).await.json();
    assert_eq!(mailbox["pending_count"], json!(SALES + 1), "the sales and a test event: {mailbox}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_terminal_takes_nothing_from_the_first() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    let mut first = alice.start(&["listen", "--output", "ndjson", "--consumer", "shop"]);
    buy(&market, lamp, 1).await;
    first.line().await;
    // Under the same name, it gets what happens from now on; under one of its own, everything that is left.
    let mut same = alice.start_with_errors(&["listen", "--output", "ndjson", "--consumer", "shop"]);
    while !same.error_line().await.contains("another program follows") {}
    let mut other = alice.start(&["listen", "--output", "ndjson", "--consumer", "office"]);
    eventually("the terminals listen", async || {
        let mailbox = alice.run(&["mailbox", "--output", "json"]).await.json();
        mailbox["consumers"].as_array().is_some_and(|consumers| consumers.len() == 2)
    })
    .await;
    buy(&market, lamp, 2).await;
    for terminal in [&mut first, &mut same, &mut other] {
        loop {
            let line = terminal.line().await;
            let event: Value = serde_json::from_str(&line).expect("JSON");
            if event["order"]["quantity"] == json!(2) {
                break;
            }
        }
    }
    assert_eq!(same.interrupt().await, 0);
    assert_eq!(first.interrupt().await, 0);
}

//! A till, as a program that pipes into `seller sync`.

use serde_json::{Value, json};

use souk_certs::identity::Role;
use souk_testkit::{
    gate::Gate,
    terminal::{PATIENCE, Terminal},
};
use tokio::time::timeout;

use super::{SELLER, buy, list_lamp, market, piped::Piped, registered};

const SYNC: [&str; 4] = ["sync", "--from-stdin", "--output", "ndjson"];

/// Returns the printed objects of one kind.
fn of_kind(out: &str, kind: &str) -> Vec<Value> {
    let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["kind"] == kind).collect()
}

async fn quantity(alice: &Terminal) -> i64 {
    alice.run(&["items", "--output", "json"]).await.rows()[0]["quantity"].as_i64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_counts_from_standard_input_and_receives_sales() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    let line = |delta: i64| format!("{{\"item_id\": {lamp}, \"quantity_delta\": {delta}}}\n");
    let first = alice.type_in(&SYNC, &(line(-2) + "\n" + &line(5))).await;
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(of_kind(&first.out, "resumed")[0]["last_line"], json!(0));
    let answers = of_kind(&first.out, "acknowledged");
    let reported: Vec<_> = answers.iter().map(|answer| (&answer["line"], &answer["quantity"])).collect();
    assert_eq!(reported, [(&json!(1), &json!(8)), (&json!(2), &json!(13))]);

    // A purchase in between, and the program repeats its last line, which it numbered itself.
    buy(&market, lamp, 3).await;
    let numbered = |number: i64, delta: i64| line(delta).replace('{', &format!("{{\"line\": {number}, "));
    let second = alice.type_in(&SYNC, &(numbered(2, 5) + &numbered(3, 1))).await;
    assert_eq!(of_kind(&second.out, "resumed")[0]["last_line"], json!(2));
    let answers = of_kind(&second.out, "acknowledged");
    let reported: Vec<_> =
        answers.iter().map(|answer| (&answer["line"], &answer["repeated"], &answer["quantity"])).collect();
    assert_eq!(reported, [(&json!(2), &json!(true), &json!(13)), (&json!(3), &json!(false), &json!(11))]);
    assert_eq!(quantity(&alice).await, 11);

    // The sale is shown to the next listener, and not again after that.
    let mut listening = alice.start(&["sync", "--output", "ndjson"]);
    // Wait for its first line. From then on it handles an interrupt, even if more remains to be shown.
    let mut printed = listening.line().await + "\n";
    while of_kind(&printed, "order_placed").is_empty() && of_kind(&second.out, "order_placed").is_empty() {
        printed = printed + &listening.line().await + "\n";
    }
    assert_eq!(listening.interrupt().await, 0);
    let tills = alice.run(&["till", "list", "--output", "json"]).await.rows();
    assert_eq!((&tills[0]["name"], &tills[0]["last_line"]), (&json!("till"), &json!(3)), "{tills:?}");
    assert_eq!(alice.run(&["till", "rm", "till"]).await.code, 0);
    alice.run(&["till", "rm", "till"]).await.assert_fails(3, &["seller till list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_lines_are_reported_and_the_others_are_applied() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    let good = format!("{{\"item_id\": {lamp}, \"quantity_delta\": 1}}\n");
    let sent = alice
        .type_in(&SYNC, &format!("nonsense\n{good}{{\"sku\": \"none\", \"quantity\": 1}}\n{good}"))
        .await;
    assert_eq!(sent.code, 2, "{sent:?}");
    assert!(sent.err.contains("input line 1: ") && sent.err.contains("2 of 4 lines"), "{sent:?}");
    assert_eq!(of_kind(&sent.out, "refused")[0]["reason"], json!("ITEM_NOT_FOUND"), "{sent:?}");
    assert_eq!((of_kind(&sent.out, "acknowledged").len(), quantity(&alice).await), (2, 12));
    alice.run(&["sync", "--till", "Not A Name"]).await.assert_fails(2, &["a-z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_with_and_without_numbers_are_not_mixed_and_the_first_kind_is_in() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    let bare = format!("{{\"item_id\": {lamp}, \"quantity_delta\": 1}}\n");
    let numbered = |number: i64| bare.replace('{', &format!("{{\"line\": {number}, "));
    let mixed = |till: &'static str, text: String| {
        let alice = &alice;
        async move { alice.type_in(&[&SYNC[..], &["--till", till]].concat(), &text).await }
    };
    let (one, other) = (
        mixed("one", bare.clone() + &numbered(2) + &bare).await,
        mixed("other", numbered(1) + &bare + &numbered(2)).await,
    );
    for ran in [one, other] {
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(
            ran.err.contains("input line 2: ") && ran.err.contains("number every line, or none"),
            "{ran:?}"
        );
        assert!(ran.err.contains("1 of 3 lines were refused"), "{ran:?}");
        let answers = of_kind(&ran.out, "acknowledged");
        let lines: Vec<_> = answers.iter().map(|answer| &answer["line"]).collect();
        assert_eq!(lines, [&json!(1), &json!(2)]);
    }
    assert_eq!(quantity(&alice).await, 14);
}

/// Returns the next sale's sequence and order.
async fn sale(sync: &mut Piped) -> (i64, Value) {
    loop {
        let line: Value = serde_json::from_str(&sync.line().await).expect("JSON");
        if line["kind"] == "order_placed" {
            return (line["sequence"].as_i64().expect("a sequence"), line["order"]["order_id"].clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_that_a_dead_reader_did_not_confirm_are_reported_again_by_the_next_run() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    let confirming = [&SYNC[..], &["--confirm"]].concat();
    let mut sync = Piped::start(&alice, &confirming);
    // The till is open, so it receives sales from now on.
    sync.line().await;
    for _ in 0..3 {
        buy(&market, lamp, 1).await;
    }
    let reported = [sale(&mut sync).await, sale(&mut sync).await, sale(&mut sync).await];
    sync.write(&format!("{{\"taken_in\": {}}}\n", reported[0].0)).await;
    let pending = || async {
        alice.run(&["till", "list", "--output", "json"]).await.rows()[0]["pending_count"].clone()
    };
    let confirmed = async { while pending().await != json!(2) {} };
    timeout(PATIENCE, confirmed).await.expect("the first is confirmed");
    sync.lose_reader();
    // It exits when it can't write an event to its output.
    buy(&market, lamp, 1).await;
    sync.end().await;

    let mut sync = Piped::start(&alice, &confirming);
    let again = [sale(&mut sync).await, sale(&mut sync).await, sale(&mut sync).await];
    assert_eq!(again[..2], reported[1..], "printed before, and not confirmed");
    assert_eq!(again[2].0, reported[2].0 + 1, "it came while nobody read");
    sync.write(&format!("{{\"taken_in\": {}}}\n", again[2].0)).await;
    sync.close();
    assert_eq!(sync.end().await.0, 0);
    assert_eq!(pending().await, json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_reports_how_many_lines_are_unanswered_and_that_they_may_be_sent_again() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    let gate = Gate::open(market.address()).await;
    let mut through = Terminal::of(SELLER, &market.identity(Role::Seller, "alice").await.expect("known"));
    through.set("SOUK_MARKET", gate.address.to_string());
    let line = |number: i64| format!("{{\"line\": {number}, \"item_id\": {lamp}, \"quantity_delta\": 1}}\n");
    let mut sync = Piped::start(&through, &SYNC);
    sync.write(&line(1)).await;
    while of_kind(&sync.line().await, "acknowledged").is_empty() {}
    gate.freeze(true);
    // When the last one is rejected, those before it are in progress.
    sync.write(&(line(2) + &line(3) + &line(4) + "nonsense\n")).await;
    sync.says("input line 5: ").await;
    sync.interrupt().await;
    let (code, stderr) = sync.end().await;
    assert_eq!(code, 6, "{stderr}");
    assert!(stderr.contains("3 lines were not answered; send them again under the same numbers"), "{stderr}");
    gate.freeze(false);

    let again = alice.type_in(&SYNC, &(line(2) + &line(3) + &line(4))).await;
    assert_eq!((again.code, of_kind(&again.out, "acknowledged").len()), (0, 3), "{again:?}");
    assert_eq!(quantity(&alice).await, 14);
}

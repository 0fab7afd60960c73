//! A till, as a program that pipes into `seller sync`.

use serde_json::{Value, json};

use super::{Terminal, buy, list_lamp, market, registered};

const SYNC: [&str; 4] = ["sync", "--from-stdin", "--output", "ndjson"];

/// What it printed, by kind.
fn of_kind(out: &str, kind: &str) -> Vec<Value> {
    let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["kind"] == kind).collect()
}

async fn quantity(alice: &Terminal) -> i64 {
    alice.run(&["items", "--output", "json"]).await.json()[0]["quantity"].as_i64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_counts_from_standard_input_and_hears_of_sales() {
    let ground = market().await;
    let alice = registered(&ground).await;
    let lamp = list_lamp(&alice).await;
    let line = |delta: i64| format!("{{\"item_id\": {lamp}, \"quantity_delta\": {delta}}}\n");
    let first = alice.type_in(&SYNC, &(line(-2) + "\n" + &line(5))).await;
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(of_kind(&first.out, "resumed")[0]["last_line"], json!(0));
    let answers = of_kind(&first.out, "acknowledged");
    let told: Vec<_> = answers.iter().map(|answer| (&answer["line"], &answer["quantity"])).collect();
    assert_eq!(told, [(&json!(1), &json!(8)), (&json!(2), &json!(13))]);

    // Sold meanwhile; and the program sends its last line again, which it numbered itself.
    buy(&ground, lamp, 3).await;
    let numbered = |number: i64, delta: i64| line(delta).replace('{', &format!("{{\"line\": {number}, "));
    let second = alice.type_in(&SYNC, &(numbered(2, 5) + &numbered(3, 1))).await;
    assert_eq!(of_kind(&second.out, "resumed")[0]["last_line"], json!(2));
    let answers = of_kind(&second.out, "acknowledged");
    let told: Vec<_> =
        answers.iter().map(|answer| (&answer["line"], &answer["repeated"], &answer["quantity"])).collect();
    assert_eq!(told, [(&json!(2), &json!(true), &json!(13)), (&json!(3), &json!(false), &json!(11))]);
    assert_eq!(quantity(&alice).await, 11);

    // What was sold is shown to whoever listens next, and to nobody after.
    let mut listening = alice.start(&["sync", "--output", "ndjson"]);
    // Its first line: by then it heeds an interrupt, whatever is left to be shown.
    let mut printed = listening.line().await + "\n";
    while of_kind(&printed, "order_placed").is_empty() && of_kind(&second.out, "order_placed").is_empty() {
        printed = printed + &listening.line().await + "\n";
    }
    assert_eq!(listening.interrupt().await, 0);
    let tills = alice.run(&["till", "list", "--output", "json"]).await.json();
    assert_eq!((&tills[0]["name"], &tills[0]["last_line"]), (&json!("till"), &json!(3)), "{tills}");
    assert_eq!(alice.run(&["till", "rm", "till"]).await.code, 0);
    alice.run(&["till", "rm", "till"]).await.assert_fails(3, &["seller till list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_lines_are_told_and_the_others_are_in() {
    let ground = market().await;
    let alice = registered(&ground).await;
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

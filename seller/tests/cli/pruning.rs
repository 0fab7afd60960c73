//! `seller import --sync`: the shop becomes equal to the file, or stays as it is.

use std::fs;

use serde_json::{Value, json};
use souk_testkit::{
    screen::Screen,
    terminal::{Ran, Terminal},
};

use super::{list_lamp, market, registered};

const HEADING: &str = "sku,name,category,price,quantity\n";

/// Writes a file with these items, and with further lines.
fn file(alice: &Terminal, skus: impl IntoIterator<Item = usize>, further: &str) -> String {
    let rows = skus.into_iter().map(|n| format!("L-{n},Lantern {n},home/light,9.99 GBP,5\n"));
    let path = alice.home.path().join("items.csv");
    fs::write(&path, [HEADING.to_owned()].into_iter().chain(rows).collect::<String>() + further)
        .expect("written");
    path.display().to_string()
}

async fn import(alice: &Terminal, file: &str, arguments: &[&str]) -> Ran {
    alice.run(&[&["import", file, "--output", "json"], arguments].concat()).await
}

async fn skus(alice: &Terminal) -> Vec<String> {
    let items = alice.run(&["items", "--all", "--output", "json"]).await.rows();
    let sku = |item: &Value| item["sku"].as_str().unwrap_or_default().to_owned();
    items.iter().map(sku).collect()
}

fn lanterns(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("L-{n}")).collect()
}

fn tally(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_the_file_lacks_are_deleted_and_those_without_a_sku_stay() {
    let market = market().await;
    let alice = registered(&market).await;
    list_lamp(&alice).await;
    // More than a page of items.
    assert_eq!(import(&alice, &file(&alice, 1..=250, ""), &[]).await.code, 0);
    let shorter = file(&alice, 11..=251, "");
    let checked = import(&alice, &shorter, &["--sync", "--dry-run"]).await;
    assert_eq!((checked.code, &tally(&checked)["deleted_count"]), (0, &json!(10)), "{checked:?}");
    assert!(
        checked.err.contains("would delete item") && checked.err.contains("(L-10): Lantern 10"),
        "{checked:?}"
    );
    assert_eq!(skus(&alice).await.len(), 251);

    let ran = import(&alice, &shorter, &["--sync", "--yes"]).await;
    let done = tally(&ran);
    assert_eq!(
        (ran.code, &done["created_count"], &done["deleted_count"]),
        (0, &json!(1), &json!(10)),
        "{ran:?}"
    );
    let expected = [vec![String::new()], lanterns(11..=251)].concat();
    assert_eq!(skus(&alice).await, expected);
    let again = import(&alice, &shorter, &["--sync", "--yes"]).await;
    assert_eq!((again.code, &tally(&again)["deleted_count"]), (0, &json!(0)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_if_a_row_is_refused() {
    let market = market().await;
    let alice = registered(&market).await;
    assert_eq!(import(&alice, &file(&alice, 1..=20, ""), &[]).await.code, 0);
    // Refused by this program, and by the market.
    for wrong in ["L-21,Lantern,home/light,cheap,5\n", "L-21,Lantern,Home Light!,9.99 GBP,5\n"] {
        let ran = import(&alice, &file(&alice, 2..=20, wrong), &["--sync", "--yes"]).await;
        assert_eq!((ran.code, &tally(&ran)["failed_count"]), (5, &json!(1)), "{ran:?}");
        assert!(ran.err.contains("nothing was deleted") && ran.err.contains("line 21"), "{ran:?}");
        assert_eq!(skus(&alice).await, lanterns(1..=20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn much_of_the_shop_is_deleted_only_if_the_user_says_how_much() {
    let market = market().await;
    let alice = registered(&market).await;
    assert_eq!(import(&alice, &file(&alice, 1..=10, ""), &[]).await.code, 0);
    // New items do not make three of ten fewer.
    let fewer = file(&alice, 4..=40, "");
    for limit in [&[][..], &["--max-delete", "2"]] {
        let ran = import(&alice, &fewer, &[&["--sync", "--yes"], limit].concat()).await;
        assert_eq!((ran.code, &tally(&ran)["deleted_count"]), (5, &json!(0)), "{ran:?}");
        assert!(ran.err.contains("nothing was deleted") && ran.err.contains("--max-delete 3"), "{ran:?}");
        assert_eq!(skus(&alice).await, lanterns(1..=40));
        delete_all_above_ten(&alice).await;
    }
    let ran = import(&alice, &fewer, &["--sync", "--yes", "--max-delete", "3"]).await;
    assert_eq!((ran.code, &tally(&ran)["deleted_count"]), (0, &json!(3)), "{ran:?}");
    assert_eq!(skus(&alice).await, lanterns(4..=40));
    // An empty file must not empty the shop.
    let ran = import(&alice, &file(&alice, [], ""), &["--sync", "--yes"]).await;
    assert_eq!((ran.code, skus(&alice).await.len()), (5, 37), "{ran:?}");
}

/// Restores the shop to its state before the last import.
async fn delete_all_above_ten(alice: &Terminal) {
    let items = alice.run(&["items", "--all", "--output", "json"]).await.rows();
    let items = items.iter().skip(10);
    let script: String = items.map(|item| format!("delete {}\n", item["item_id"])).collect();
    assert_eq!(alice.type_in(&["shell"], &script).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_can_not_be_read_to_its_end_deletes_nothing() {
    let market = market().await;
    let alice = registered(&market).await;
    assert_eq!(import(&alice, &file(&alice, 1..=20, ""), &[]).await.code, 0);
    let cut = file(&alice, 2..=20, &format!("L-21,\"{}", "x".repeat(1_000_000)));
    let ran = import(&alice, &cut, &["--sync", "--yes"]).await;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(skus(&alice).await, lanterns(1..=20));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_is_asked_and_without_a_terminal_must_say_yes() {
    let market = market().await;
    let alice = registered(&market).await;
    assert_eq!(import(&alice, &file(&alice, 1..=20, ""), &[]).await.code, 0);
    let shorter = file(&alice, 2..=20, "L-30,Lantern 30,home/light,9.99 GBP,5\n");
    for input in [shorter.as_str(), "-"] {
        import(&alice, input, &["--sync"]).await.assert_fails(2, &["not a terminal", "--yes"]);
    }
    assert_eq!(skus(&alice).await, lanterns(1..=20), "it asks before it sends anything");
    for (answer, code, left) in [("n\r", 5, 21), ("\r", 5, 21), ("yes\r", 0, 20)] {
        let mut screen = Screen::start(&alice, &["import", &shorter, "--sync"]);
        screen.until(|text| text.contains("(L-1): Lantern 1") && text.ends_with("[y/N]")).await;
        screen.press(answer).await;
        assert_eq!(screen.end().await, code, "{answer:?}");
        assert_eq!(skus(&alice).await.len(), left, "{answer:?}");
    }
    import(&alice, &shorter, &["--yes"]).await.assert_fails(2, &["--sync"]);
    import(&alice, &shorter, &["--max-delete", "3"]).await.assert_fails(2, &["--sync"]);
}

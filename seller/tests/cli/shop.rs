//! A shop of many items: filters, several ids at once, the editor, new prices, and the day at a glance.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use souk_testkit::terminal::Terminal;

use super::{SELLER, buy, list_lamp, market, registered};

/// Lists items with prices in pence and stocks, and returns their ids.
async fn list(alice: &Terminal, items: &[(&str, &str, &str, &str)]) -> Vec<String> {
    let mut ids = Vec::new();
    for (name, category, price, quantity) in items {
        let sell = [
            "sell",
            "--name",
            name,
            "--category",
            category,
            "--price",
            price,
            "--quantity",
            quantity,
            "--output",
            "json",
        ];
        ids.push(alice.run(&sell).await.json()["item_id"].to_string());
    }
    ids
}

/// Returns the rows of a list in JSON: an array, or an object that holds one.
fn rows(list: &Value) -> &[Value] {
    let within = || list.as_object().and_then(|list| list.values().find_map(Value::as_array));
    list.as_array().or_else(within).expect("a list")
}

fn column(list: &Value, field: &str) -> Vec<Value> {
    rows(list).iter().map(|row| row[field].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_found_by_words_filters_and_conditions() {
    let market = market().await;
    let alice = registered(&market).await;
    let shelf = [
        ("Brass lamp", "home/light", "12.50 GBP", "10"),
        ("Paper lamp", "home/light", "4 GBP", "2"),
        ("Oak chair", "home", "99 GBP", "1"),
        ("Spade", "garden", "20 EUR", "7"),
    ];
    let ids = list(&alice, &shelf).await;
    buy(&market, ids[2].parse().expect("an id"), 1).await;
    let names = async |arguments: &[&str]| {
        let ran = alice.run(&[&["items"], arguments, &["--output", "json"]].concat()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        column(&ran.json(), "name")
            .iter()
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    for (arguments, expected) in [
        (&["lamp"][..], &["Brass lamp", "Paper lamp"][..]),
        (&["LAMP", "brass"], &["Brass lamp"]),
        (&["--category", "home"], &["Brass lamp", "Paper lamp", "Oak chair"]),
        (&["--status", "sold-out"], &["Oak chair"]),
        (&["--below", "3", "--status", "for-sale"], &["Paper lamp"]),
        (&["--where", "price>=4, price<50 GBP"], &["Brass lamp", "Paper lamp"]),
        (&["--where", "category!=home"], &["Spade"]),
        (&["--sort", "stock"], &["Oak chair", "Paper lamp", "Spade", "Brass lamp"]),
        (&["--sort", "price"], &["Spade", "Paper lamp", "Brass lamp", "Oak chair"]),
        (&["lamp", "--sort", "updated"], &["Paper lamp", "Brass lamp"]),
        (&["nothing of the kind"], &[]),
    ] {
        assert_eq!(names(arguments).await, expected, "{arguments:?}");
    }
    let by_sales = alice.run(&["items", "--sort", "sales", "--output", "json"]).await.json();
    assert_eq!(
        (&column(&by_sales, "name")[0], &column(&by_sales, "units_sold")[0]),
        (&json!("Oak chair"), &json!(1))
    );
    let table = alice.run(&["items", "--sort", "sales"]).await;
    assert!(table.out.contains("SOLD"), "{table:?}");
    alice.run(&["items", "--where", "stok<5"]).await.assert_fails(2, &["stok", "stock"]);
    alice.run(&["items", "--where", "stock<many"]).await.assert_fails(2, &["many", "whole number"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ids_and_ranges_are_carried_out_over_one_connection() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    for _ in 0..6 {
        buy(&market, lamp, 1).await;
    }
    let shipped = alice.run(&["ship", "1", "3-4", "--output", "json"]).await;
    assert_eq!((shipped.code, column(&shipped.json(), "order_id")), (0, vec![json!(1), json!(3), json!(4)]));
    // One that can't be shipped does not keep the others from being shipped, and of the range there are two.
    let rest = alice.run(&["ship", "1", "5-300", "--output", "json"]).await;
    assert_eq!(rest.code, 5, "{rest:?}");
    let done: Value = serde_json::from_str(&rest.out).expect("JSON");
    assert_eq!(column(&done, "order_id"), [json!(5), json!(6)]);
    for word in ["order 1", "294 numbers", "1 of 3 orders were not shipped"] {
        assert!(rest.err.contains(word), "{word:?} is missing: {rest:?}");
    }
    alice.run(&["ship", "100-200"]).await.assert_fails(3, &["none of these orders is yours"]);
    alice.run(&["ship", "1-5000"]).await.assert_fails(2, &["5000"]);
    alice.run(&["ship", "5-1"]).await.assert_fails(2, &["9-12"]);
    let id = "2f2fbd4a-8cf4-4a5f-9df2-0d6ef1a3f7a1";
    alice.run(&["deliver", "3", "4", "--request-id", id]).await.assert_fails(2, &["--request-id"]);

    let unasked = alice.run(&["deliver", "--where", "status=shipped"]).await;
    unasked.assert_fails(2, &["5 orders", "--yes"]);
    let delivered =
        alice.run(&["deliver", "--where", "status=shipped, id!=1", "--yes", "--output", "json"]).await;
    assert_eq!(column(&delivered.json(), "order_id"), [json!(6), json!(5), json!(4), json!(3)]);
    let none = alice.run(&["deliver", "--where", "status=shipped, buyer~carol", "--yes"]).await;
    assert!(none.code == 0 && none.err.contains("no order meets"), "{none:?}");
    let cancelled = alice.run(&["cancel", "2", "--reason", "lost", "--output", "json"]).await.json();
    assert_eq!(cancelled["status"], json!("cancelled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_listed_apart_and_put_back() {
    let market = market().await;
    let alice = registered(&market).await;
    let shelf =
        [("Lamp", "home", "5 GBP", "3"), ("Chair", "home", "9 GBP", "1"), ("Spade", "garden", "2 GBP", "1")];
    let ids = list(&alice, &shelf).await;
    let deleted = alice.run(&["delete", &ids[0], &ids[1]]).await;
    assert!(deleted.code == 0 && deleted.err.contains("with 3 units withdrawn\n"), "{deleted:?}");
    let withdrawn = alice.run(&["items", "--status", "withdrawn", "--output", "json"]).await.json();
    assert_eq!(column(&withdrawn, "name"), [json!("Lamp"), json!("Chair")]);
    let back = alice.run(&["undelete", &ids[0], "--quantity", "3", "--output", "json"]).await.json();
    assert_eq!((&back["quantity"], back["item_id"].to_string()), (&json!(3), ids[0].clone()));
    alice.run(&["undelete", &ids[0]]).await.assert_fails(2, &["on sale already"]);
    // As `delete` has said, each with the stock that it had.
    assert_eq!(alice.run(&["delete", &ids[0]]).await.code, 0);
    let both = [format!("{}x3", ids[0]), format!("{}x1", ids[1])];
    assert!(deleted.err.contains(&format!("seller undelete {} {}", both[0], both[1])), "{deleted:?}");
    let back = alice.run(&["undelete", &both[0], &both[1], "--output", "json"]).await.json();
    assert_eq!(column(&back, "quantity"), [json!(3), json!(1)]);
    assert_eq!(alice.run(&["delete", &ids[0], &ids[1]]).await.code, 0);
    let range = format!("{}-{}", ids[0], ids[1]);
    let back = alice.run(&["undelete", &range, &both[0], "--output", "json"]).await;
    assert_eq!(column(&back.json(), "quantity"), [json!(3), json!(0)]);
    assert!(back.err.contains("as sold out, because no stock was given: 1"), "{back:?}");
    alice.run(&["undelete", "4x3", "4x5"]).await.assert_fails(2, &["3 units and 5 units"]);
    alice.run(&["undelete", "4xfew"]).await.assert_fails(2, &["12x5"]);
    alice.run(&["undelete", "77"]).await.assert_fails(3, &["77"]);
    alice.run(&["delete", "--where", "category=garden"]).await.assert_fails(2, &["--yes"]);
    assert_eq!(alice.run(&["delete", "--where", "category=garden", "--yes"]).await.code, 0);

    let named = alice.run(&["update", &ids[0], "--sku", "L-1", "--output", "json"]).await.json();
    assert_eq!(named["sku"], json!("L-1"));
    alice.run(&["update", &ids[0], "--sku", "L-2"]).await.assert_fails(2, &["L-1", "can't be changed"]);
}

/// Writes an editor of these shell commands, in which `$1` is the file, and makes it Alice's.
fn set_editor(alice: &mut Terminal, commands: &str) {
    let script = alice.home.path().join("editor.sh");
    fs::write(&script, commands).expect("written");
    alice.set("EDITOR", format!("sh {}", script.display()));
}

fn kept_files(alice: &Terminal) -> Vec<PathBuf> {
    let folder = alice.home.path().join(".local/state/souk/kept");
    let files = fs::read_dir(folder).expect("the folder");
    files.map(|file| file.expect("a file").path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_changed_in_an_editor() {
    let market = market().await;
    let mut alice = registered(&market).await;
    let ids = list(&alice, &[("Lamp", "home", "5 GBP", "3"), ("Chair", "home", "9 GBP", "1")]).await;
    set_editor(
        &mut alice,
        "sed -i -e 's/5.00 GBP/4.50 GBP/' -e 's/\"Chair\"/\"Oak chair\"/' -e '/^description/d' \"$1\"",
    );
    let ran = alice.run(&["edit", &ids[0], &ids[1], "--output", "json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(column(&ran.json(), "name"), [json!("Lamp"), json!("Oak chair")]);
    let items = alice.run(&["items", "--output", "json"]).await.json();
    assert_eq!(rows(&items)[0]["unit_price"]["amount_minor"], json!(450));
    assert_eq!((&rows(&items)[0]["version"], &rows(&items)[1]["version"]), (&json!(2), &json!(2)));
    assert!(kept_files(&alice).is_empty());

    set_editor(&mut alice, ":");
    let untouched = alice.run(&["edit", "--where", "category=home"]).await;
    assert!(untouched.code == 0 && untouched.err.contains("nothing was changed"), "{untouched:?}");
    set_editor(&mut alice, "exit 3");
    alice.run(&["edit", &ids[0]]).await.assert_fails(1, &["editor", "3"]);
    set_editor(&mut alice, "sed -i -e 's/^stock = .*/stock = many/' \"$1\"");
    let wrong = alice.run(&["edit", &ids[0]]).await;
    wrong.assert_fails(2, &["line", "--file"]);
    alice.set("EDITOR", "");
    alice.run(&["edit", &ids[0]]).await.assert_fails(2, &["EDITOR"]);
    alice.run(&["edit"]).await.assert_fails(2, &["ITEM"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_of_an_edit_loses_nothing() {
    let market = market().await;
    let mut alice = registered(&market).await;
    let ids = list(&alice, &[("Lamp", "home", "5 GBP", "3"), ("Chair", "home", "9 GBP", "1")]).await;
    // Meanwhile, the price of the lamp changes.
    let meanwhile = format!("{SELLER} update {} --price '6 GBP' || exit 9", ids[0]);
    set_editor(
        &mut alice,
        &format!(
            "{meanwhile}\nsed -i -e 's/\"Lamp\"/\"Torch\"/' -e 's/5.00 GBP/7.00 GBP/' -e 's/\"Chair\"/\"Stool\"/' \"$1\""
        ),
    );
    let ran = alice.run(&["edit", &ids[0], &ids[1], "--output", "ndjson"]).await;
    assert_eq!(ran.code, 5, "{ran:?}");
    for word in ["version", "1 of 2 items were not changed", "seller edit --file"] {
        assert!(ran.err.contains(word), "{word:?} is missing: {ran:?}");
    }
    let names = async || column(&alice.run(&["items", "--output", "json"]).await.json(), "name");
    assert_eq!(names().await, [json!("Lamp"), json!("Stool")]);
    let files = kept_files(&alice);
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let kept = fs::read_to_string(file).expect("readable");
    for line in
        ["name = \"Torch\"", "price = \"7.00 GBP\"", "# On the market: price = 6.00 GBP", "version = 2"]
    {
        assert!(kept.contains(line), "{line:?} is missing: {kept}");
    }
    assert!(!kept.contains("stock =") && !kept.contains("Stool"), "only what is left to do: {kept}");

    set_editor(&mut alice, ":");
    let again = alice.run(&["edit", "--file", &file.display().to_string(), "--output", "json"]).await;
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(rows(&again.json())[0]["unit_price"]["amount_minor"], json!(700));
    let names = column(&alice.run(&["items", "--output", "json"]).await.json(), "name");
    assert_eq!(names, [json!("Torch"), json!("Stool")]);
    assert!(kept_files(&alice).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_changed_after_a_preview() {
    let market = market().await;
    let alice = registered(&market).await;
    let shelf = [
        ("Lamp", "home", "0.50 GBP", "3"),
        ("Chair", "home", "9.99 GBP", "1"),
        ("Spade", "garden", "2 EUR", "1"),
    ];
    let ids = list(&alice, &shelf).await;
    let prices = async || {
        let items = alice.run(&["items", "--output", "json"]).await.json();
        let prices = column(&items, "unit_price");
        prices.iter().map(|price| price["amount_minor"].as_i64().expect("an amount")).collect::<Vec<_>>()
    };
    let preview = alice.run(&["reprice", "--where", "category=home", "--by", "-5%", "--dry-run"]).await;
    assert!(preview.code == 0 && preview.out.contains("9.49 GBP"), "{preview:?}");
    alice
        .run(&["reprice", "--where", "category=home", "--by", "-5%"])
        .await
        .assert_fails(2, &["2 items", "--yes"]);
    assert_eq!(prices().await, [50, 999, 200], "nothing was changed yet");
    let done =
        alice.run(&["reprice", "--where", "category=home", "--by", "-5%", "--yes", "--output", "json"]).await;
    assert_eq!(rows(&done.json())[1]["unit_price"], json!({"amount_minor": 949, "currency_code": "GBP"}));
    // 47.5 pence are rounded up.
    assert_eq!(prices().await, [48, 949, 200]);
    let range = format!("{}-{}", ids[0], ids[2]);
    alice
        .run(&["reprice", &range, "--by", "-0.48", "--yes"])
        .await
        .assert_fails(2, &["less than one minor unit"]);
    alice.run(&["reprice", &range, "--by", "+1 GBP", "--yes"]).await.assert_fails(2, &["EUR"]);
    assert_eq!(prices().await, [48, 949, 200], "all or nothing");
    alice.run(&["reprice", &range, "--by", "cheaper"]).await.assert_fails(2, &["-5%"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_is_seen_at_a_glance() {
    let market = market().await;
    let alice = registered(&market).await;
    let ids = list(&alice, &[("Lamp", "home", "5 GBP", "12"), ("Chair", "home", "9 GBP", "20")]).await;
    for units in [3, 5] {
        buy(&market, ids[0].parse().expect("an id"), units).await;
    }
    assert_eq!(alice.run(&["ship", "1"]).await.code, 0);
    let seen = alice.run(&["today", "--output", "json"]).await.json();
    assert_eq!((&seen["to_ship_count"], column(&seen["to_ship"], "order_id")), (&json!(1), vec![json!(2)]));
    assert_eq!(column(&seen["low_stock"], "name"), [json!("Lamp")]);
    assert_eq!(seen["revenue_today"], json!([{"amount_minor": 4_000, "currency_code": "GBP"}]));
    let days = seen["days"].as_array().expect("a list");
    assert_eq!((days.len(), &days[13]["order_count"], &days[0]["order_count"]), (14, &json!(2), &json!(0)));
    assert_eq!(column(&seen["events"], "event")[0], json!("shipped"));
    assert_eq!(alice.run(&["today", "--jq", ".to_ship_count"]).await.out, "1\n");
    assert_eq!(alice.run(&["today", "--template", "{{ low_stock_count }}"]).await.out, "1\n");
    let table = alice.run(&["today", "--below", "21"]).await;
    for word in ["To ship: 1", "Fewer than 21 units left: 2", "40.00 GBP", "Last events"] {
        assert!(table.err.contains(word), "{word:?} is missing: {table:?}");
    }
    assert!(table.out.contains('█') && table.out.contains("shipped"), "{table:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rides_are_listed_and_named_by_the_beginning_of_their_ids() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    let mut rides = Vec::new();
    for order in ["1", "2"] {
        buy(&market, lamp, 1).await;
        let place = ["--from", "51.5,-0.1", "--vehicle", "van", "--driver", "Eve", "--output", "json"];
        let started = alice.run(&[&["ride", "start", order], &place[..]].concat()).await;
        rides.push(started.json()["ride_id"].as_str().expect("an id").to_owned());
    }
    let listed = alice.run(&["ride", "list", "--output", "json"]).await.json();
    assert_eq!(rows(&listed).len(), 2);
    let table = alice.run(&["ride", "list"]).await;
    assert!(table.out.contains("under way") && !table.out.contains(&rides[0]), "shortened: {table:?}");
    let shown = table.out.lines().skip(1).map(|line| line.split_whitespace().next().expect("an id"));
    for short in shown {
        let matching = rides.iter().filter(|ride| ride.starts_with(short)).count();
        assert_eq!(matching, 1, "{short} in {rides:?}");
        let ended = alice.run(&["ride", "end", short, "--output", "json"]).await;
        assert!(ended.json()["end_time"].is_string(), "{ended:?}");
    }
    alice.run(&["ride", "end", &rides[0][..2]]).await.assert_fails(2, &["several rides"]);
    alice.run(&["ride", "end", "00000000"]).await.assert_fails(3, &["ride list"]);
    alice.run(&["ride", "end", "van"]).await.assert_fails(2, &["UUID"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_field_is_refused_with_those_that_there_are_before_anything_is_changed() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    buy(&market, lamp, 1).await;
    let id = lamp.to_string();
    let sell = ["sell", "--name", "Rug", "--category", "home", "--price", "1 GBP", "--quantity", "1"];
    for (command, known) in [
        (&["show", &id][..], "rating_mean"),
        (&["order", "1"], "cancelled_by"),
        (&["items"], "unit_price"),
        (&["items", "--sort", "sales"], "units_sold"),
        (&["today"], "low_stock_count"),
        (&["ride", "list"], "ride_id"),
        (&["sync"], "repeated"),
        (&["register", "Alison"], "display_name"),
        (&sell, "unit_price"),
        (&["update", &id, "--price", "1 GBP"], "unit_price"),
        (&["delete", &id], "unit_price"),
        (&["ship", "1"], "cancelled_by"),
        (&["cancel", "1", "--reason", "lost"], "cancelled_by"),
        (&["reprice", &id, "--by", "5%", "--yes"], "unit_price_before"),
    ] {
        let ran = alice.run(&[command, &["--fields", "prize"]].concat()).await;
        ran.assert_fails(2, &["prize", known]);
    }
    let items = alice.run(&["items", "--output", "json"]).await.rows();
    assert_eq!((items.len(), &items[0]["unit_price"]["amount_minor"]), (1, &json!(1_250)), "{items:?}");
    assert_eq!(alice.run(&["order", "1", "--output", "json"]).await.json()["status"], json!("placed"));
    assert_eq!(
        alice.run(&["whoami", "--output", "json"]).await.json()["account"]["display_name"],
        json!("Alice")
    );
}

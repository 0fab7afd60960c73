//! Results as programs read them: formats, fields, filters and templates, pipes whose reader leaves, and folders that
//! can't be written.

use std::process::Stdio;

use serde_json::json;
use souk_certs::identity::Role;
use souk_proto::v1::{CancelSaleRequest, ItemDraft, SearchItemRequest};
use souk_testkit::{
    actor::{Actor, draft, pounds},
    terminal::{Ran, Running, Terminal},
};

use super::{Shop, next, search};

/// Buys this many lanterns in orders of one each, and returns bob's terminal.
async fn with_orders(shop: &Shop, count: usize) -> Terminal {
    let bob = shop.bob().await;
    for _ in 0..count {
        let ran = bob.run(&["buy", &shop.id()]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    bob
}

fn lines(ran: &Ran) -> Vec<&str> {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.out.lines().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_json_says_where_it_goes_on() {
    let shop = Shop::open().await;
    let bob = with_orders(&shop, 3).await;
    let first = bob.run(&["orders", "--page-size", "2", "--output", "json"]).await.json();
    let token = first["next_page_token"].as_str().expect("a token");
    assert!(!token.is_empty() && first["orders"].as_array().map(Vec::len) == Some(2), "{first}");
    let rest = bob.run(&["orders", "--page-token", token, "--output", "json"]).await.json();
    assert_eq!(
        (rest["orders"][0]["order_id"].as_i64(), rest["next_page_token"].as_str()),
        (Some(1), Some(""))
    );
    let all = bob.run(&["orders", "--all", "--page-size", "2", "--output", "json"]).await.rows();
    assert_eq!(all.iter().map(|order| &order["order_id"]).collect::<Vec<_>>(), [3, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_all_pages_says_its_total_once() {
    let shop = Shop::open().await;
    for number in 0..7 {
        let shade = draft(&format!("Lantern shade {number}"), "home/light", 100, 1);
        shop.alice.sell(shade).await.expect("listed");
    }
    let carol = Actor::enter(&shop.market, Role::Buyer, "Carol").await.expect("a buyer");
    carol.register(None).await.expect("registered");
    let query = SearchItemRequest { query: "lantern".into(), ..Default::default() };
    souk_testkit::eventually("all are found", async || {
        carol.search(query.clone()).await.is_ok_and(|found| found.total_size == 8)
    })
    .await;
    let bob = shop.bob().await;
    let ran = bob.run(&["search", "lantern", "--all", "--page-size", "3"]).await;
    assert_eq!((ran.err.matches("found").count(), ran.out.lines().count()), (1, 9), "{ran:?}");
    assert_eq!(ran.out.matches("NAME").count(), 1, "one heading: {ran:?}");
    let rows = bob.run(&["search", "lantern", "--all", "--page-size", "3", "--output", "json"]).await.rows();
    assert_eq!(rows.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_filters_and_templates_shape_the_result() {
    let shop = Shop::open().await;
    let bob = with_orders(&shop, 2).await;
    let fields = ["orders", "--fields", "status,order_id,total_price"];
    let table = bob.run(&fields).await;
    assert_eq!(
        lines(&table)[0].split_whitespace().collect::<Vec<_>>(),
        ["STATUS", "ORDER_ID", "TOTAL_PRICE"]
    );
    let csv = bob.run(&[&fields[..], &["--output", "csv"]].concat()).await;
    let expected =
        ["status,order_id,total_price,total_price_currency", "placed,2,12.50,GBP", "placed,1,12.50,GBP"];
    assert_eq!(lines(&csv), expected);
    let ndjson = bob.run(&["orders", "--fields", "status,order_id", "--output", "ndjson"]).await;
    assert_eq!(
        lines(&ndjson),
        [r#"{"status":"placed","order_id":2}"#, r#"{"status":"placed","order_id":1}"#]
    );
    bob.run(&["orders", "--fields", "statuts"]).await.assert_fails(2, &["statuts", "total_price"]);

    assert_eq!(lines(&bob.run(&["orders", "--jq", ".orders[].order_id"]).await), ["2", "1"]);
    assert_eq!(lines(&bob.run(&["order", "1", "--jq", ".total_price.currency_code"]).await), ["GBP"]);
    let each = ["orders", "--output", "ndjson", "--jq", "select(.order_id > 1) | .status"];
    assert_eq!(lines(&bob.run(&each).await), ["placed"]);
    let template =
        "{% for order in orders %}{{ order.order_id }}: {{ order.total_price | money }}\\n{% endfor %}";
    assert_eq!(lines(&bob.run(&["orders", "--template", template]).await), ["2: 12.50 GBP", "1: 12.50 GBP"]);

    // Refused before anything is bought.
    for wrong in [["--jq", ".orders["], ["--template", "{{ order"]] {
        bob.run(&[&["buy", &shop.id()][..], &wrong].concat()).await.assert_fails(2, &[wrong[0]]);
    }
    bob.run(&["orders", "--jq", ".", "--template", "x"]).await.assert_fails(2, &["--template"]);
    assert_eq!(bob.run(&["orders", "--output", "json"]).await.rows().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_field_is_refused_with_those_that_there_are_before_anything_is_changed() {
    let shop = Shop::open().await;
    let bob = with_orders(&shop, 1).await;
    let id = shop.id();
    for (command, known) in [
        (&["order", "1"][..], "cancelled_by"),
        (&["show", &id], "rating_mean"),
        (&["whoami"], "spiffe_id"),
        (&["mailbox"], "pending_count"),
        (&["wish", "list"], "add_time"),
        (&["search", "lantern"], "unit_price"),
        (&["listen"], "occur_time"),
        (&["watch", "lantern"], "item"),
        (&["track", "1"], "eta_seconds"),
        (&["buy", &id], "total_price"),
        (&["place", &id], "total_price"),
        (&["cancel", "1"], "cancel_reason"),
        (&["rate", &id, "5"], "mean"),
        (&["wish", "add", &id], "add_time"),
    ] {
        for format in ["table", "json", "csv"] {
            let ran = bob.run(&[command, &["--fields", "prize", "--output", format]].concat()).await;
            ran.assert_fails(2, &["prize", known]);
        }
    }
    let orders = bob.run(&["orders", "--output", "json"]).await.rows();
    assert_eq!((orders.len(), &orders[0]["status"]), (1, &json!("placed")), "nothing was changed");
    let who = bob.run(&["whoami", "--fields", "account.display_name,market"]).await;
    assert_eq!(lines(&who)[0].split_whitespace().collect::<Vec<_>>(), ["ACCOUNT.DISPLAY_NAME", "MARKET"]);
    assert!(who.out.contains("Bob"), "{who:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_shown_with_every_field() {
    let shop = Shop::open().await;
    let bob = with_orders(&shop, 1).await;
    let cancel = CancelSaleRequest { order_id: 1, reason: "cracked".into(), ..Default::default() };
    shop.alice.connection.call(cancel).await.expect("cancelled");
    let card = bob.run(&["order", "1", "--time", "utc"]).await;
    let field = |name: &str| {
        let line =
            lines(&card).into_iter().find_map(|line| line.trim_start().strip_prefix(&format!("{name}  ")));
        line.unwrap_or_else(|| panic!("{name} is missing: {card:?}"))
    };
    assert_eq!(
        [field("unit price"), field("total"), field("status")],
        ["12.50 GBP", "12.50 GBP", "cancelled"]
    );
    assert_eq!([field("cancelled by"), field("reason"), field("shipped")], ["seller", "cracked", "-"]);
    assert!(field("placed").ends_with('Z') && field("cancelled").ends_with('Z'), "{card:?}");
    assert_eq!(field("seller"), "Alice");
    assert!(!card.out.contains("buyer id"), "the reader knows their own name: {card:?}");
    let data = bob.run(&["order", "1", "--output", "json"]).await.json();
    assert_eq!((&data["buyer_name"], &data["cancel_reason"]), (&json!("Bob"), &json!("cracked")));
}

/// Runs a command whose output nobody reads: neither its results nor, if asked for, its messages.
async fn unread(terminal: &Terminal, arguments: &[&str], also_errors: bool) -> (i32, String) {
    let mut child = terminal.command(arguments).stdout(Stdio::piped()).spawn().expect("the program");
    drop(child.stdout.take());
    if also_errors {
        drop(child.stderr.take());
    }
    let ended = child.wait_with_output().await.expect("it ran");
    (ended.status.code().expect("an exit code"), String::from_utf8(ended.stderr).expect("UTF-8"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_is_no_failure() {
    let shop = Shop::open().await;
    let bob = with_orders(&shop, 2).await;
    search(&bob, &["lantern"]).await;
    for arguments in [
        &["orders"][..],
        &["orders", "--all", "--output", "json"],
        &["orders", "--output", "csv"],
        &["orders", "--jq", ".orders[]"],
        &["order", "1"],
        &["search", "lantern", "--output", "ndjson"],
        &["watch", "lantern"],
        &["doctor"],
        &["whoami"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
    ] {
        let (code, errors) = unread(&bob, arguments, false).await;
        assert!(code == 0 && !errors.contains("panicked"), "{arguments:?}: {code}, {errors}");
        let (code, _) = unread(&bob, arguments, true).await;
        assert_eq!(code, 0, "{arguments:?}");
    }
    // A failure that can't be reported is still one.
    assert_eq!(unread(&bob, &["order", "999"], true).await.0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_can_not_be_written_keeps_nobody_from_listening() {
    let shop = Shop::open().await;
    let mut bob = shop.bob().await;
    assert_eq!(bob.run(&["wish", "add", &shop.id()]).await.code, 0);
    let home = bob.home.path().to_owned();
    bob.set("HOME", "/dev/null/nowhere");
    let mut listening = bob.start_with_errors(&["listen", "--output", "ndjson"]);
    let warning = listening.error_line().await;
    assert!(warning.contains("warning") && warning.contains("XDG_STATE_HOME"), "{warning}");
    let cheaper = ItemDraft { unit_price: pounds(999), ..Default::default() };
    shop.alice.update(shop.lamp, cheaper).await.expect("updated");
    let event = next(&mut listening).await;
    assert_eq!(event["kind"], json!("item_updated"), "{event}");
    assert_eq!(listening.interrupt().await, 0);

    // A state folder of its own is used, and a relative one is not.
    let state = home.join("state");
    bob.set("XDG_STATE_HOME", state.display().to_string());
    let listening = bob.start_with_errors(&["listen"]);
    listened(listening).await;
    assert!(state.join("souk/seen").is_dir());
    bob.set("HOME", home.display().to_string());
    bob.set("XDG_STATE_HOME", "state");
    listened(bob.start_with_errors(&["listen"])).await;
    assert!(home.join(".local/state/souk/seen").is_dir());
}

async fn listened(mut listening: Running) {
    let first = listening.error_line().await;
    assert!(first.contains("following your mailbox"), "{first}");
    assert_eq!(listening.interrupt().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_list_prints_what_is_new() {
    let shop = Shop::open().await;
    let bob = with_orders(&shop, 1).await;
    let mut watching = bob.start(&["orders", "-w", "--output", "ndjson"]);
    assert_eq!(next(&mut watching).await["order_id"], json!(1));
    assert_eq!(bob.run(&["buy", &shop.id(), "--quantity", "2"]).await.code, 0);
    let order = next(&mut watching).await;
    assert_eq!((&order["order_id"], &order["quantity"]), (&json!(2), &json!(2)));
    assert_eq!(bob.run(&["cancel", "1"]).await.code, 0);
    let order = next(&mut watching).await;
    assert_eq!((&order["order_id"], &order["status"]), (&json!(1), &json!("cancelled")));
    assert_eq!(watching.interrupt().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_mailbox_prints_each_change() {
    let shop = Shop::open().await;
    let bob = shop.bob().await;
    let mut watching = bob.start(&["mailbox", "-w", "--output", "ndjson"]);
    assert_eq!(next(&mut watching).await["consumers"], json!([]));
    let listening = bob.start_with_errors(&["listen", "--consumer", "desk"]);
    assert_eq!(next(&mut watching).await["consumers"][0]["name"], json!("desk"));
    assert_eq!(watching.interrupt().await, 0);
    listened(listening).await;
}

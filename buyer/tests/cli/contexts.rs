//! Contexts: which one is used, what overrules it, and the commands that look after them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::json;
use souk_certs::identity::Role;
use souk_testkit::terminal::Terminal;

use super::{BUYER, Shop};

/// Returns a terminal without any setting but bob's context.
async fn terminal(shop: &Shop) -> Terminal {
    let terminal = Terminal::bare(BUYER);
    let bob = shop.market.identity(Role::Buyer, "bob").await.expect("a certificate");
    terminal.add_context("bob", &bob, true);
    terminal
}

fn folder(terminal: &Terminal) -> PathBuf {
    terminal.home.path().join(".config/souk")
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_commands_use_the_current_context() {
    let shop = Shop::open().await;
    let bob = terminal(&shop).await;
    assert_eq!(bob.run(&["register", "Bob"]).await.code, 0);
    let who = bob.run(&["whoami", "--output", "json"]).await.json();
    assert_eq!(who["account"]["display_name"], json!("Bob"));
    let listed = bob.run(&["context", "list", "--output", "json"]).await.json();
    let listed = &listed["contexts"][0];
    assert_eq!(
        (&listed["context"], &listed["is_current"], &listed["state"]),
        (&json!("bob"), &json!(true), &json!("ready"))
    );
    assert_eq!(listed["market"], json!([shop.market.address().to_string()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn show_names_the_source_of_every_value() {
    let shop = Shop::open().await;
    let mut bob = terminal(&shop).await;
    bob.set("SOUK_TIMEOUT", "7s");
    fs::write(folder(&bob).join("buyer.toml"), "currency = \"GBP\"\ncert = \"other.pem\"\n")
        .expect("written");
    let shown = bob.run(&["context", "show", "--time", "utc", "--output", "json"]).await.json();
    let source = |setting: &str| {
        let rows = shown["settings"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["setting"] == json!(setting)).expect(setting);
        row["source"].as_str().unwrap_or("-").to_owned()
    };
    for (setting, expected) in [
        ("context", "current.toml"),
        ("cert", "context bob"),
        ("key", "context bob"),
        ("ca", "context bob"),
        ("market", "context bob"),
        ("trust-domain", "context bob"),
        ("timeout", "SOUK_TIMEOUT"),
        ("time", "--time"),
        ("currency", "settings file"),
        ("consumer", "default"),
        ("listen", "-"),
    ] {
        assert_eq!(source(setting), expected, "{setting}: {shown}");
    }
    let of_bob = bob.run(&["context", "show", "bob"]).await;
    assert!(
        of_bob.code == 0 && of_bob.out.contains("buyer") && !of_bob.out.contains("PRIVATE"),
        "{of_bob:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_several_sources_are_never_mixed() {
    let (shop, other) = (Shop::open().await, Shop::open().await);
    let mut bob = terminal(&shop).await;
    // Of another authority: with it, nothing here could be verified.
    let foreign = other.market.path().join("pki");
    bob.set("SOUK_CA", foreign.join("ca.pem").display().to_string());
    bob.set("SOUK_CRL", foreign.join("crl.pem").display().to_string());
    assert_eq!(bob.run(&["register", "Bob"]).await.code, 0);
    bob.run(&["orders", "--ca", "ca.pem"]).await.assert_fails(2, &["--ca", "--cert"]);
    let carol = shop.market.identity(Role::Buyer, "carol").await.expect("a certificate");
    let cert = carol.credentials.cert.display().to_string();
    bob.run(&["orders", "--cert", &cert]).await.assert_fails(4, &["register"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_chosen_by_flag_variable_and_use() {
    let shop = Shop::open().await;
    let mut bob = terminal(&shop).await;
    let carol = shop.market.identity(Role::Buyer, "carol").await.expect("a certificate");
    bob.add_context("carol", &carol, false);
    assert_eq!(bob.run(&["register", "Bob"]).await.code, 0);
    assert_eq!(bob.run(&["--context", "carol", "register", "Carol"]).await.code, 0);
    let used = bob.run(&["context", "use", "carol"]).await;
    assert!(used.code == 0 && used.err.contains("context carol is current; before, bob was"), "{used:?}");
    let name = |ran: souk_testkit::terminal::Ran| ran.json()["account"]["display_name"].clone();
    let who = ["whoami", "--output", "json"];
    assert_eq!(name(bob.run(&who).await), json!("Carol"));
    bob.set("SOUK_CONTEXT", "bob");
    assert_eq!(name(bob.run(&who).await), json!("Bob"));
    let used = bob.run(&["context", "use", "carol"]).await;
    assert!(used.err.contains("SOUK_CONTEXT is set"), "{used:?}");
    let who = [&who[..], &["--context", "carol"]].concat();
    assert_eq!(name(bob.run(&who).await), json!("Carol"));
    for command in ["use", "rm", "show"] {
        bob.run(&["context", command, "dave"]).await.assert_fails(3, &["no context dave", "context list"]);
        bob.run(&["context", command, "../bob"]).await.assert_fails(2, &["is not a name"]);
    }
    bob.run(&["--context", "dave", "orders"])
        .await
        .assert_fails(3, &["no context dave", "`buyer context list`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_asks_and_leaves_nothing_behind() {
    let shop = Shop::open().await;
    let bob = terminal(&shop).await;
    bob.run(&["context", "rm", "bob"]).await.assert_fails(2, &["no terminal", "--yes"]);
    let removed = bob.run(&["context", "rm", "bob", "--yes"]).await;
    assert!(removed.code == 0 && removed.err.contains("it was the current one"), "{removed:?}");
    assert_eq!(fs::read_dir(folder(&bob).join("contexts")).expect("listed").count(), 0);
    bob.run(&["orders"]).await.assert_fails(2, &["no certificate", "`buyer join`", "--cert"]);
    let listed = bob.run(&["context", "list"]).await;
    assert!(listed.code == 0 && listed.err.contains("`buyer join` makes one"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sellers_contexts_are_not_those_of_buyers() {
    let shop = Shop::open().await;
    let bob = terminal(&shop).await;
    let alice = shop.market.identity(Role::Seller, "alice").await.expect("a certificate");
    bob.add_context("alice", &alice, true);
    let listed = bob.run(&["context", "list", "--output", "json"]).await.json();
    assert_eq!(listed["contexts"].as_array().expect("rows").len(), 1, "{listed}");
    for arguments in [
        &["context", "use", "alice"][..],
        &["--context", "alice", "orders"],
        &["context", "rm", "alice", "--yes"],
    ] {
        bob.run(arguments).await.assert_fails(3, &["no context alice"]);
    }
    assert!(folder(&bob).join("contexts/alice/context.toml").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_others_may_write_to_is_refused_with_the_command_that_helps() {
    let shop = Shop::open().await;
    let bob = terminal(&shop).await;
    let context = folder(&bob).join("contexts/bob");
    fs::set_permissions(&context, fs::Permissions::from_mode(0o770)).expect("changed");
    bob.run(&["orders"]).await.assert_fails(4, &["others may write to", "chmod go-w"]);
    fs::remove_file(context.join("live")).expect("removed");
    fs::set_permissions(&context, fs::Permissions::from_mode(0o700)).expect("changed");
    bob.run(&["orders"]).await.assert_fails(4, &["was not completed", "`buyer join`"]);
    let listed = bob.run(&["context", "list"]).await;
    assert!(listed.out.contains("incomplete"), "{listed:?}");
}

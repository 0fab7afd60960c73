//! The `seller` program as people run it: real processes against a real market.

#![expect(clippy::expect_used, reason = "a test that panics has failed")]

mod fulfilling;
mod importing;
mod listening;
mod other_shops;
mod outages;
mod piped;
mod pruning;
mod shop;
mod syncing;
mod wording;

use std::fs;

use serde_json::{Value, json};
use souk_certs::identity::Role;
use souk_testkit::{
    actor::Actor,
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    terminal::{PATIENCE, Terminal},
};

const SELLER: &str = env!("CARGO_BIN_EXE_seller");
const LAMP: [&str; 9] = [
    "sell",
    "--name",
    "Brass lantern",
    "--category",
    "home/light",
    "--price",
    "12.50 GBP",
    "--quantity",
    "10",
];

async fn market() -> LocalMarket {
    let options = LocalMarketOptions { store: StoreKind::Memory, ..LocalMarketOptions::default() };
    LocalMarket::open(options).await.expect("a market")
}

/// Creates the terminal of alice, who is not registered.
async fn alice(market: &LocalMarket) -> Terminal {
    Terminal::of(SELLER, &market.identity(Role::Seller, "alice").await.expect("a certificate"))
}

async fn registered(market: &LocalMarket) -> Terminal {
    let alice = alice(market).await;
    let ran = alice.run(&["register", "Alice"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    alice
}

/// Lists a lantern and returns its id.
async fn list_lamp(alice: &Terminal) -> i64 {
    let ran = alice.run(&[&LAMP[..], &["--output", "json"]].concat()).await;
    ran.json()["item_id"].as_i64().expect("an id")
}

async fn buy(market: &LocalMarket, item_id: i64, quantity: i64) {
    let bob = Actor::enter(market, Role::Buyer, "Bob").await.expect("a buyer");
    bob.register(None).await.expect("registered");
    bob.buy(item_id, quantity).await.expect("bought");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_is_a_usage_error_that_says_what_is_meant() {
    let bare = Terminal::bare(SELLER);
    for (arguments, word) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["sale"], "sales"),
        (&["sell", "--name", "Lamp"], "--price"),
        (&["update", "seven"], "seven"),
        (&["delete"], "ITEM"),
        (&["items", "--output", "xml"], "ndjson"),
        (&["items", "--timeout", "soon"], "soon"),
        (&["items", "--listen", "nowhere"], "nowhere"),
        (&["items", "--market", "nowhere", "--cert", "a.pem"], "HOST:PORT"),
        (&["items"], "--cert"),
    ] {
        bare.run(arguments).await.assert_fails(2, &[word]);
    }
    let nothing = bare.run(&[]).await;
    assert_eq!(nothing.code, 2);
    assert!(nothing.err.contains("Usage: seller"), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_do_not_work_are_an_identity_error() {
    let market = market().await;
    let alice = alice(&market).await;
    let carol = market.identity(Role::Seller, "carol").await.expect("a certificate");
    let (other, key) = (self::market().await, carol.credentials.key_path().display().to_string());
    let foreign_ca = other.path().join("pki/ca.pem").display().to_string();
    let (empty, not_pem) = (alice.home.path().join("empty.pem"), alice.home.path().join("text.pem"));
    fs::write(&empty, "").expect("written");
    fs::write(&not_pem, "no certificate").expect("written");

    alice.run(&["items", "--cert", "no/such.pem"]).await.assert_fails(4, &["no/such.pem", "does not exist"]);
    let cert = market.identity(Role::Seller, "alice").await.expect("a certificate").credentials.cert;
    let cert = cert.display().to_string();
    let own = ["items", "--cert", &cert];
    alice.run(&[&own[..], &["--key", &key]].concat()).await.assert_fails(4, &["does not belong"]);
    alice.run(&[&own[..], &["--ca", &foreign_ca]].concat()).await.assert_fails(4, &["was not signed by"]);
    // They belong to a certificate of the same source, and her own is named by a variable.
    alice.run(&["items", "--key", &key]).await.assert_fails(2, &["--key belongs to a certificate", "--cert"]);
    for file in [&empty, &not_pem] {
        let file = file.display().to_string();
        alice.run(&["items", "--cert", &file]).await.assert_fails(4, &["BEGIN CERTIFICATE"]);
    }
    // Her files are valid, but this market's certificate is from another authority.
    let address = other.address().to_string();
    alice.run(&["items", "--market", &address]).await.assert_fails(4, &["authority"]);
    // A buyer's certificate does not make a seller.
    let bob = market.identity(Role::Buyer, "bob").await.expect("a certificate");
    let bob = Terminal::of(SELLER, &bob).run(&["register", "Bob"]).await;
    assert_eq!(bob.code, 4, "{bob:?}");
}

/// Nobody reads the log of a command line.
#[tokio::test(flavor = "multi_thread")]
async fn warnings_about_credentials_are_printed() {
    use std::os::unix::fs::PermissionsExt as _;
    let ground = market().await;
    let config = ground.identity(Role::Seller, "alice").await.expect("a certificate");
    let alice = Terminal::of(SELLER, &config);
    let key = config.credentials.key_path();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("changed");
    let ran = alice.run(&["register", "Alice"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let warning =
        format!("warning: other users can read the private key {0}; run: chmod 600 {0}", key.display());
    assert_eq!(ran.err.matches(&warning).count(), 1, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_that_is_not_there_is_an_error_of_the_network() {
    let market = market().await;
    let mut alice = alice(&market).await;
    alice.set("SOUK_TIMEOUT", "1s");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let nobody = listener.local_addr().expect("an address").to_string();
    drop(listener);
    alice.run(&["items", "--market", &nobody]).await.assert_fails(6, &[&nobody, "--market"]);
    let unknown = alice.run(&["items", "--market", "no.such.host.invalid:7443"]).await;
    unknown.assert_fails(6, &["no.such.host.invalid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_addresses_of_a_market_stand_in_for_each_other() {
    let (market, other) = (market().await, market().await);
    let mut alice = registered(&market).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let nobody = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let (here, foreign) = (market.address().to_string(), other.address().to_string());

    let who = alice.run(&["whoami", "--market", &nobody, "--market", &here, "--output", "json"]).await;
    assert_eq!((who.code, who.json()["market"].as_str()), (0, Some(here.as_str())), "{who:?}");
    alice.set("SOUK_MARKET", format!("{nobody},{here},{nobody}"));
    let who = alice.run(&["whoami"]).await;
    assert!(who.code == 0 && who.out.contains(&here), "{who:?}");
    // The shell starts at a random address, so sooner or later at the untrusted one.
    alice.set("SOUK_MARKET", format!("{foreign},{here}"));
    let warned = async {
        loop {
            let who = alice.run(&["whoami"]).await;
            assert_eq!(who.code, 0, "{who:?}");
            if who.err.contains("warning") {
                break who.err;
            }
        }
    };
    let warning = tokio::time::timeout(PATIENCE, warned).await.expect("a warning in time");
    assert!(warning.contains(&foreign) && warning.contains("authority"), "{warning}");

    let both = format!("{nobody},{foreign}");
    alice.run(&["items", "--market", &both]).await.assert_fails(4, &[&nobody, &foreign, "authority"]);
    let doctor = alice.run(&["doctor", "--market", &format!("{here},{nobody}"), "--output", "csv"]).await;
    assert_eq!(doctor.code, 6, "{doctor:?}");
    assert!(doctor.out.lines().any(|l| l.starts_with("FAIL,tcp") && l.contains(&nobody)), "{doctor:?}");
    assert!(doctor.out.lines().any(|l| l.starts_with("pass,tcp") && l.contains(&here)), "{doctor:?}");
    alice.run(&["items", "--market", "a:1,nowhere"]).await.assert_fails(2, &["'nowhere'", "HOST:PORT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sellers_day() {
    let market = market().await;
    let alice = alice(&market).await;
    alice.run(&["items"]).await.assert_fails(4, &["register"]);
    let alice = {
        drop(alice);
        registered(&market).await
    };

    let lamp = list_lamp(&alice).await;
    let id = lamp.to_string();
    buy(&market, lamp, 3).await;

    let items = alice.run(&["items", "--output", "json"]).await.rows();
    assert_eq!((&items[0]["item_id"], &items[0]["quantity"]), (&json!(lamp), &json!(7)));
    let version = items[0]["version"].to_string();
    let sales = alice.run(&["sales", "--output", "ndjson"]).await;
    let sale: Value = serde_json::from_str(sales.out.trim()).expect("one line of JSON");
    assert_eq!(sale["quantity"], json!(3), "{sale}");

    let updated = ["update", &id, "--price", "9.99 GBP", "--quantity", "+5", "--expect-version", &version];
    assert_eq!(
        alice.run(&[&updated[..], &["--output", "json"]].concat()).await.json()["quantity"],
        json!(12)
    );
    alice.run(&updated).await.assert_fails(5, &["version"]);
    let dry = alice.run(&["update", &id, "--name", "Torch", "--dry-run"]).await;
    assert!(dry.err.contains("nothing was changed"), "{dry:?}");

    let table = alice.run(&["items"]).await;
    assert!(table.out.contains("Brass lantern") && table.out.contains("9.99 GBP"), "{table:?}");
    assert_eq!(alice.run(&["delete", &id]).await.code, 0);
    alice.run(&["update", &id, "--quantity", "1"]).await.assert_fails(3, &[&id]);
    let rest = alice.run(&["items"]).await;
    assert_eq!((rest.code, rest.out.as_str()), (0, ""), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_bounds_is_refused_by_name_and_nothing_is_listed() {
    let market = market().await;
    let alice = registered(&market).await;
    let long = "x".repeat(100_000);
    for (flag, value, word) in [
        ("--quantity", "0", "quantity"),
        ("--quantity", "-1", "quantity"),
        ("--quantity", "9223372036854775808", "9223372036854775808"),
        ("--quantity", "many", "many"),
        ("--price", "-1 GBP", "amount"),
        ("--price", "1.234 GBP", "GBP"),
        ("--price", "12.50", "currency"),
        ("--price", "1 XXQ", "XXQ"),
        ("--price", "99999999999999999999 GBP", "99999999999999999999"),
        ("--category", "Home Light!", "category"),
        ("--name", "", "name"),
        ("--name", &long, "name"),
    ] {
        let mut arguments = LAMP.to_vec();
        let place = arguments.iter().position(|argument| *argument == flag).expect("the flag");
        arguments[place + 1] = value;
        alice.run(&arguments).await.assert_fails(2, &[word]);
    }
    assert!(alice.run(&["items", "--output", "json"]).await.rows().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let market = market().await;
    let mut alice = registered(&market).await;
    list_lamp(&alice).await;
    let folder = alice.home.path().join(".config/souk");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("seller.toml"), "output = \"ndjson\"\n").expect("written");
    assert_eq!(alice.run(&["items"]).await.out.lines().count(), 1, "the file's");
    alice.set("SOUK_OUTPUT", "json");
    assert!(alice.run(&["items"]).await.json().is_object(), "the environment's");
    let table = alice.run(&["items", "--output", "table"]).await;
    assert!(table.out.contains("Brass lantern") && !table.out.contains('{'), "the flag's: {table:?}");
    fs::write(folder.join("seller.toml"), "markt = \"x:1\"\n").expect("written");
    alice.run(&["items"]).await.assert_fails(2, &["markt", "seller.toml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_without_a_terminal_reads_a_script() {
    let market = market().await;
    let alice = alice(&market).await;
    let script = "# opening the shop\n\
                  register Alice\n\
                  sell --name 'Brass lantern' --category home/light --price '12.50 GBP' --quantity 10\n\
                  items --output ndjson\n";
    let ran = alice.type_in(&["shell"], script).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let last: Value = serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["name"], json!("Brass lantern"));

    let ran = alice.type_in(&["shell"], "delete 999\nitems\n").await;
    assert_eq!(ran.code, 3, "the failure is not lost: {ran:?}");
    assert!(ran.out.contains("Brass lantern"), "{ran:?}");
    let ran = alice.type_in(&["shell"], "items --market elsewhere:1\nsell 'oops\nquit\ndelete 1\n").await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("--market holds for the whole shell"), "{ran:?}");
    assert!(ran.err.contains("line 2: a quotation mark is missing: sell 'oops"), "{ran:?}");

    // Quotation marks enclose line breaks, as in a system's shell, and pipes are left to it.
    let described =
        "update 1 --description 'Of brass.\nFor oil.'\nhelp ship\nitems | less\nitems --output ndjson\n";
    let ran = alice.type_in(&["shell"], described).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("no pipes") && ran.out.contains("Example: ship 4 5 9-12"), "{ran:?}");
    let last: Value = serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["description"], json!("Of brass.\nFor oil."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_listener_takes_a_renewed_certificate_up() {
    let market = market().await;
    let alice = registered(&market).await;
    let lamp = list_lamp(&alice).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let listen = free.local_addr().expect("an address").to_string();
    drop(free);

    for way in [&["listen"][..], &["listen", "--listen", &listen]] {
        if way.len() > 1 {
            let ran = alice.run(&["register", "Alice", "--listen", &listen]).await;
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        let before = Actor::enter(&market, Role::Seller, "alice").await.expect("connected");
        let mut listener = alice.start(way);
        buy(&market, lamp, 1).await;
        listener.line().await;
        market.change_pki(|pki| {
            let now = souk_certs::clock::now();
            pki.revoke("alice", now).expect("revoked");
            pki.renew("alice", true, now).expect("renewed");
        });
        let shut_out = async { while before.mailbox().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, shut_out).await.expect("the old certificate is out");
        buy(&market, lamp, 2).await;
        let sentence = listener.line().await;
        assert!(sentence.contains("Brass lantern"), "{sentence}");
        assert_eq!(listener.interrupt().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_and_the_pages_that_a_program_makes_of_itself() {
    let market = market().await;
    let alice = registered(&market).await;
    let findings = alice.run(&["doctor", "--output", "json"]).await.rows();
    assert!(
        findings.len() >= 7 && findings.iter().all(|found| found["outcome"] == json!("pass")),
        "{findings:?}"
    );
    let bare = Terminal::bare(SELLER);
    for (arguments, word) in [
        (&["completions", "bash"][..], "_seller"),
        (&["man"], ".TH"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["help", "sell"], "--category"),
    ] {
        let ran = bare.run(arguments).await;
        assert!(ran.code == 0 && ran.out.contains(word), "{arguments:?}: {ran:?}");
    }
}

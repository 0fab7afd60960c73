//! What a person reads when something is wrong, and where it can be looked up.

use std::fs;

use souk_certs::identity::Role;
use souk_testkit::terminal::{Ran, Terminal};
use tokio::net::TcpListener;

use super::{SELLER, alice, list_lamp, market, registered};

/// Asserts that a message contains the words, and nothing that only a programmer understands.
fn assert_plain(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.err.contains(word), "{word} is missing: {ran:?}");
    }
    for technical in ["https://", "\\u{", "unit_price", "item.", "_id", "`buyer ", "SellItem"] {
        assert!(!ran.err.contains(technical), "{technical}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_settings_file_is_shown_with_its_line() {
    let bare = Terminal::bare(SELLER);
    let path = bare.home.path().join(".config/souk/seller.toml");
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, "cert = \"alice.pem\"\nmarkt = \"localhost:1\"\n").expect("written");
    let ran = bare.run(&["items"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_plain(&ran, &["seller.toml is wrong in line 2", "did you mean `market`?"]);
    assert!(ran.err.contains("2 | markt = \"localhost:1\"\n") && ran.err.contains("| ^^^^^\n"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settings_file_works_from_any_folder() {
    let market = market().await;
    let party = market.identity(Role::Seller, "alice").await.expect("a certificate");
    let bare = Terminal::bare(SELLER);
    let beside = bare.home.path().join("souk");
    fs::create_dir_all(&beside).expect("a folder");
    let pki = party.credentials.cert.parent().expect("a folder");
    for file in ["alice.pem", "alice.key", "ca.pem", "crl.pem"] {
        fs::copy(pki.join(file), beside.join(file)).expect(file);
    }
    for (name, cert) in [("relative.toml", "alice.pem"), ("home.toml", "~/souk/alice.pem")] {
        let settings = format!("market = \"{}\"\ncert = \"{cert}\"\noutput = \"json\"\n", party.market);
        fs::write(beside.join(name), settings).expect("written");
        let config = format!("~/souk/{name}");
        let ran = bare.run(&["--config", &config, "register", "Alice"]).await;
        assert_eq!((ran.code, ran.json()["display_name"].as_str()), (0, Some("Alice")), "{name}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_use_words_and_commands_of_the_program() {
    let market = market().await;
    let stranger = alice(&market).await;
    let ran = stranger.run(&["items"]).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert_plain(&ran, &["register first: `seller register NAME`"]);

    let alice = registered(&market).await;
    let wrong = ["sell", "--name", "", "--category", "No Slug", "--price", "1 GBP", "--quantity", "0"];
    let ran = alice.run(&wrong).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_plain(&ran, &["the name is empty", "the category is not", "the quantity is 0"]);

    let ran = alice.run(&["update", "99", "--price", "1 GBP"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_plain(&ran, &["there is no item 99", "`seller items` lists yours"]);

    let bob = Terminal::of(SELLER, &market.identity(Role::Buyer, "bob").await.expect("a certificate"));
    let ran = bob.run(&["doctor"]).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(
        ran.out.contains("is buyer, not seller") && ran.out.contains("gen-certs.sh invite seller"),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_no_number_is_refused_with_an_example() {
    let bare = Terminal::bare(SELLER);
    for (arguments, words) in [
        (&["update", "seven"][..], "write a whole number, such as 12"),
        (&["show", "1.5"], "write a whole number, such as 12"),
        (&["show", "9223372036854775808"], "the number is too large"),
        (&["items", "--below", "few"], "write a whole number, such as 12"),
        (&["items", "--page-size", "0"], "write a number from 1 to 200"),
        (&["import", "a.csv", "--max-delete", "some"], "write a whole number, such as 12"),
        (&["ride", "track", "7", "--speed", "fast"], "write a number, such as 4.5"),
        (&["listen", "--listen", "nowhere"], "such as 127.0.0.1:7443"),
        (&["ship", "seven"], "write an id like 12"),
        (&["ride", "start", "x", "--from", "1,2", "--vehicle", "van", "--driver", "Eve"], "write it like 12"),
        (&["items", "--where", "stock<few"], "such as 5"),
        (&["items", "--timeout", "soon"], "write it like 500ms"),
    ] {
        let ran = bare.run(arguments).await;
        ran.assert_fails(2, &[words]);
        for technical in ["digit found", "target type", "float literal", "syntax", "..="] {
            assert!(!ran.err.contains(technical), "{ran:?}");
        }
    }
    // In a settings file, too.
    let path = bare.home.path().join("souk.toml");
    fs::write(&path, "cert = \"alice.pem\"\nlisten = \"nowhere\"\n").expect("written");
    let ran = bare.run(&["items", "--config", &path.display().to_string()]).await;
    ran.assert_fails(2, &["line 2", "such as 127.0.0.1:7443"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_closes_is_reported_without_links() {
    let market = market().await;
    let alice = alice(&market).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let ran = alice.run(&["--market", &address, "--timeout", "1s", "items"]).await;
    assert_eq!(ran.code, 6, "{ran:?}");
    assert_plain(&ran, &[&address]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_party_passes_the_doctor_before_and_after_it_registers() {
    let market = market().await;
    let alice = alice(&market).await;
    let ran = alice.run(&["doctor"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("no account yet") && ran.out.contains("`seller register NAME`"), "{ran:?}");
    assert!(!ran.out.contains("FAIL"), "{ran:?}");
    assert_eq!(alice.run(&["register", "Alice"]).await.code, 0);
    list_lamp(&alice).await;
    let ran = alice.run(&["doctor"]).await;
    assert!(ran.code == 0 && !ran.out.contains("warn") && !ran.out.contains("skip"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_and_names_are_explained_without_a_market() {
    let bare = Terminal::bare(SELLER);
    for (topic, words) in [
        ("OUT_OF_STOCK", &["FAILED_PRECONDITION", "exit code   5", "what to do"][..]),
        ("item_not_found", &["`seller items` lists yours"]),
        ("item.price", &["Money unit_price", "The price of one unit."]),
        ("SellItem", &["rpc SellItem(SellItemRequest) returns (SellItemResponse)"]),
        ("Order", &["order_id", "status"]),
    ] {
        let ran = bare.run(&["explain", topic]).await;
        assert!(ran.code == 0 && words.iter().all(|word| ran.out.contains(word)), "{topic}: {ran:?}");
    }
    let listed = bare.run(&["explain"]).await;
    assert!(listed.code == 0 && listed.out.contains("STORAGE_FULL"), "{listed:?}");
    bare.run(&["explain", "OUT_OF_STOK"]).await.assert_fails(2, &["did you mean OUT_OF_STOCK?"]);
}

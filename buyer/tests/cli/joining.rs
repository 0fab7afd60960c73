//! `buyer join`: from a code to an account, whatever happens in between; and what follows: renewal.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::json;
use souk_certs::{clock, identity::Role};
use souk_enrolment::{
    context::{Description, Generation},
    renewal::{Record, known_sequence},
};
use souk_testkit::{authority::LocalAuthority, screen::Screen, terminal::Terminal};
use time::Duration;

use super::{BUYER, Shop, search};

/// A market with an authority that lets parties join.
struct Town {
    shop: Shop,
    authority: LocalAuthority,
}

impl Town {
    async fn open() -> Self {
        let shop = Shop::open().await;
        let authority = LocalAuthority::open(&shop.market).await;
        Self { shop, authority }
    }

    fn market(&self) -> String {
        self.shop.market.address().to_string()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

fn number(terminal: &Terminal) -> u64 {
    terminal.context("bob").number().expect("readable").expect("a generation")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_brings_an_account_and_later_commands_need_no_flag() {
    let town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let code = town.authority.invite(Role::Buyer, "bob");
    let joined = bob.run(&["join", &code]).await;
    assert_eq!(joined.code, 0, "{joined:?}");
    let lines: Vec<_> = joined.out.lines().collect();
    assert!(lines[0].starts_with("joined as buyer bob, valid until 20"), "{joined:?}");
    assert!(lines[0].contains(", renewed by itself from 20"), "{joined:?}");
    assert_eq!(lines[1], format!("registered at {}; context bob is current", town.market()));
    assert!(!joined.out.contains(&code) && !joined.err.contains(&code));
    assert!(!search(&bob, &["lantern"]).await.is_empty());

    let context = bob.context("bob");
    assert_eq!(mode(&context.credential_files().key_path()), 0o600);
    assert_eq!(mode(context.folder()), 0o700);
    let joining = fs::read_dir(bob.home.path().join(".config/souk/joining")).expect("listed");
    assert_eq!(joining.count(), 0, "the key is in the context only");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_again_continues_where_it_stopped() {
    let mut town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let code = town.authority.invite(Role::Buyer, "bob");
    let none = bob.run(&["join", &code, "--market", "127.0.0.1:1", "--timeout", "1s"]).await;
    assert!(none.code == 6 && none.out.starts_with("joined as buyer bob"), "{none:?}");
    assert!(none.err.contains("joined, but are not registered at the market"), "{none:?}");
    assert!(none.err.contains("`buyer join` again with the same code"), "{none:?}");
    // The certificate is there: the authority is not needed any more.
    town.authority.stop().await;
    let again = bob.run(&["join", &code]).await;
    assert!(again.code == 0 && again.out.contains("registered at"), "{again:?}");
    assert_eq!(bob.run(&["register", "Bob Junior"]).await.code, 0);
    assert_eq!(bob.run(&["join", &code]).await.code, 0);
    let who = bob.run(&["whoami", "--output", "json"]).await.json();
    assert_eq!(who["account"]["display_name"], json!("Bob Junior"), "the name stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_join_goes_on_with_its_key() {
    let mut town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let code = town.authority.invite(Role::Buyer, "bob");
    town.authority.stop().await;
    bob.run(&["join", &code]).await.assert_fails(6, &["was not reached", "gen-certs serve"]);
    let joining = bob.home.path().join(".config/souk/joining");
    let kept = fs::read_dir(&joining).expect("listed").next().expect("one").expect("readable").path();
    let key = fs::read_to_string(kept.join("party.key")).expect("a key");
    town.authority.start().await;
    assert_eq!(bob.run(&["join", &code]).await.code, 0);
    assert_eq!(bob.context("bob").generation().expect("complete").key, key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_read_from_standard_input_and_the_result_is_data() {
    let town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let code = town.authority.invite(Role::Buyer, "bob");
    let joined =
        bob.type_in(&["join", "--display-name", "Bob & Co", "--output", "json"], &format!("{code}\n")).await;
    let view = joined.json();
    assert_eq!(
        (&view["role"], &view["context"], &view["is_current"]),
        (&json!("buyer"), &json!("bob"), &json!(true))
    );
    assert_eq!(view["registered_at"], json!(town.market()));
    let who = bob.run(&["whoami", "--output", "json"]).await.json();
    assert_eq!(
        (&who["account"]["display_name"], &who["account"]["party_id"]),
        (&json!("Bob & Co"), &view["party_id"])
    );
    bob.type_in(&["join"], "").await.assert_fails(2, &["no invitation code", "`buyer join CODE`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_typed_is_not_shown() {
    let town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let code = town.authority.invite(Role::Buyer, "bob");
    let mut screen = Screen::start(&bob, &["join"]);
    screen.until(|text| text.contains("invitation code (not shown):")).await;
    screen.press(&format!("{code}\r")).await;
    let text = screen.until(|text| text.contains("context bob is current")).await;
    let shown = text.replace(char::is_whitespace, "");
    assert!(!shown.contains(&code[..20]), "{text}");
    assert_eq!(screen.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_that_do_not_fit_are_refused_with_what_helps() {
    let town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let code = town.authority.invite(Role::Buyer, "bob");
    let mut damaged = code.clone();
    damaged.pop();
    bob.run(&["join", &damaged]).await.assert_fails(2, &["damaged", "copy the whole word"]);
    bob.run(&["join", "hello"]).await.assert_fails(2, &["no invitation code"]);

    let of_seller = town.authority.invite(Role::Seller, "alice-2");
    bob.run(&["join", &of_seller]).await.assert_fails(2, &["`seller join`"]);

    assert_eq!(bob.run(&["join", &code]).await.code, 0);
    let thief = Terminal::bare(BUYER);
    thief.run(&["join", &code]).await.assert_fails(4, &["revoke"]);
    assert!(!thief.context("bob").folder().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_gets_nothing() {
    let (town, other) = (Town::open().await, Town::open().await);
    let code: souk_enrolment::code::InvitationCode =
        town.authority.invite(Role::Buyer, "bob").parse().expect("a code");
    let at_other = souk_enrolment::code::InvitationCode::new(
        code.id(),
        code.secret().clone(),
        code.root(),
        other.authority.address().into(),
        code.trust_domain().clone(),
    );
    let at_other = at_other.expect("a code").reveal();
    let bob = Terminal::bare(BUYER);
    bob.run(&["join", &at_other]).await.assert_fails(4, &["not the authority of the code; nothing was sent"]);
    // The code is not used up.
    assert_eq!(bob.run(&["join", &code.reveal()]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_context_is_overwritten() {
    let town = Town::open().await;
    let other = Town::open().await;
    let bob = Terminal::bare(BUYER);
    assert_eq!(bob.run(&["join", &town.authority.invite(Role::Buyer, "bob")]).await.code, 0);
    let before = bob.context("bob").generation().expect("complete");
    let code = other.authority.invite(Role::Buyer, "bob");
    bob.run(&["join", &code, "--as", "bob"]).await.assert_fails(5, &["a context bob exists", "--as NAME"]);
    bob.run(&["join", &code]).await.assert_fails(5, &["a context bob exists", "--as NAME"]);
    assert_eq!(bob.context("bob").generation().expect("complete"), before);
    let joined = bob.run(&["join", &code, "--as", "work"]).await;
    assert!(
        joined.code == 0 && joined.out.contains("context work is current; before, bob was"),
        "{joined:?}"
    );
    assert_eq!(bob.run(&["orders"]).await.code, 0);
    assert_eq!(bob.run(&["--context", "bob", "orders"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_does_not_displace_a_lasting_context() {
    let (town, mut demo) = (Town::open().await, Shop::open().await);
    let authority = LocalAuthority::open_as(&demo.market, true).await;
    let bob = Terminal::bare(BUYER);
    let first = bob.run(&["join", &authority.invite(Role::Buyer, "visitor")]).await;
    assert!(first.code == 0 && first.out.contains("context visitor is current"), "{first:?}");
    assert_eq!(bob.run(&["join", &town.authority.invite(Role::Buyer, "bob")]).await.code, 0);
    let again = bob.run(&["join", &authority.invite(Role::Buyer, "guest")]).await;
    assert!(again.code == 0 && again.out.contains("context bob stays the current one"), "{again:?}");
    demo.market.stop().await.expect("stopped");
    let listed = bob.run(&["context", "list", "--output", "json"]).await.json();
    let state = |name: &str| {
        let rows = listed["contexts"].as_array().expect("rows");
        rows.iter().find(|row| row["context"] == json!(name)).expect(name)["state"].clone()
    };
    assert_eq!((state("bob"), state("guest")), (json!("ready"), json!("gone")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_overrules_the_new_context_is_named() {
    let town = Town::open().await;
    let mut bob = Terminal::bare(BUYER);
    let other = town.shop.market.identity(Role::Buyer, "carol").await.expect("a certificate");
    bob.set("SOUK_CERT", other.credentials.cert.display().to_string());
    let joined = bob.run(&["join", &town.authority.invite(Role::Buyer, "bob")]).await;
    assert!(joined.code == 0 && joined.err.contains("SOUK_CERT is set"), "{joined:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_due_is_renewed_after_a_command() {
    let mut town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let due = town.authority.issue_ago(Role::Buyer, "bob", Duration::days(70));
    bob.add_renewed_context("bob", &due, &town.authority);
    let (key, first) = (bob.context("bob").generation().expect("complete").key, number(&bob));
    town.authority.stop().await;
    // 20 days are left: nobody is bothered.
    let ran = bob.run(&["register", "Bob"]).await;
    assert!(ran.code == 0 && !ran.err.contains("renewed"), "{ran:?}");
    let record = Record::read(&bob.context("bob"));
    assert!(record.failed_at.is_some() && record.error.is_some(), "{record:?}");
    town.authority.start().await;
    // Not twice within an hour.
    assert_eq!(bob.run(&["orders"]).await.code, 0);
    assert_eq!(number(&bob), first);
    let context = bob.context("bob");
    let hour_ago = Record { looked_at: Some(clock::now() - Duration::hours(1)), ..record };
    hour_ago.write(&context, souk_certs::random::uuid_v4()).expect("written");
    assert_eq!(bob.run(&["orders"]).await.code, 0);
    let renewed = context.generation().expect("complete");
    assert!(number(&bob) > first && renewed.key != key, "{:?}", Record::read(&context));
    let record = Record::read(&context);
    assert!(record.renewed_at.is_some() && record.error.is_none(), "{record:?}");
    let listed = bob.run(&["doctor"]).await;
    assert!(listed.code == 0 && listed.out.contains("renewal"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_ended_is_renewed_by_the_next_command() {
    let mut town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let ended = town.authority.issue_ago(Role::Buyer, "bob", Duration::days(100));
    bob.add_renewed_context("bob", &ended, &town.authority);
    town.authority.stop().await;
    let failed = bob.run(&["register", "Bob"]).await;
    failed.assert_fails(4, &["has ended and was not renewed", "was not reached"]);
    town.authority.start().await;
    let ran = bob.run(&["register", "Bob"]).await;
    assert!(ran.code == 0 && ran.err.contains("had ended and was renewed, valid until"), "{ran:?}");
    let ran = bob.run(&["orders"]).await;
    assert!(ran.code == 0 && !ran.err.contains("renewed"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_and_the_news_that_come_with_it_are_one_generation() {
    let mut town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let due = town.authority.issue_ago(Role::Buyer, "bob", Duration::days(70));
    bob.add_renewed_context("bob", &due, &town.authority);
    let before = known_sequence(&bob.context("bob")).expect("a bundle");
    town.authority.stop().await;
    town.authority.pki().refresh_crl(clock::now()).expect("a list");
    town.authority.start().await;
    assert_eq!(bob.run(&["register", "Bob"]).await.code, 0);
    // Readers of the generation before still find it.
    assert_eq!(number(&bob), 2);
    assert!(known_sequence(&bob.context("bob")).expect("a bundle") > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_commands_at_once_renew_a_certificate_that_has_ended() {
    let town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let ended = town.authority.issue_ago(Role::Buyer, "bob", Duration::days(100));
    bob.add_renewed_context("bob", &ended, &town.authority);
    let both = tokio::join!(bob.run(&["register", "Bob"]), bob.run(&["register", "Bob"]));
    for ran in [both.0, both.1] {
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(number(&bob), 2, "one renewal");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_joins_at_once_with_one_code_make_one_context() {
    let town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let code = town.authority.invite(Role::Buyer, "bob");
    let joining = ["join", code.as_str()];
    let both = tokio::join!(bob.run(&joining), bob.run(&joining));
    for ran in [both.0, both.1] {
        assert!(ran.code == 0 && ran.out.contains("joined as buyer bob"), "{ran:?}");
    }
    assert_eq!(number(&bob), 1);
    let joining = fs::read_dir(bob.home.path().join(".config/souk/joining")).expect("listed");
    assert_eq!(joining.count(), 0);
    assert_eq!(bob.run(&["orders"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_given_up_is_recorded() {
    let town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let due = town.authority.issue_ago(Role::Buyer, "bob", Duration::days(70));
    bob.add_renewed_context("bob", &due, &town.authority);
    // Two that accept connections and say nothing take longer than a command waits.
    let hung = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let authority = hung.iter().map(|listener| listener.local_addr().expect("an address").into()).collect();
    let context = bob.context("bob");
    let found = context.description().expect("readable").expect("a context");
    let unique = souk_certs::random::uuid_v4();
    context.lock().expect("free").describe(&Description { authority, ..found }, unique).expect("written");
    let ran = bob.run(&["register", "Bob"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let record = Record::read(&context);
    assert!(record.failed_at.is_some() && record.renewed_at.is_none(), "{record:?}");
    assert!(record.error.is_some_and(|error| error.contains("given up")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_a_copied_certificate_is_warned_at_once_and_by_every_command() {
    let town = Town::open().await;
    let due = town.authority.issue_ago(Role::Buyer, "bob", Duration::days(70));
    let (bob, thief) = (Terminal::bare(BUYER), Terminal::bare(BUYER));
    bob.add_renewed_context("bob", &due, &town.authority);
    thief.add_renewed_context("bob", &due, &town.authority);
    assert_eq!(thief.run(&["register", "Bob"]).await.code, 0);
    assert_eq!(number(&thief), 2);
    // 20 days are left. The second one comes within the hour.
    for _ in 0..2 {
        let ran = bob.run(&["orders"]).await;
        assert!(ran.code == 0 && ran.err.contains("another copy of this certificate was renewed"), "{ran:?}");
    }
    assert_eq!(number(&bob), 1);
    // The operator revokes the name and invites again: both lose their certificates, and the owner gets another.
    town.authority.pki().revoke("bob", clock::now()).expect("revoked");
    let code = town.authority.invite_as(Role::Buyer, "bob", true);
    let again = bob.run(&["join", &code]).await;
    assert!(again.code == 0 && again.out.contains("context bob is current"), "{again:?}");
    let ran = bob.run(&["orders"]).await;
    assert!(ran.code == 0 && !ran.err.contains("copy"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ended_long_ago_leads_to_another_invitation() {
    let town = Town::open().await;
    let bob = Terminal::bare(BUYER);
    let ended = town.authority.issue_ago(Role::Buyer, "bob", Duration::days(119));
    bob.add_renewed_context("bob", &ended, &town.authority);
    // In its place, a certificate that ended 31 days ago.
    let long_ago = town.authority.issue_ago(Role::Buyer, "carol", Duration::days(121));
    let certificate = fs::read_to_string(&long_ago.credentials.cert).expect("a certificate");
    let key = fs::read_to_string(long_ago.credentials.key_path()).expect("a key");
    let context = bob.context("bob");
    let generation = context.generation().expect("complete");
    let locked = context.lock().expect("free");
    locked.install(&Generation { certificate, key, ..generation }).expect("installed");
    drop(locked);
    for command in [&["orders"][..], &["doctor", "--output", "json"]] {
        let ran = bob.run(command).await;
        let text = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, 4, "{ran:?}");
        assert!(
            text.contains("gen-certs invite buyer bob --again") && text.contains("buyer join"),
            "{ran:?}"
        );
        assert!(!text.contains("gen-certs.sh"), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_of_a_certificate_is_noticed_and_named() {
    let town = Town::open().await;
    let due = town.authority.issue_ago(Role::Buyer, "bob", Duration::days(85));
    let (bob, thief) = (Terminal::bare(BUYER), Terminal::bare(BUYER));
    bob.add_renewed_context("bob", &due, &town.authority);
    thief.add_renewed_context("bob", &due, &town.authority);
    assert_eq!(bob.run(&["register", "Bob"]).await.code, 0);
    assert_eq!(number(&bob), 2);
    // Five days are left: now a warning is printed.
    let ran = thief.run(&["orders"]).await;
    assert!(ran.code == 0 && ran.err.contains("was not renewed"), "{ran:?}");
    assert_eq!(number(&thief), 1);
}

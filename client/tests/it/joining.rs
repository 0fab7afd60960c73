//! Joining with an invitation code, at a real authority and market, over real mutual TLS connections.

use std::{fs, path::PathBuf};

use souk_certs::clock;
use souk_client::{Clock, Error, JoinOptions, Options, Reason, Role, Souk};
use souk_testkit::{
    authority::LocalAuthority,
    eventually,
    local::{LocalMarket, LocalMarketOptions},
};
use time::Duration;

struct Town {
    market: LocalMarket,
    authority: LocalAuthority,
    home: tempfile::TempDir,
}

impl Town {
    async fn open() -> Self {
        let opened = LocalAuthority::with_market(LocalMarketOptions::default()).await;
        let (market, authority) = opened.expect("a market that has joined");
        Self { market, authority, home: tempfile::tempdir().expect("a folder") }
    }

    fn options(&self) -> JoinOptions {
        JoinOptions::default().contexts_in(self.home.path().join("souk"))
    }

    fn context(&self, name: &str) -> PathBuf {
        self.home.path().join("souk/contexts").join(name)
    }

    async fn close(self) {
        self.market.close().await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_brings_a_registered_account_of_the_invitations_role() {
    let town = Town::open().await;
    for (role, name) in [(Role::Seller, "alice"), (Role::Buyer, "bob")] {
        let code = town.authority.invite(role, name);
        let souk = Souk::join_with(&code, town.options()).await.expect("joined");
        let who = souk.who_am_i().await.expect("known");
        let account = who.account.expect("an account");
        assert_eq!((account.display_name.as_str(), account.party_id), (name, souk.party().to_string()));
        assert_eq!(souk.context(), Some(town.context(name).as_path()));
    }
    let joining = fs::read_dir(town.home.path().join("souk/joining")).expect("listed");
    assert_eq!(joining.count(), 0, "a key was left behind");
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_code_and_the_context_open_the_same_account_again() {
    let town = Town::open().await;
    let code = town.authority.invite(Role::Buyer, "bob");
    let first = Souk::join_with(&code, town.options().display_name("Bob")).await.expect("joined");
    let again = Souk::join_with(&code, town.options()).await.expect("opened");
    let opened = Souk::from_context(town.context("bob"), Options::default()).await.expect("opened");
    for souk in [&again, &opened] {
        assert_eq!(souk.party(), first.party());
        let who = souk.who_am_i().await.expect("known");
        assert_eq!(who.account.expect("an account").display_name, "Bob", "the chosen name stays");
    }
    // Elsewhere, with another key, it is used up.
    let elsewhere = JoinOptions::default().contexts_in(town.home.path().join("elsewhere"));
    let refused = Souk::join_with(&code, elsewhere).await.expect_err("used");
    assert_eq!(refused.reason(), Some(Reason::InvitationUsed));
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_for_another_role_than_asked_for_is_refused_and_stays_good() {
    let town = Town::open().await;
    let code = town.authority.invite(Role::Seller, "alice");
    let refused = Souk::join_with(&code, town.options().role(Role::Buyer)).await.expect_err("refused");
    assert_eq!(refused.reason(), Some(Reason::InvitationRole));
    Souk::join_with(&code, town.options().role(Role::Seller)).await.expect("joined");
    let market = town.authority.invite(Role::Market, "market-2");
    let refused = Souk::join_with(&market, town.options()).await.expect_err("refused");
    assert_eq!(refused.reason(), Some(Reason::InvitationRole));
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_code_and_an_absent_authority_are_reported_with_what_to_do() {
    let mut town = Town::open().await;
    let code = town.authority.invite(Role::Buyer, "bob");
    let damaged = Souk::join_with(&code[..code.len() - 1], town.options()).await.expect_err("damaged");
    assert!(matches!(damaged, Error::Code(_)), "{damaged:?}");
    assert!(!town.home.path().join("souk").exists(), "nothing was made for it");
    town.authority.stop().await;
    let unreached = Souk::join_with(&code, town.options()).await.expect_err("nobody answers");
    assert!(unreached.is_transient() && matches!(unreached, Error::Join(_)), "{unreached:?}");
    assert!(unreached.hint().is_some_and(|hint| hint.contains("gen-certs serve")), "{unreached:?}");
    town.authority.start().await;
    Souk::join_with(&code, town.options()).await.expect("the same call continues");
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_due_is_renewed_while_the_program_runs() {
    let town = Town::open().await;
    let code = town.authority.invite(Role::Buyer, "bob");
    let souk = Souk::join_with(&code, town.options()).await.expect("joined");
    let context = souk.context().expect("a context").to_owned();
    let before = fs::read(context.join("live/party.pem")).expect("a certificate");
    drop(souk);
    // Two thirds of its 90 days, and a tenth of that, are over.
    let options = Options::default().clock(Clock::new(|| clock::now() + Duration::days(70)));
    let _souk = Souk::from_context(&context, options).await.expect("opened");
    eventually("the certificate is renewed", async || {
        fs::read(context.join("live/party.pem")).is_ok_and(|now| now != before)
    })
    .await;
    town.close().await;
}

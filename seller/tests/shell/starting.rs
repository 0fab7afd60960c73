//! A shell that lacks something says what, and ends.

use souk_certs::identity::Role;
use souk_testkit::{
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    screen::Screen,
    terminal::Terminal,
};

use super::{PROMPT, SELLER, WIDTHS, sales_in, shop};

#[tokio::test(flavor = "multi_thread")]
async fn shell_without_a_certificate_explains_how_to_get_one_and_ends() {
    let terminal = Terminal::bare(SELLER);
    let mut screen = Screen::start_as_wide_as(WIDTHS[1], &terminal, &["shell"]);
    screen
        .until(|text| {
            text.contains("gen-certs.sh invite seller") && text.contains("no certificate was named")
        })
        .await;
    assert_eq!(screen.end().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn shell_without_a_market_explains_and_ends() {
    let (_market, _bob, _lamp, mut terminal) = shop().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    terminal.set("SOUK_MARKET", free.local_addr().expect("an address").to_string());
    drop(free);
    terminal.set("SOUK_TIMEOUT", "2s");
    let mut screen = Screen::start_as_wide_as(WIDTHS[1], &terminal, &["shell"]);
    let text = screen.until(|text| text.contains("hint:")).await;
    assert!(!text.contains(PROMPT), "it has not begun: {text}");
    assert_eq!(screen.end().await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_begin_with_the_registration() {
    let options = LocalMarketOptions { store: StoreKind::Memory, ..LocalMarketOptions::default() };
    let market = LocalMarket::open(options).await.expect("a market");
    let identity = market.identity(Role::Seller, "alice").await.expect("a certificate");
    let terminal = Terminal::of(SELLER, &identity);
    let mut screen = Screen::start_as_wide_as(WIDTHS[1], &terminal, &["shell"]);
    screen.until(|text| text.contains("not registered yet") && text.ends_with(PROMPT)).await;
    screen.press("1\r").await;
    screen.answer("name to show to buyers:", "Alice").await;
    screen.until(|text| text.contains("following your mailbox") && text.ends_with(PROMPT)).await;
    screen.press("sell --name Lamp --category home --price '1 GBP' --quantity 5\r").await;
    screen.until(|text| text.contains("1.00 GBP") && text.ends_with(PROMPT)).await;
    let bob = souk_testkit::actor::Actor::enter(&market, Role::Buyer, "Bob").await.expect("a buyer");
    bob.register(None).await.expect("registered");
    bob.buy(1, 1).await.expect("bought");
    screen.until(|text| sales_in(text) == 1).await;
}

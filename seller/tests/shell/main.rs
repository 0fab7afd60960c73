//! The interactive shell on a pseudo-terminal: lines, the menu, completion, and notifications above the line being typed.
//! What was on the terminal is left in `target/tmp/transcripts`.

#![expect(clippy::expect_used, reason = "a test that panics has failed")]

mod completion;
mod interrupting;
mod lines;
mod menu;
mod starting;
mod watching;

use std::{fs, num::NonZero, path::Path};

use souk_certs::identity::Role;
use souk_testkit::{
    actor::{Actor, draft},
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    screen::Screen,
    terminal::Terminal,
};

const SELLER: &str = env!("CARGO_BIN_EXE_seller");
const PROMPT: &str = "seller>";
/// More than any queue between the market and the terminal holds.
const SALES: i64 = 1_000;

/// Opens a market with alice, who sells a lamp, bob, who can buy it, and alice's terminal.
async fn shop() -> (LocalMarket, Actor, i64, Terminal) {
    let options = LocalMarketOptions { store: StoreKind::Memory, ..LocalMarketOptions::default() };
    let market = LocalMarket::open(options).await.expect("a market");
    let alice = Actor::enter(&market, Role::Seller, "alice").await.expect("a seller");
    alice.register(None).await.expect("registered");
    let lamp = alice.sell(draft("Brass lantern", "home/light", 1_250, 10_000)).await.expect("listed");
    let bob = Actor::enter(&market, Role::Buyer, "Bob").await.expect("a buyer");
    bob.register(None).await.expect("registered");
    let terminal =
        Terminal::of(SELLER, &market.identity(Role::Seller, "alice").await.expect("a certificate"));
    (market, bob, lamp.item_id, terminal)
}

/// The widths of terminals on which everything has to be readable.
const WIDTHS: [NonZero<u16>; 2] = [NonZero::new(60).expect("not 0"), NonZero::new(80).expect("not 0")];

fn sales_in(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("* ") && line.contains(" sold: ")).count()
}

/// Returns whether a line of the feed has a time behind its mark, such as `* 14:03 sold`.
fn has_time(line: &str) -> bool {
    let time: Vec<_> = line.chars().skip(2).take(6).collect();
    matches!(time[..], [a, b, ':', c, d, ' '] if [a, b, c, d].iter().all(char::is_ascii_digit))
}

/// Starts the shell, and waits for its prompt.
async fn shell(columns: NonZero<u16>, terminal: &Terminal) -> Screen {
    let mut screen = Screen::start_as_wide_as(columns, terminal, &["shell"]);
    screen.until(|text| text.ends_with(PROMPT)).await;
    screen
}

/// Types a line, and waits until the shell is back. Returns all text.
async fn enter(screen: &mut Screen, line: &str) -> String {
    let prompts = |text: &str| text.matches(PROMPT).count();
    let before = prompts(&screen.until(|text| text.ends_with(PROMPT)).await);
    screen.press(&format!("{line}\r")).await;
    screen.until(|text| prompts(text) > before && text.ends_with(PROMPT)).await
}

/// Keeps what was on the terminal, for people to read.
fn keep_transcript(name: &str, columns: NonZero<u16>, text: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("transcripts");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("{name}-{columns}.txt")), text).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_happened_meanwhile_is_shown_and_then_acknowledged() {
    let (market, bob, lamp, terminal) = shop().await;
    for _ in 0..SALES {
        bob.buy(lamp, 1).await.expect("bought");
    }
    let mut screen = Screen::start(&terminal, &["shell"]);
    screen.until(|text| sales_in(text) == SALES as usize).await;
    screen.press("quit\r").await;
    assert_eq!(screen.end().await, 0);
    let alice = Actor::enter(&market, Role::Seller, "alice").await.expect("connected");
    assert_eq!(alice.mailbox().await.expect("its mailbox").pending_count, 0);

    let mut again = Screen::start(&terminal, &["shell"]);
    bob.buy(lamp, 2).await.expect("bought");
    let text = again.until(|text| sales_in(text) > 0).await;
    assert!(sales_in(&text) == 1 && text.contains("2 × Brass lantern"), "nothing came twice: {text}");
    assert!(text.lines().any(|line| line.contains(" sold: ") && has_time(line)), "it has a time: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_leaves_the_line_being_typed_alone() {
    let (_market, bob, lamp, terminal) = shop().await;
    let mut screen = Screen::start(&terminal, &["shell"]);
    screen.until(|text| text.ends_with(PROMPT)).await;
    screen.press("ite").await;
    screen.until(|text| text.ends_with("seller> ite")).await;
    bob.buy(lamp, 1).await.expect("bought");
    screen.until(|text| sales_in(text) == 1 && text.ends_with("seller> ite")).await;
    screen.press("ms\r").await;
    let text = screen.until(|text| text.contains("9999  ") && text.ends_with(PROMPT)).await;
    let starts = |word| text.lines().filter_map(|line| line.find(word)).next_back();
    assert_eq!(starts("NAME"), starts("Brass lantern"), "columns stand below their headings: {text}");
    // Ctrl-C gives a line up, Ctrl-D ends the shell.
    screen.press("nonsense").await;
    screen.until(|text| text.ends_with("nonsense")).await;
    screen.press("\u{3}").await;
    screen.until(|text| text.contains("nonsense") && text.ends_with(PROMPT)).await;
    screen.press("\u{4}").await;
    assert_eq!(screen.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_meets_conditions_is_shown_and_confirmed_first() {
    let (_market, bob, lamp, terminal) = shop().await;
    bob.buy(lamp, 1).await.expect("bought");
    let status = async || {
        let sale = terminal.run(&["sales", "--output", "ndjson"]).await.json();
        sale["status"].as_str().expect("a status").to_owned()
    };
    for (answer, expected) in [("n\r", "placed"), ("\r", "placed"), ("y\r", "shipped")] {
        let mut screen = Screen::start(&terminal, &["ship", "--where", "status=placed"]);
        let text = screen.until(|text| text.contains("ship this order? [y/N]")).await;
        assert!(text.contains("Brass lantern"), "{text}");
        screen.press(answer).await;
        assert_eq!(screen.end().await, 0);
        assert_eq!(status().await, expected);
    }
    let mut screen = Screen::start(&terminal, &["shell"]);
    screen.until(|text| text.ends_with(PROMPT)).await;
    screen.press("deliver --where item=1\r").await;
    screen.until(|text| text.contains("deliver this order? [y/N]")).await;
    // A question that is cancelled does not take the next line.
    screen.press("\u{3}").await;
    screen.until(|text| text.ends_with(PROMPT)).await;
    screen.press("deliver --where item=1\r").await;
    screen.until(|text| text.matches("deliver this order? [y/N]").count() == 2).await;
    screen.press("y\r").await;
    screen.until(|text| text.contains("delivered") && text.ends_with(PROMPT)).await;
    assert_eq!(status().await, "delivered");
}

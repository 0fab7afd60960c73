//! Ctrl-C ends the running command, SIGTERM the shell.

use std::time::Duration;

use souk_testkit::{gate::Gate, screen::Screen};
use tokio::{process::Command, time::timeout};

use super::{PROMPT, WIDTHS, enter, has_time, keep_transcript, shell, shop};

/// Presses Ctrl-C until it has had an effect, like a person: a key that comes before the command runs belongs to the line.
/// Returns what was printed about it, which may be wrapped.
async fn interrupt(screen: &mut Screen) -> String {
    loop {
        screen.press("\u{3}").await;
        let ended = |text: &str| {
            text.ends_with(PROMPT)
                && text.rsplit("^C").next().is_some_and(|text| text.contains("interrupted;"))
        };
        if let Ok(text) = timeout(Duration::from_secs(1), screen.until(ended)).await {
            let words = text.rsplit("interrupted;").next().unwrap_or_default().split_whitespace();
            return words.collect::<Vec<_>>().join(" ");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_call_and_not_the_shell() {
    for columns in WIDTHS {
        let (market, _bob, _lamp, mut terminal) = shop().await;
        let gate = Gate::open(market.address()).await;
        terminal.set("SOUK_MARKET", gate.address.to_string());
        // Much longer than the test waits.
        terminal.set("SOUK_TIMEOUT", "10m");
        let mut screen = shell(columns, &terminal).await;
        gate.freeze(true);
        screen.press("items\r").await;
        screen.until(|text| text.ends_with("seller> items")).await;
        let said = interrupt(&mut screen).await;
        assert!(said.starts_with("nothing was changed"), "a list changes nothing: {said}");
        screen.press("update 1 --price \"9.99 GBP\"\r").await;
        screen.until(|text| text.ends_with("GBP\"")).await;
        let said = interrupt(&mut screen).await;
        assert!(said.starts_with("a change may have taken place"), "{said}");
        gate.freeze(false);
        let text = enter(&mut screen, "items").await;
        assert!(text.contains("Brass"), "the shell goes on: {text}");
        keep_transcript("ctrl-c-during-a-call", columns, &text);
        screen.press("quit\r").await;
        assert_eq!(screen.end().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_shell_and_restores_the_terminal() {
    let (_market, _bob, _lamp, terminal) = shop().await;
    let screen = shell(WIDTHS[1], &terminal).await;
    let sent =
        Command::new("kill").args(["-TERM", &screen.process().to_string()]).status().await.expect("kill");
    assert!(sent.success());
    assert_eq!(screen.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_said_once_at_both_ends_with_the_time() {
    let (market, _bob, _lamp, mut terminal) = shop().await;
    let mut gate = Gate::open(market.address()).await;
    terminal.set("SOUK_MARKET", gate.address.to_string());
    let mut screen = shell(WIDTHS[1], &terminal).await;
    gate.shut().await;
    screen.until(|text| text.contains("disconnected") && text.ends_with(PROMPT)).await;
    gate.reopen_after(2).await;
    let text = screen.until(|text| text.contains("reconnected") && text.ends_with(PROMPT)).await;
    let said = |word: &str| text.lines().filter(|line| line.starts_with("! ") && line.contains(word)).count();
    assert_eq!((said(" disconnected ("), said(" reconnected")), (1, 1), "{text}");
    assert!(text.lines().filter(|line| line.starts_with("! ")).all(has_time), "{text}");
}

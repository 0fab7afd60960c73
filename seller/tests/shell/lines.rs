//! Lines: history, arrow keys, quotation marks, help, and what the shell does not have.

use souk_testkit::eventually;

use super::{PROMPT, WIDTHS, enter, keep_transcript, shell, shop};

const UP: &str = "\u{1b}[A";
const LEFT: &str = "\u{1b}[D";

#[tokio::test(flavor = "multi_thread")]
async fn history_is_written_as_commands_are_entered() {
    for columns in WIDTHS {
        let (_market, _bob, _lamp, terminal) = shop().await;
        let mut screen = shell(columns, &terminal).await;
        enter(&mut screen, "items").await;
        enter(&mut screen, "sales --status placed").await;
        // Not even a kill takes what was entered.
        let history = terminal.home.path().join(".local/state/souk/seller-history.txt");
        let written = std::fs::read_to_string(&history).expect("the history");
        assert_eq!(written, "items\nsales --status placed\n");
        drop(screen);

        let mut again = shell(columns, &terminal).await;
        again.press(UP).await;
        again.until(|text| text.ends_with("seller> sales --status placed")).await;
        again.press(UP).await;
        again.until(|text| text.ends_with("seller> items")).await;
        // Back into the word that was recalled.
        again.press(&LEFT.repeat(5)).await;
        again.press("my").await;
        again.until(|text| text.ends_with("seller> myitems")).await;
        again.press("\u{7f}\u{7f}\r").await;
        let text = again.until(|text| text.contains("Brass") && text.ends_with(PROMPT)).await;
        keep_transcript("history", columns, &text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_quotation_mark_continues_on_the_next_line() {
    let (_market, bob, lamp, terminal) = shop().await;
    let mut screen = shell(WIDTHS[1], &terminal).await;
    screen.press(&format!("update {lamp} --description 'Of brass.\r")).await;
    screen.until(|text| text.lines().last().is_some_and(|line| line.starts_with('…'))).await;
    screen.press("For oil.'\r").await;
    eventually("the item has both lines", async || {
        bob.item(lamp).await.is_ok_and(|item| item.description == "Of brass.\nFor oil.")
    })
    .await;
    // Ctrl-C gives up a line that is not finished.
    screen.until(|text| text.ends_with(PROMPT)).await;
    screen.press("sell 'what\r").await;
    screen.until(|text| text.lines().last().is_some_and(|line| line.starts_with('…'))).await;
    screen.press("\u{3}").await;
    screen.until(|text| text.ends_with(PROMPT)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_are_left_to_the_systems_shell() {
    let (_market, _bob, _lamp, terminal) = shop().await;
    let mut screen = shell(WIDTHS[1], &terminal).await;
    for line in ["items | less", "!ls", "items > list.txt"] {
        let text = enter(&mut screen, line).await;
        assert!(text.contains("this shell has no pipes"), "{line}: {text}");
    }
    let text = enter(&mut screen, "help").await;
    assert!(text.replace('\n', " ").contains("There are no pipes"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_a_command_is_short_and_has_an_example() {
    for columns in WIDTHS {
        let (_market, _bob, _lamp, terminal) = shop().await;
        let mut screen = shell(columns, &terminal).await;
        for command in ["sell", "import", "ride start"] {
            let before = enter(&mut screen, "help quit").await;
            let text = enter(&mut screen, &format!("help {command}")).await;
            let lines = text.lines().count() - before.lines().count();
            // Its own prompt is one of them.
            assert!(lines <= 26, "{command} takes {lines} lines: {text}");
            let example = text.lines().rev().nth(1).expect("a line");
            assert!(example.starts_with(&format!("Example: {command}")), "{text}");
        }
    }
}

//! Lists that are watched on a terminal, and in a pipe.

use std::time::{Duration, Instant};

use souk_testkit::{screen::Screen, terminal::Terminal};

use super::{WIDTHS, shop};

/// The lines of the tests' terminals.
const LINES: usize = 40;

async fn import(terminal: &Terminal, count: usize) {
    let file = terminal.home.path().join("items.csv");
    let row = |number| format!("S-{number:03},Shade {number:03},home/light,1 GBP,{number}\n");
    let rows: String = (1..=count).map(row).collect();
    std::fs::write(&file, format!("sku,name,category,price,quantity\n{rows}")).expect("written");
    let ran = terminal.run(&["import", &file.display().to_string()]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_taller_than_the_terminal_ends_with_the_number_of_the_other_rows() {
    let (_market, bob, lamp, terminal) = shop().await;
    import(&terminal, 49).await;
    let mut screen = Screen::start_as_wide_as(WIDTHS[1], &terminal, &["items", "--watch"]);
    let text = screen.until(|text| text.contains("more rows")).await;
    // The heading, 37 rows of one line each, the last line, and the line of the cursor.
    assert!(text.ends_with("… and 13 more rows"), "{text}");
    assert!(text.contains("Shade 036") && !text.contains("Shade 037"), "{text}");
    bob.buy(lamp, 1).await.expect("bought");
    let text = screen.until(|text| text.contains(" 9999 ")).await;
    let text =
        if text.contains("more rows") { text } else { screen.until(|text| text.contains("more rows")).await };
    // Nothing has scrolled off: the list was replaced where it stood.
    assert!(text.lines().count() < LINES && text.matches("NAME").count() == 1, "{text}");
}

/// A whole shop is read in several calls, and not more often per call than a single page.
#[tokio::test(flavor = "multi_thread")]
async fn a_watched_list_of_several_pages_is_read_less_often() {
    let (_market, bob, lamp, terminal) = shop().await;
    import(&terminal, 450).await;
    let mut watching = terminal.start(&["items", "--watch", "--sort", "stock", "--output", "ndjson"]);
    for _ in 0..451 {
        watching.line().await;
    }
    let shown = Instant::now();
    bob.buy(lamp, 1).await.expect("bought");
    assert!(watching.line().await.contains("\"quantity\":9999"));
    // Three calls, so every six seconds.
    assert!(shown.elapsed() > Duration::from_secs(4), "{:?}", shown.elapsed());
    assert_eq!(watching.interrupt().await, 0);
}

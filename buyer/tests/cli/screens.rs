//! Transcripts of terminals of 80 and 60 columns.

use std::num::NonZero;

use souk_testkit::{actor::draft, screen::Screen, terminal::Terminal};
use unicode_width::UnicodeWidthStr as _;

use super::{Shop, send_positions};

const WIDE: NonZero<u16> = NonZero::new(80).expect("not 0");
const NARROW: NonZero<u16> = NonZero::new(60).expect("not 0");

/// Runs a command on a terminal, and returns what it has printed: a table whose last column has times.
async fn transcript(terminal: &Terminal, arguments: &[&str], columns: NonZero<u16>, last: &str) -> String {
    let mut screen = Screen::start_as_wide_as(columns, terminal, arguments);
    let is_whole = |text: &str| text.contains(last) && ["now", "ago"].iter().any(|end| text.ends_with(end));
    let text = screen.until(is_whole).await;
    assert_eq!(screen.end().await, 0);
    text
}

fn fits(text: &str, columns: NonZero<u16>) {
    let wide = text.lines().find(|line| line.width() > usize::from(columns.get()));
    assert_eq!(wide, None, "{text}");
}

/// A market where bob has bought a lantern and a carpet with long names.
async fn with_orders() -> (Shop, Terminal) {
    let shop = Shop::open().await;
    let carpet = draft("Hand-knotted wool carpet from the mountains of the north", "home/floor", 125_000, 3);
    let carpet = shop.alice.sell(carpet).await.expect("listed").item_id.to_string();
    let bob = shop.bob().await;
    for arguments in [&["buy", &shop.id(), "--quantity", "2"][..], &["buy", &carpet], &["cancel", "2"]] {
        let ran = bob.run(arguments).await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    (shop, bob)
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_orders_fit_the_terminal() {
    let (_shop, bob) = with_orders().await;
    for (columns, headings) in [
        (WIDE, &["ORDER", "ITEM", "NAME", "UNITS", "TOTAL", "STATUS", "SELLER", "PLACED"][..]),
        (NARROW, &["ORDER", "NAME", "TOTAL", "STATUS", "PLACED"]),
    ] {
        let text = transcript(&bob, &["orders"], columns, "Brass lantern").await;
        fits(&text, columns);
        let heading = text.lines().next().expect("a heading");
        let found: Vec<_> = heading.split_whitespace().collect();
        assert!(headings.iter().all(|heading| found.contains(heading)), "{text}");
        assert!(!found.contains(&"BUYER"), "the reader's own name: {text}");
        // Numbers end where their heading ends, names begin where theirs begins, and times are relative.
        let end = heading.find("TOTAL").expect("a total") + "TOTAL".len();
        for total in ["1250.00 GBP", "25.00 GBP"] {
            let line = text.lines().find(|line| line.contains(total)).expect("a row");
            assert_eq!(line.find(total).map(|at| at + total.len()), Some(end), "{text}");
        }
        assert!(text.contains("just now") || text.contains(" s ago"), "{text}");
        if let Some(at) = text.find('…') {
            let word = text[..at].trim_end().rsplit(char::is_whitespace).next().expect("a word");
            let name = "Hand-knotted wool carpet from the mountains of the north";
            assert!(name.split(' ').any(|whole| whole == word) && text[..at].ends_with(' '), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_have_colours_unless_the_user_wants_none() {
    let (_shop, mut bob) = with_orders().await;
    let mut screen = Screen::start_as_wide_as(WIDE, &bob, &["orders"]);
    screen.until(|text| text.contains("cancelled")).await;
    assert!(screen.has_color_at("cancelled") && screen.has_color_at("placed"));
    bob.set("NO_COLOR", "1");
    let mut screen = Screen::start_as_wide_as(WIDE, &bob, &["orders"]);
    screen.until(|text| text.contains("cancelled")).await;
    assert!(!screen.has_color_at("cancelled"));
    assert!(!bob.run(&["orders"]).await.out.contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_track_stays_on_its_line() {
    let (shop, bob) = with_orders().await;
    let ride_id = shop.alice.start_ride(1).await.expect("started").ride_id;
    send_positions(&shop.alice, &ride_id, 6).await;
    let mut screens = [WIDE, NARROW].map(|columns| Screen::start_as_wide_as(columns, &bob, &["track", "1"]));
    for screen in &mut screens {
        screen.until(|text| text.contains("to go")).await;
    }
    shop.alice.seller().end_ride(ride_id).await.expect("ended");
    for mut screen in screens {
        let text = screen.until(|text| text.contains("has arrived")).await;
        // One line for all positions, and one for the end: nothing was left behind above.
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with("to go"), "{text}");
        assert_eq!(screen.end().await, 0);
    }
}

//! The buyer's menu on a pseudo-terminal.

#![expect(clippy::expect_used, reason = "a test that panics has failed")]

use souk_certs::identity::Role;
use souk_proto::v1::{
    self, GetItemRequest, ListOrdersRequest, ListWishlistRequest, track_ride_request::Message,
};
use souk_testkit::{
    actor::{Actor, draft, place, pounds},
    eventually,
    local::{LocalMarket, LocalMarketOptions, StoreKind},
    screen::Screen,
    terminal::Terminal,
};

const BUYER: &str = env!("CARGO_BIN_EXE_buyer");
const PROMPT: &str = "buyer>";

/// A market with a seller who has listed ten lanterns, bob, who is registered, and his terminal.
async fn shop() -> (LocalMarket, Actor, i64, Actor, Terminal) {
    let options = LocalMarketOptions { store: StoreKind::Memory, ..LocalMarketOptions::default() };
    let market = LocalMarket::open(options).await.expect("a market");
    let alice = Actor::enter(&market, Role::Seller, "Alice").await.expect("a seller");
    alice.register(None).await.expect("registered");
    let lamp = alice.sell(draft("Brass lantern", "home/light", 1_250, 10)).await.expect("listed").item_id;
    let bob = Actor::enter(&market, Role::Buyer, "bob").await.expect("a buyer");
    bob.register(None).await.expect("registered");
    eventually("bob finds the lantern", async || {
        let found = bob.search(v1::SearchItemRequest { query: "lantern".into(), ..Default::default() }).await;
        found.is_ok_and(|found| found.total_size == 1)
    })
    .await;
    let terminal = Terminal::of(BUYER, &bob.config);
    (market, alice, lamp, bob, terminal)
}

async fn back(screen: &mut Screen) -> String {
    screen.until(|text| text.ends_with(PROMPT)).await
}

async fn choose(screen: &mut Screen, entry: &str) {
    back(screen).await;
    screen.press(&format!("{entry}\r")).await;
}

async fn wishes(bob: &Actor) -> usize {
    let request = ListWishlistRequest { page_size: 10, ..ListWishlistRequest::default() };
    bob.connection.call(request).await.expect("the wishlist").wishes.len()
}

async fn stars(bob: &Actor, item_id: i64) -> Option<f64> {
    let found = bob.connection.call(GetItemRequest { item_id }).await.expect("found");
    found.item.expect("the item").rating.map(|rating| rating.mean)
}

#[tokio::test(flavor = "multi_thread")]
async fn menu_offers_items_wishes_and_orders() {
    let (_market, alice, lamp, bob, terminal) = shop().await;
    let mut screen = Screen::start(&terminal, &["shell"]);
    choose(&mut screen, "3").await;
    // A typo is forgiven, as in every search.
    screen.answer("which item", "lanten").await;
    screen.answer("how many [1]:", "").await;
    eventually("it is bought", async || bob.item(lamp).await.is_ok_and(|item| item.quantity == 9)).await;
    // Nobody pays more than the price that was shown.
    choose(&mut screen, "3").await;
    screen.answer("which item", "brass").await;
    screen.until(|text| text.lines().last().is_some_and(|line| line.contains("how many"))).await;
    let dearer = v1::ItemDraft { unit_price: pounds(9_900), ..v1::ItemDraft::default() };
    alice.update(lamp, dearer).await.expect("changed");
    screen.answer("how many", "1").await;
    screen.until(|text| text.contains("error: ") && text.ends_with(PROMPT)).await;
    assert_eq!(bob.item(lamp).await.expect("the item").quantity, 9, "nothing was bought");
    choose(&mut screen, "4").await;
    screen.answer("which item", &lamp.to_string()).await;
    eventually("it is on the wishlist", async || wishes(&bob).await == 1).await;
    choose(&mut screen, "9").await;
    screen.answer("which item", "brass").await;
    eventually("it is off the wishlist", async || wishes(&bob).await == 0).await;
    // Rated, and rated once more without another word.
    for number in ["2", "5"] {
        choose(&mut screen, "5").await;
        screen.answer("which item", "lantern").await;
        screen.answer("stars, 1 to 5:", number).await;
        let mean = number.parse().ok();
        eventually("it is rated", async || stars(&bob, lamp).await == mean).await;
    }
    choose(&mut screen, "8").await;
    screen.answer("which order", "1").await;
    screen.answer("Are you sure?", "y").await;
    eventually("it is cancelled", async || bob.item(lamp).await.is_ok_and(|item| item.quantity == 10)).await;
    let text = back(&mut screen).await;
    assert!(!text.contains(" --"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn menu_asks_whether_to_show_more() {
    const SHADES: usize = 55;
    let (_market, alice, _lamp, bob, terminal) = shop().await;
    for number in 1..=SHADES {
        alice.sell(draft(&format!("Shade {number:02}"), "home/light", 100, 1)).await.expect("listed");
    }
    eventually("bob finds the shades", async || {
        let found = bob.search(v1::SearchItemRequest { query: "shade".into(), ..Default::default() }).await;
        found.is_ok_and(|found| found.total_size == SHADES as i64)
    })
    .await;
    let shown = |text: &str| text.matches(" Shade ").count();
    let mut screen = Screen::start(&terminal, &["shell"]);
    for (answer, more) in [("\r", SHADES - 50), ("n\r", 0)] {
        choose(&mut screen, "2").await;
        screen.answer("words (optional):", "shade").await;
        screen.answer("category (optional):", "").await;
        let text = screen.until(|text| text.ends_with("Show more? [Y/n]")).await;
        let before = shown(&text);
        screen.press(answer).await;
        let text = back(&mut screen).await;
        assert_eq!(shown(&text) - before, more, "{text}");
        assert!(!text.contains(" --"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_tracking_and_not_the_shell() {
    let (_market, alice, lamp, bob, terminal) = shop().await;
    let order_id = bob.buy(lamp, 1).await.expect("bought").order_id;
    let ride = alice.start_ride(order_id).await.expect("started");
    let position = v1::TrackedPosition {
        location: place(0.01),
        time: Some(souk_proto::Timestamp { seconds: souk_certs::clock::now().unix_timestamp(), nanos: 0 }),
    };
    let messages = [Message::RideId(ride.ride_id), Message::Position(position)];
    let messages = messages.map(|message| v1::TrackRideRequest { message: Some(message) });
    alice.connection.rides().track_ride(tokio_stream::iter(messages)).await.expect("tracked");
    let mut screen = Screen::start(&terminal, &["shell"]);
    choose(&mut screen, "10").await;
    screen.answer("which order", &order_id.to_string()).await;
    screen.until(|text| text.lines().last().is_some_and(|line| line.contains("at 51."))).await;
    screen.press("\u{3}").await;
    back(&mut screen).await;
    choose(&mut screen, "orders").await;
    let request = ListOrdersRequest { page_size: 10, ..ListOrdersRequest::default() };
    assert_eq!(bob.connection.call(request).await.expect("the orders").orders.len(), 1);
    choose(&mut screen, "quit").await;
    assert_eq!(screen.end().await, 0);
}

//! The classic menu: one question at a time, each answer checked at once, and no flags.

use souk_proto::v1::{GetOrderRequest, OrderStatus};
use souk_testkit::{actor::Actor, eventually, screen::Screen};

use super::{PROMPT, WIDTHS, keep_transcript, shell, shop};

/// Waits until the menu is back.
async fn back(screen: &mut Screen) -> String {
    screen.until(|text| text.ends_with(PROMPT)).await
}

fn knows_no_flags(text: &str) {
    assert!(!text.contains(" --") && !text.contains("unit_price") && !text.contains("item."), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_by_the_menu_checks_each_answer_at_once() {
    for columns in WIDTHS {
        let (_market, bob, lamp, terminal) = shop().await;
        let mut screen = shell(columns, &terminal).await;
        screen.press("2\r").await;
        screen.answer("name:", "").await;
        screen.until(|text| text.contains("this one is needed")).await;
        screen.answer("name:", "Desk lamp").await;
        screen.answer("category:", "home & light").await;
        screen.until(|text| text.contains("write words like home")).await;
        screen.answer("category:", "Home/Light").await;
        screen.answer("GBP:", "cheap").await;
        screen.until(|text| text.contains("write it like")).await;
        screen.answer("GBP:", "24.00 gbp").await;
        screen.answer("units for sale:", "none").await;
        screen.until(|text| text.contains("is not a number from 1")).await;
        screen.answer("units for sale:", "7").await;
        screen.answer("description (optional):", "").await;
        let item = lamp + 1;
        eventually("it is for sale", async || bob.item(item).await.is_ok()).await;
        let listed = bob.item(item).await.expect("the item");
        assert_eq!((listed.name.as_str(), listed.quantity), ("Desk lamp", 7));
        assert_eq!(listed.category, "home/light");
        let text = back(&mut screen).await;
        knows_no_flags(&text);
        keep_transcript("menu-sale", columns, &text);
        // Answers are no commands.
        let history = terminal.home.path().join(".local/state/souk/seller-history.txt");
        assert_eq!(std::fs::read_to_string(history).expect("the history"), "2\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_by_the_menu_shows_the_present_values() {
    let (_market, bob, lamp, terminal) = shop().await;
    let mut screen = shell(WIDTHS[1], &terminal).await;
    screen.press("3\r").await;
    screen.answer("which item", "sofa").await;
    screen.until(|text| text.contains("none fits")).await;
    screen.answer("which item", "lant").await;
    screen.answer("name [Brass lantern]:", "").await;
    screen.answer("category [home/light]:", "").await;
    // In the currency that it has.
    screen.answer("price [12.50 GBP]:", "9.99").await;
    screen.answer("[10000]:", "+5").await;
    screen.answer("description", "").await;
    eventually("it is changed", async || {
        bob.item(lamp).await.is_ok_and(|item| {
            item.quantity == 10_005 && item.unit_price.is_some_and(|price| price.amount_minor == 999)
        })
    })
    .await;
    knows_no_flags(&back(&mut screen).await);
    // Ctrl-C gives up, and nothing is done.
    screen.press("4\r").await;
    screen.answer("which item", "1").await;
    screen.answer("Are you sure?", "").await;
    screen.until(|text| text.contains("nothing was done") && text.ends_with(PROMPT)).await;
    assert!(bob.item(lamp).await.is_ok(), "it is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_item_of_a_large_shop_is_found_by_what_is_typed() {
    const ITEMS: usize = 2_000;
    let (_market, bob, lamp, terminal) = shop().await;
    let file = terminal.home.path().join("items.csv");
    let mut rows = "sku,name,category,price,quantity\n".to_owned();
    for number in 1..ITEMS {
        rows.push_str(&format!("S-{number},Shade {number},home/light,1 GBP,{number}\n"));
    }
    rows.push_str("Z-1,Zebra rug,home,99 GBP,7\n");
    std::fs::write(&file, rows).expect("written");
    let ran = terminal.run(&["import", &file.display().to_string()]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let rug = lamp + i64::try_from(ITEMS).expect("small");
    for typed in ["zeb", &rug.to_string()] {
        let mut screen = shell(WIDTHS[1], &terminal).await;
        screen.press("3\r").await;
        let text = screen.until(|text| text.contains("which item")).await;
        assert!(text.contains("Brass lantern"), "the first ones are offered: {text}");
        screen.answer("which item", typed).await;
        // With its present values.
        screen.answer("name [Zebra rug]:", "").await;
        screen.answer("category [home]:", "").await;
        screen.answer("price [99.00 GBP]:", "").await;
        screen.answer("stock: 5, or +3 or -2 [", "+1").await;
        screen.answer("description", "").await;
        back(&mut screen).await;
    }
    assert_eq!(bob.item(rug).await.expect("the item").quantity, 9);
}

/// Waits until an order has a status.
async fn becomes(bob: &Actor, order_id: i64, status: OrderStatus) {
    eventually("the order has its status", async || {
        let found = bob.connection.call(GetOrderRequest { order_id }).await;
        found.is_ok_and(|found| found.order.is_some_and(|order| order.status() == status))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_shipped_delivered_and_cancelled_by_the_menu() {
    let (_market, bob, lamp, terminal) = shop().await;
    let mut screen = shell(WIDTHS[1], &terminal).await;
    screen.press("7\r").await;
    screen.until(|text| text.contains("nothing to choose from") && text.ends_with(PROMPT)).await;
    let sent = bob.buy(lamp, 1).await.expect("bought").order_id;
    let unwanted = bob.buy(lamp, 2).await.expect("bought").order_id;
    screen.until(|text| super::sales_in(text) == 2 && text.ends_with(PROMPT)).await;
    screen.press("7\r").await;
    screen.answer("which order", &sent.to_string()).await;
    becomes(&bob, sent, OrderStatus::Shipped).await;
    back(&mut screen).await;
    screen.press("8\r").await;
    screen.answer("which order", &sent.to_string()).await;
    becomes(&bob, sent, OrderStatus::Delivered).await;
    back(&mut screen).await;
    screen.press("9\r").await;
    screen.answer("which order", &unwanted.to_string()).await;
    screen.answer("why, for the buyer:", "broken").await;
    screen.answer("Are you sure?", "yes").await;
    becomes(&bob, unwanted, OrderStatus::Cancelled).await;
    knows_no_flags(&back(&mut screen).await);
}

//! Buying items, wishing for them and rating them.

use anyhow::ensure;
use souk_proto::{Reason, v1};
use souk_testkit::actor::{draft, pounds, refused};
use tokio::task::JoinSet;

use super::{Cast, Log};

pub(super) async fn tour(log: &mut Log, cast: &mut Cast) {
    log.step("rating without a purchase is refused", &[], async {
        refused(cast.bob.rate(cast.lamp, 5).await, Reason::NotPurchased)
    })
    .await;
    log.step("a buyer buys, and repeating the call buys once", &["BuyerService/BuyItem"], buy_once(cast))
        .await;
    log.step("a price that differs from the expected price is refused", &[], price_changed(cast)).await;
    log.step("eight buyers for five units: five are sold, three refused", &[], no_oversell(cast)).await;
    log.step(
        "orders are listed and shown, only to their own buyer",
        &["BuyerService/ListOrders", "BuyerService/GetOrder"],
        orders(cast),
    )
    .await;
    log.step(
        "sales are listed and shown",
        &["SellerService/ListSales", "SellerService/GetSale"],
        sales(cast),
    )
    .await;
    log.step("an order is cancelled, and its units are back", &["BuyerService/CancelOrder"], cancel(cast))
        .await;
    log.step("an item is rated, once", &["BuyerService/RateItem"], rate(cast)).await;
    log.step(
        "wishes are added, listed and removed",
        &["BuyerService/AddToWishlist", "BuyerService/ListWishlist", "BuyerService/RemoveFromWishlist"],
        wishes(cast),
    )
    .await;
}

async fn buy_once(cast: &Cast) -> anyhow::Result<()> {
    let request = v1::BuyItemRequest {
        request_id: cast.bob.connection.request_id(),
        item_id: cast.lamp,
        quantity: 2,
        expected_unit_price: pounds(1_000),
        ..Default::default()
    };
    let first = cast.bob.buy_by(request.clone()).await?;
    let again = cast.bob.buy_by(request).await?;
    ensure!(first == again, "the repetition was another order");
    ensure!(first.total_price == pounds(2_000), "{first:?}");
    ensure!(cast.bob.item(cast.lamp).await?.quantity == 13, "units were sold twice");
    Ok(())
}

async fn price_changed(cast: &Cast) -> anyhow::Result<()> {
    let request = v1::BuyItemRequest {
        item_id: cast.lamp,
        quantity: 1,
        expected_unit_price: pounds(1),
        ..Default::default()
    };
    refused(cast.bob.buy_by(request).await, Reason::PriceChanged)
}

const UNITS: i64 = 5;
const ATTEMPTS: i64 = 8;

async fn no_oversell(cast: &Cast) -> anyhow::Result<()> {
    let rare = cast.alice.sell(draft("Rare vase", "home", 9_900, UNITS)).await?.item_id;
    let mut attempts = JoinSet::new();
    for _ in 0..ATTEMPTS {
        let connection = cast.dave.connection.clone();
        attempts.spawn(async move {
            let request = v1::BuyItemRequest { item_id: rare, quantity: 1, ..Default::default() };
            connection.call(request).await
        });
    }
    let (mut sold, mut sold_out) = (0, 0);
    while let Some(attempt) = attempts.join_next().await {
        match attempt? {
            Ok(_) => sold += 1,
            failed => {
                refused(failed, Reason::OutOfStock)?;
                sold_out += 1;
            }
        }
    }
    ensure!((sold, sold_out) == (UNITS, ATTEMPTS - UNITS), "{sold} sold, {sold_out} refused");
    Ok(())
}

async fn orders(cast: &Cast) -> anyhow::Result<()> {
    let request = v1::ListOrdersRequest::default();
    let listed = cast.bob.connection.call(request).await?.orders;
    ensure!(listed.len() == 1, "{} orders", listed.len());
    let request = v1::GetOrderRequest { order_id: listed[0].order_id };
    let shown = cast.bob.connection.call(request).await?.order;
    ensure!(shown.as_ref() == listed.first(), "{shown:?}");
    refused(cast.dave.connection.call(request).await, Reason::OrderNotFound)
}

async fn sales(cast: &Cast) -> anyhow::Result<()> {
    let request = v1::ListSalesRequest { item_id: cast.lamp, ..Default::default() };
    let sales = cast.alice.connection.call(request).await?.orders;
    ensure!(sales.len() == 1 && sales[0].buyer_name == "Bob", "{sales:?}");
    let request = v1::GetSaleRequest { order_id: sales[0].order_id };
    let shown = cast.alice.connection.call(request).await?.order;
    ensure!(shown.as_ref() == sales.first(), "{shown:?}");
    Ok(())
}

async fn cancel(cast: &Cast) -> anyhow::Result<()> {
    let before = cast.dave.item(cast.lamp).await?.quantity;
    let order_id = cast.dave.buy(cast.lamp, 3).await?.order_id;
    let cancelled = cast.dave.buyer().cancel(order_id).await?;
    ensure!(cancelled.status() == v1::OrderStatus::Cancelled, "{cancelled:?}");
    ensure!(cast.dave.item(cast.lamp).await?.quantity == before, "the units are not back");
    Ok(())
}

async fn rate(cast: &Cast) -> anyhow::Result<()> {
    let rating = cast.bob.rate(cast.lamp, 5).await?;
    ensure!((rating.count, rating.mean) == (1, 5.0), "{rating:?}");
    refused(cast.bob.rate(cast.lamp, 1).await, Reason::AlreadyRated)
}

async fn wishes(cast: &Cast) -> anyhow::Result<()> {
    cast.dave.wish(cast.lamp).await?;
    cast.dave.wish(cast.lamp).await?;
    let request = v1::ListWishlistRequest::default();
    let listed = cast.dave.connection.call(request.clone()).await?.wishes.len();
    ensure!(listed == 1, "{listed} wishes");
    cast.dave.buyer().unwish(cast.lamp).await?;
    let left = cast.dave.connection.call(request).await?.wishes.len();
    ensure!(left == 0, "{left} wishes are left");
    Ok(())
}

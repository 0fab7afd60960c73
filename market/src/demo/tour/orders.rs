//! Orders of several items, from the purchase to the delivery.

use anyhow::{Context as _, ensure};
use souk_proto::{
    Reason,
    v1::{self, event::Kind},
};
use souk_testkit::actor::{draft, pounds, refused};

use super::{Cast, Log};

pub(super) async fn tour(log: &mut Log, cast: &mut Cast) {
    log.step("several items are bought, all or none", &["BuyerService/PlaceOrder"], place(cast)).await;
    log.step(
        "an order is shipped and delivered, and the buyer is notified",
        &["SellerService/ShipSale", "SellerService/DeliverSale"],
        deliver(cast),
    )
    .await;
    log.step("a seller cancels with a reason", &["SellerService/CancelSale"], cancel_sale(cast)).await;
    log.step("sales are summed up", &["SellerService/SummarizeSales"], sum_up(cast)).await;
}

fn line(item_id: i64, quantity: i64) -> v1::OrderLine {
    v1::OrderLine { item_id, quantity, expected_unit_price: None }
}

async fn place(cast: &Cast) -> anyhow::Result<()> {
    let teapot = cast.alice.sell(draft("Teapot", "home/kitchen", 1_800, 4)).await?.item_id;
    let stool = cast.carol.sell(draft("Stool", "home", 4_500, 4)).await?.item_id;
    let dave = cast.dave.buyer();
    refused(dave.place([line(stool, 1), line(teapot, 3), line(teapot, 2)]).await, Reason::OutOfStock)?;
    ensure!(cast.dave.item(stool).await?.quantity == 4, "a refused basket sold something");
    let orders = dave.place([line(teapot, 1), line(stool, 2)]).await?;
    let sellers: Vec<_> = orders.iter().map(|order| order.seller_name.as_str()).collect();
    ensure!(sellers == ["Alice", "Carol"], "{orders:?}");
    Ok(())
}

async fn deliver(cast: &Cast) -> anyhow::Result<()> {
    let kettle = cast.alice.sell(draft("Kettle", "home/kitchen", 2_900, 2)).await?.item_id;
    let order_id = cast.bob.buy(kettle, 1).await?.order_id;
    let mut events = cast.bob.follow();
    let alice = cast.alice.seller();
    alice.ship(order_id).await?;
    ensure!(
        matches!(events.next().await?.kind, Some(Kind::OrderShipped(_))),
        "bob was not notified of the shipping"
    );
    let delivered = alice.deliver(order_id).await?;
    ensure!(delivered.status() == v1::OrderStatus::Delivered, "{delivered:?}");
    ensure!(
        matches!(events.next().await?.kind, Some(Kind::OrderDelivered(_))),
        "bob was not notified of the delivery"
    );
    events.close().await;
    refused(alice.deliver(order_id).await, Reason::OrderStatusConflict)
}

async fn cancel_sale(cast: &Cast) -> anyhow::Result<()> {
    let jug = cast.alice.sell(draft("Jug", "home/kitchen", 900, 3)).await?.item_id;
    let order_id = cast.dave.buy(jug, 3).await?.order_id;
    let cancelled = cast.alice.seller().cancel(order_id, "cracked").await?;
    ensure!(
        cancelled.cancelled_by() == v1::Role::Seller && cancelled.cancel_reason == "cracked",
        "{cancelled:?}"
    );
    ensure!(cast.dave.item(jug).await?.quantity == 3, "the units are not back");
    Ok(())
}

async fn sum_up(cast: &Cast) -> anyhow::Result<()> {
    let time = |seconds| Some(souk_proto::Timestamp { seconds, nanos: 0 });
    let now = souk_certs::clock::now().unix_timestamp();
    let request = v1::SummarizeSalesRequest {
        from_time: time(now - 3_600),
        until_time: time(now + 3_600),
        ..Default::default()
    };
    let summary = cast.carol.connection.call(request);
    let summary = summary.await?;
    let best = summary.items.first().context("an item")?;
    ensure!(best.item_name == "Stool" && best.revenue == pounds(9_000), "{best:?}");
    ensure!(summary.days.iter().map(|day| day.order_count).sum::<i64>() == 2, "{summary:?}");
    Ok(())
}

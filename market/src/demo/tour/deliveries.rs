//! Events: by callback, by stream, and to clients that were offline.

use anyhow::{Context as _, bail, ensure};
use souk_proto::v1::{self, event::Kind};
use souk_testkit::actor::{Actor, EVENT_PATIENCE, EventReceiver, draft, pounds};
use tokio::time::{Instant, sleep};

use super::{ANY_PORT, Log, Scene};

pub(super) async fn tour(log: &mut Log, scene: &mut Scene) {
    log.step(
        "the seller is notified of each purchase by callback",
        &["NotificationService/NotifyClient"],
        told_by_callback(scene),
    )
    .await;
    log.step(
        "a seller behind NAT is notified by a stream",
        &["EventService/Subscribe"],
        told_by_stream(scene),
    )
    .await;
    log.step("a wishing buyer is notified of a change, and of the withdrawal", &[], wisher_is_told(scene))
        .await;
    log.step("an offline seller gets every event once when it comes back", &[], offline_and_back(scene))
        .await;
    log.step("a test event arrives", &["EventService/TestEvent"], test_event(scene)).await;
    log.step(
        "a mailbox is inspected and emptied",
        &["EventService/MailboxStatus", "EventService/Acknowledge"],
        acknowledge(scene),
    )
    .await;
    log.step("the market is restarted: nothing is lost, and clients continue", &[], restart(scene)).await;
}

async fn order_placed(ears: &mut EventReceiver) -> anyhow::Result<v1::Order> {
    match ears.next().await?.kind {
        Some(Kind::OrderPlaced(placed)) => placed.order.context("an order"),
        other => bail!("not a purchase: {other:?}"),
    }
}

/// Waits until a mailbox is empty.
async fn emptied(actor: &Actor) -> anyhow::Result<()> {
    let deadline = Instant::now() + EVENT_PATIENCE;
    while actor.mailbox().await?.pending_count > 0 {
        ensure!(Instant::now() < deadline, "events are still waiting");
        sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Checks the events so far: Bob's two lamps, Dave's five vases, Dave's order and its cancellation.
async fn told_by_callback(scene: &mut Scene) -> anyhow::Result<()> {
    let first = order_placed(&mut scene.alice_hears).await?;
    ensure!(first.buyer_name == "Bob" && first.quantity == 2, "{first:?}");
    for _ in 0..6 {
        order_placed(&mut scene.alice_hears).await?;
    }
    let last = scene.alice_hears.next().await?;
    ensure!(matches!(last.kind, Some(Kind::OrderCancelled(_))), "{last:?}");
    emptied(&scene.alice).await
}

async fn told_by_stream(scene: &Scene) -> anyhow::Result<()> {
    let mut ears = scene.carol.follow();
    let soap = scene.carol.sell(draft("Soap", "home/bath", 250, 9)).await?.item_id;
    let order = scene.bob.buy(soap, 1).await?;
    ensure!(order_placed(&mut ears).await? == order, "another order");
    emptied(&scene.carol).await?;
    ears.close().await;
    Ok(())
}

async fn wisher_is_told(scene: &Scene) -> anyhow::Result<()> {
    let mut ears = scene.bob.follow();
    let rug = scene.carol.sell(draft("Rug", "home", 5_000, 2)).await?.item_id;
    scene.bob.wish(rug).await?;
    let cheaper = v1::ItemDraft { unit_price: pounds(4_500), ..Default::default() };
    scene.carol.update(rug, cheaper).await?;
    match ears.next().await?.kind {
        Some(Kind::ItemUpdated(updated)) => {
            ensure!(updated.changed_fields == ["unit_price"], "{updated:?}");
        }
        other => bail!("not a change: {other:?}"),
    }
    scene.carol.delete(rug).await?;
    let gone = ears.next().await?;
    ensure!(matches!(gone.kind, Some(Kind::ItemWithdrawn(_))), "{gone:?}");
    emptied(&scene.bob).await?;
    ears.close().await;
    Ok(())
}

async fn offline_and_back(scene: &mut Scene) -> anyhow::Result<()> {
    let port = scene.alice_hears.port().context("a callback server")?;
    let away = std::mem::replace(&mut scene.alice_hears, scene.carol.listen(ANY_PORT).await?);
    away.close().await;
    let mut placed = Vec::new();
    for _ in 0..3 {
        placed.push(scene.bob.buy(scene.lamp, 1).await?);
    }
    ensure!(scene.alice.mailbox().await?.pending_count == 3, "the orders do not wait");
    let back = scene.alice.listen((ANY_PORT.ip(), port).into()).await?;
    let instead = std::mem::replace(&mut scene.alice_hears, back);
    instead.close().await;
    // Registering again ends the back-off, so that the delivery is retried at once.
    scene.alice.register(Some(port)).await?;
    for order in placed {
        ensure!(order_placed(&mut scene.alice_hears).await? == order, "another order, or out of turn");
    }
    emptied(&scene.alice).await?;
    ensure!(scene.alice_hears.is_silent(), "something came twice");
    Ok(())
}

async fn test_event(scene: &mut Scene) -> anyhow::Result<()> {
    let request = v1::TestEventRequest {
        request_id: scene.alice.connection.request_id(),
        text: "is anybody there?".into(),
        ..Default::default()
    };
    let sent = scene.alice.connection.call(request).await?;
    let came = scene.alice_hears.next().await?;
    ensure!(came.event_id == sent.event_id, "another event: {came:?}");
    Ok(())
}

async fn acknowledge(scene: &Scene) -> anyhow::Result<()> {
    let request = v1::TestEventRequest {
        request_id: scene.dave.connection.request_id(),
        text: "for nobody".into(),
        ..Default::default()
    };
    scene.dave.connection.call(request).await?;
    ensure!(scene.dave.mailbox().await?.pending_count == 1, "the event does not wait");
    let request = v1::AcknowledgeRequest { sequence: 1 };
    let left = scene.dave.connection.call(request).await?.pending_count;
    ensure!(left == 0, "{left} events are left");
    Ok(())
}

async fn restart(scene: &mut Scene) -> anyhow::Result<()> {
    let before = scene.bob.item(scene.lamp).await?;
    scene.ground.restart().await?;
    ensure!(scene.bob.item(scene.lamp).await? == before, "the item has changed");
    scene.bob.buy(scene.lamp, 1).await?;
    order_placed(&mut scene.alice_hears).await?;
    emptied(&scene.alice).await
}

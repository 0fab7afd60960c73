//! Events: by callback, by stream, and to clients that were offline.

use anyhow::{Context as _, bail, ensure};
use souk_client::{Account, Notice, Seen, error::Refusal, follow::follow_as};
use souk_proto::{
    Reason,
    v1::{self, event::Kind},
};
use souk_testkit::actor::{Actor, EVENT_PATIENCE, EventReceiver, draft, pounds};
use tokio::time::{Instant, sleep};

use super::{ANY_PORT, Cast, Log};

pub(super) async fn tour(log: &mut Log, cast: &mut Cast) {
    log.step(
        "the seller is notified of each purchase by callback",
        &["NotificationService/NotifyClient"],
        notify_by_callback(cast),
    )
    .await;
    log.step(
        "a seller behind NAT is notified by a stream",
        &["EventService/Subscribe"],
        notify_by_stream(cast),
    )
    .await;
    log.step("a wishing buyer is notified of a change, and of the withdrawal", &[], notify_wisher(cast))
        .await;
    log.step("an offline seller gets every event once when it comes back", &[], offline_and_back(cast)).await;
    log.step("a test event arrives", &["EventService/TestEvent"], test_event(cast)).await;
    log.step(
        "a mailbox is inspected and emptied, and a consumer that is gone is removed",
        &["EventService/MailboxStatus", "EventService/Acknowledge", "EventService/RemoveConsumer"],
        acknowledge(cast),
    )
    .await;
    log.step("the market is restarted: nothing is lost, and clients continue", &[], restart(cast)).await;
}

async fn order_placed(events: &mut EventReceiver) -> anyhow::Result<v1::Order> {
    match events.next().await?.kind {
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
async fn notify_by_callback(cast: &mut Cast) -> anyhow::Result<()> {
    let first = order_placed(&mut cast.alice_events).await?;
    ensure!(first.buyer_name == "Bob" && first.quantity == 2, "{first:?}");
    for _ in 0..6 {
        order_placed(&mut cast.alice_events).await?;
    }
    let last = cast.alice_events.next().await?;
    ensure!(matches!(last.kind, Some(Kind::OrderCancelled(_))), "{last:?}");
    emptied(&cast.alice).await
}

async fn notify_by_stream(cast: &Cast) -> anyhow::Result<()> {
    let mut events = cast.carol.follow();
    let soap = cast.carol.sell(draft("Soap", "home/bath", 250, 9)).await?.item_id;
    let order = cast.bob.buy(soap, 1).await?;
    ensure!(order_placed(&mut events).await? == order, "another order");
    emptied(&cast.carol).await?;
    events.close().await;
    Ok(())
}

async fn notify_wisher(cast: &Cast) -> anyhow::Result<()> {
    let mut events = cast.bob.follow();
    let rug = cast.carol.sell(draft("Rug", "home", 5_000, 2)).await?.item_id;
    cast.bob.wish(rug).await?;
    let cheaper = v1::ItemDraft { unit_price: pounds(4_500), ..Default::default() };
    cast.carol.update(rug, cheaper).await?;
    match events.next().await?.kind {
        Some(Kind::ItemUpdated(updated)) => {
            ensure!(updated.changed_fields == ["unit_price"], "{updated:?}");
        }
        other => bail!("not a change: {other:?}"),
    }
    cast.carol.delete(rug).await?;
    let gone = events.next().await?;
    ensure!(matches!(gone.kind, Some(Kind::ItemWithdrawn(_))), "{gone:?}");
    emptied(&cast.bob).await?;
    events.close().await;
    Ok(())
}

async fn offline_and_back(cast: &mut Cast) -> anyhow::Result<()> {
    let port = cast.alice_events.port().context("a callback server")?;
    let away = std::mem::replace(&mut cast.alice_events, cast.carol.listen(ANY_PORT).await?);
    away.close().await;
    let mut placed = Vec::new();
    for _ in 0..3 {
        placed.push(cast.bob.buy(cast.lamp, 1).await?);
    }
    ensure!(cast.alice.mailbox().await?.pending_count == 3, "the orders do not wait");
    let back = cast.alice.listen((ANY_PORT.ip(), port).into()).await?;
    let instead = std::mem::replace(&mut cast.alice_events, back);
    instead.close().await;
    // Registering again ends the back-off, so that the delivery is retried at once.
    cast.alice.register(Some(port)).await?;
    for order in placed {
        ensure!(order_placed(&mut cast.alice_events).await? == order, "another order, or out of turn");
    }
    emptied(&cast.alice).await?;
    ensure!(cast.alice_events.is_silent(), "something came twice");
    Ok(())
}

async fn test_event(cast: &mut Cast) -> anyhow::Result<()> {
    let request = v1::TestEventRequest { text: "is anybody there?".into(), ..Default::default() };
    let sent = cast.alice.connection.call(request).await?;
    let came = cast.alice_events.next().await?;
    ensure!(came.event_id == sent.event_id, "another event: {came:?}");
    Ok(())
}

async fn acknowledge(cast: &Cast) -> anyhow::Result<()> {
    let request = v1::TestEventRequest { text: "for nobody".into(), ..Default::default() };
    cast.dave.connection.call(request).await?;
    ensure!(cast.dave.mailbox().await?.pending_count == 1, "the event does not wait");
    let request = v1::AcknowledgeRequest { sequence: 1, ..Default::default() };
    let left = cast.dave.connection.call(request).await?.pending_count;
    ensure!(left == 0, "{left} events are left");
    let (follower, mut notices) =
        follow_as(cast.dave.connection.clone(), Seen::in_memory(), "old-laptop".into());
    let opened = notices.recv().await;
    ensure!(matches!(opened, Some(Notice::Opened { kept: true, .. })), "{opened:?}");
    follower.close().await;
    let account = Account::new(cast.dave.connection.clone());
    // The market notices a moment later that the stream has ended.
    while let Err(error) = account.remove_consumer("old-laptop").await {
        ensure!(error.refusal().and_then(Refusal::reason) == Some(Reason::ConsumerConnected), "{error}");
        sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn restart(cast: &mut Cast) -> anyhow::Result<()> {
    let before = cast.bob.item(cast.lamp).await?;
    cast.market.restart().await?;
    ensure!(cast.bob.item(cast.lamp).await? == before, "the item has changed");
    cast.bob.buy(cast.lamp, 1).await?;
    order_placed(&mut cast.alice_events).await?;
    emptied(&cast.alice).await
}

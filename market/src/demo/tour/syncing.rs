//! A till, on one bidirectional stream.

use anyhow::{bail, ensure};
use souk_client::{TillNotice, till};
use souk_proto::{
    Reason,
    v1::{self, SyncLine, sync_acknowledgement::Result as SyncResult, sync_line},
};
use souk_testkit::actor::{EVENT_PATIENCE, draft, refused};
use tokio::{sync::mpsc, time::timeout};

use super::{Cast, Log};

pub(super) async fn tour(log: &mut Log, cast: &mut Cast) {
    log.step(
        "a till syncs, gets a sale, is cut off, and resumes without a lost or doubled line",
        &["SellerService/SyncInventory"],
        sync(cast),
    )
    .await;
    log.step(
        "tills are listed and removed",
        &["SellerService/ListTills", "SellerService/RemoveTill"],
        remove(cast),
    )
    .await;
}

fn line(number: i64, item_id: i64, delta: i64) -> SyncLine {
    let item = Some(sync_line::Item::ItemId(item_id));
    SyncLine { line: number, item, change: Some(sync_line::Change::QuantityDelta(delta)) }
}

/// Waits for a line's answer, and returns the stock and whether the line was a repetition.
async fn answer(notices: &mut mpsc::Receiver<TillNotice>) -> anyhow::Result<(i64, bool)> {
    loop {
        match timeout(EVENT_PATIENCE, notices.recv()).await? {
            Some(TillNotice::Acknowledged(answer)) => match answer.result {
                Some(SyncResult::Stock(stock)) => return Ok((stock.quantity, answer.repeated)),
                other => bail!("{other:?}"),
            },
            Some(TillNotice::Ended(failure)) => bail!("the stream ended: {failure}"),
            Some(_) => {}
            None => bail!("the stream is gone"),
        }
    }
}

async fn sale(notices: &mut mpsc::Receiver<TillNotice>) -> anyhow::Result<v1::Event> {
    loop {
        match timeout(EVENT_PATIENCE, notices.recv()).await? {
            Some(TillNotice::Event(event)) => return Ok(event),
            Some(TillNotice::Ended(failure)) => bail!("the stream ended: {failure}"),
            Some(_) => {}
            None => bail!("the stream is gone"),
        }
    }
}

async fn sync(cast: &mut Cast) -> anyhow::Result<()> {
    let kettle = cast.carol.sell(draft("Kettle", "home/kitchen", 2_000, 10)).await?.item_id;
    let (till, mut notices) = till::open(cast.carol.connection.clone(), "shop".into(), 0);
    till.send(line(1, kettle, -3)).await?;
    ensure!(answer(&mut notices).await? == (7, false), "the first line");
    cast.bob.buy(kettle, 2).await?;
    let sold = sale(&mut notices).await?;
    drop((till, notices));
    // The till has not acknowledged the sale, and does not know whether its line took effect.
    let (till, mut notices) = till::open(cast.carol.connection.clone(), "shop".into(), 0);
    let again = sale(&mut notices).await?;
    ensure!(again == sold, "{again:?}");
    till.take_in(again.sequence);
    till.send(line(1, kettle, -3)).await?;
    till.send(line(2, kettle, 10)).await?;
    ensure!(answer(&mut notices).await? == (7, true), "the first line again");
    ensure!(answer(&mut notices).await? == (15, false), "the second line");
    Ok(())
}

async fn remove(cast: &Cast) -> anyhow::Result<()> {
    let carol = cast.carol.seller();
    let listed = carol.tills().await?;
    ensure!(listed.len() == 1 && listed[0].last_line == 2, "{listed:?}");
    carol.remove_till("shop").await?;
    refused(carol.remove_till("shop").await, Reason::TillNotFound)
}

//! The clients, whose calls are recorded.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::bail;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use souk_client::{Connection, Refusal};
use souk_proto::v1;
use tokio::time::{Instant, sleep};

use super::{
    checker::Effect,
    ratings::Ratings,
    recorder::{Call, Recorder},
};
use crate::trade::call::{Attempt, attempt, is_out_of_stock, was_not_sent};

/// Share of calls without an answer that most clients give up on; they repeat the others until they have one.
const GIVES_UP: f64 = 0.3;
/// The share of a client that repeats every call until it has an answer.
pub(super) const NEVER: f64 = 0.0;
/// Pause before a repetition.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
/// How long a call is repeated.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// Units are added only while at least this share of calls is refused.
const REFUSED_SHARE: f64 = 0.3;
/// The most units bought at a time.
const UNITS: i64 = 3;

/// What the clients have in common.
pub(super) struct Hall {
    pub(super) recorder: Recorder,
    pub(super) items: Vec<i64>,
    pub(super) stop: AtomicBool,
    pub(super) ratings: Ratings,
}

/// How a call ended for its client.
pub(super) enum Ended<T> {
    Acknowledged(T),
    Refused(Box<Refusal>),
    GivenUp,
}

/// Makes a call. Without an answer, gives up or repeats it, by chance.
pub(super) async fn call<T, F: Future<Output = Attempt<T>>>(
    hall: &Hall,
    random: &mut StdRng,
    gives_up: f64,
    mut send: impl FnMut() -> F,
) -> anyhow::Result<Ended<T>> {
    let (began, mut may_have_been_sent) = (Instant::now(), false);
    loop {
        match send().await {
            Attempt::Acknowledged(answer) => return Ok(Ended::Acknowledged(answer)),
            Attempt::Refused(refusal) => return Ok(Ended::Refused(refusal)),
            Attempt::Unknown(failure) => {
                if began.elapsed() > PATIENCE {
                    bail!("a call still fails after {PATIENCE:?}: {failure}");
                }
                if !was_not_sent(&failure) && !may_have_been_sent {
                    may_have_been_sent = true;
                    hall.recorder.unknown.fetch_add(1, Ordering::Relaxed);
                    if random.random_bool(gives_up) {
                        return Ok(Ended::GivenUp);
                    }
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Buys, cancels and reads.
pub(super) async fn buy(hall: Arc<Hall>, buyer: Connection, seed: u64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut own: Vec<v1::Order> = Vec::new();
    while !hall.stop.load(Ordering::SeqCst) {
        match random.random_range(0..100) {
            0..12 if !own.is_empty() => {
                let order = own.swap_remove(random.random_range(0..own.len()));
                cancel(&hall, &buyer, &mut random, &order, GIVES_UP).await?;
            }
            0..20 => read(&hall, &buyer, &mut random).await?,
            _ => {
                let item = hall.items[random.random_range(0..hall.items.len())];
                own.extend(buy_one(&hall, &buyer, &mut random, item, GIVES_UP).await?);
            }
        }
    }
    Ok(())
}

/// Buys units of an item. Returns the order, unless the purchase was refused or the client gave up.
pub(super) async fn buy_one(
    hall: &Hall,
    buyer: &Connection,
    random: &mut StdRng,
    item_id: i64,
    gives_up: f64,
) -> anyhow::Result<Option<v1::Order>> {
    let quantity = random.random_range(1..=UNITS);
    let request =
        v1::BuyItemRequest { request_id: buyer.request_id(), item_id, quantity, ..Default::default() };
    let invoked = hall.recorder.now();
    let ended = call(hall, random, gives_up, || {
        let (mut client, request) = (buyer.buyer(), request.clone());
        async move {
            attempt(buyer.market(), client.buy_item(request)).await.field("order", |answer| answer.order)
        }
    });
    let ended = ended.await?;
    let returned = Some(hall.recorder.now());
    let bought = Call {
        item: item_id,
        invoked,
        returned,
        effect: Effect::Change { units: -quantity, after: None },
        order: None,
    };
    match ended {
        Ended::Acknowledged(order) => {
            hall.recorder.record(Call { order: Some((order.order_id, false)), ..bought });
            return Ok(Some(order));
        }
        Ended::Refused(refusal) if is_out_of_stock(&refusal) => {
            let available = refusal.metadata().get("available").and_then(|units| units.parse().ok());
            let Some(available) = available else { bail!("the refusal does not tell the stock: {refusal}") };
            hall.recorder.record(Call { effect: Effect::Refused { units: quantity, available }, ..bought });
        }
        Ended::Refused(refusal) => bail!("a purchase was refused: {refusal}"),
        Ended::GivenUp => hall.recorder.record(Call { returned: None, ..bought }),
    }
    Ok(None)
}

pub(super) async fn cancel(
    hall: &Hall,
    buyer: &Connection,
    random: &mut StdRng,
    order: &v1::Order,
    gives_up: f64,
) -> anyhow::Result<()> {
    let request = v1::CancelOrderRequest {
        request_id: buyer.request_id(),
        order_id: order.order_id,
        ..Default::default()
    };
    let invoked = hall.recorder.now();
    let ended = call(hall, random, gives_up, || {
        let (mut client, request) = (buyer.buyer(), request.clone());
        async move { attempt(buyer.market(), client.cancel_order(request)).await }
    });
    let ended = ended.await?;
    let cancelled = Call {
        item: order.item_id,
        invoked,
        returned: Some(hall.recorder.now()),
        effect: Effect::Change { units: order.quantity, after: None },
        // The seller is notified of it with the stock.
        order: Some((order.order_id, true)),
    };
    match ended {
        Ended::Acknowledged(_) => hall.recorder.record(cancelled),
        Ended::Refused(refusal) => bail!("a cancellation was refused: {refusal}"),
        Ended::GivenUp => hall.recorder.record(Call { returned: None, order: None, ..cancelled }),
    }
    Ok(())
}

async fn read(hall: &Hall, buyer: &Connection, random: &mut StdRng) -> anyhow::Result<()> {
    let item_id = hall.items[random.random_range(0..hall.items.len())];
    let invoked = hall.recorder.now();
    let mut client = buyer.catalog();
    let read = attempt(buyer.market(), client.get_item(v1::GetItemRequest { item_id })).await;
    if let Attempt::Acknowledged(v1::GetItemResponse { item: Some(item) }) = read {
        let effect = Effect::Read { stock: item.quantity };
        hall.recorder.record(Call {
            item: item_id,
            invoked,
            returned: Some(hall.recorder.now()),
            effect,
            order: None,
        });
    }
    Ok(())
}

/// Adds units to the item of a seller.
pub(super) async fn restock(hall: Arc<Hall>, seller: Connection, item: i64, seed: u64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    while !hall.stop.load(Ordering::SeqCst) {
        let operations = hall.recorder.operations.load(Ordering::Relaxed);
        let refusals = hall.recorder.refusals.load(Ordering::Relaxed);
        if (refusals as f64) < REFUSED_SHARE * operations as f64 {
            sleep(PAUSE).await;
            continue;
        }
        let units = random.random_range(1..=4 * UNITS);
        let request_id = seller.request_id();
        let request = v1::UpdateItemRequest {
            request_id,
            item_id: item,
            quantity_delta: Some(units),
            ..Default::default()
        };
        let (invoked, market) = (hall.recorder.now(), seller.market());
        let ended = call(&hall, &mut random, GIVES_UP, || {
            let (mut client, request) = (seller.seller(), request.clone());
            async move { attempt(market, client.update_item(request)).await.field("item", |answer| answer.item) }
        });
        let ended = ended.await?;
        let added = |returned, after| Call {
            item,
            invoked,
            returned,
            effect: Effect::Change { units, after },
            order: None,
        };
        let now = hall.recorder.now();
        match ended {
            Ended::Acknowledged(item) => hall.recorder.record(added(Some(now), Some(item.quantity))),
            Ended::Refused(refusal) => bail!("a restock was refused: {refusal}"),
            Ended::GivenUp => hall.recorder.record(added(None, None)),
        }
    }
    Ok(())
}

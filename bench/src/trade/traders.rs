//! What the parties do.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::bail;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use souk_proto::v1;
use tokio::time::{Instant, sleep};

use super::{
    BUYERS, CALLS_OF_BUYER, Parties, SCARCE, SCARCE_STOCK,
    call::{Attempt, attempt, was_not_sent},
    journal::Entry,
};

/// How long a call is repeated while its outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(180);
/// Pause before a repetition.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause between two deliveries of goods.
const RESTOCK_PAUSE: Duration = Duration::from_millis(50);
/// A cancelled order is chosen among the last so many of a slot.
const RECENT: usize = 20;

/// The outcome of a call in the end; `None` if it was refused.
type Known<T> = anyhow::Result<Option<T>>;

/// Repeats a call until its outcome is known. `was_served` is whether the slot's previous attempt was answered.
async fn settle<T, F: Future<Output = Attempt<T>>>(
    parties: &Parties,
    was_served: &mut bool,
    mut call: impl FnMut() -> F,
) -> Known<T> {
    let began = Instant::now();
    loop {
        match call().await {
            Attempt::Acknowledged(answer) => {
                *was_served = true;
                return Ok(Some(answer));
            }
            Attempt::Refused(_) => {
                *was_served = true;
                parties.progress.refused.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            Attempt::Unknown(failure) if began.elapsed() > PATIENCE => {
                bail!("a call still fails after {PATIENCE:?}: {failure}")
            }
            Attempt::Unknown(failure) => {
                parties.progress.note(&failure);
                if std::mem::replace(was_served, false) && !was_not_sent(&failure) {
                    parties.progress.cut_off.fetch_add(1, Ordering::Relaxed);
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Buys and cancels in one slot of a buyer, until told to stop.
pub(super) async fn buy(parties: Arc<Parties>, slot: usize, seed: u64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1_000) + slot as u64);
    let buyer = slot % BUYERS;
    let connection = &parties.buyers[buyer];
    let market = connection.market();
    let (mut own, mut was_served) = (Vec::new(), false);
    debug_assert!(slot < BUYERS * CALLS_OF_BUYER, "each slot belongs to a buyer");
    while !parties.progress.stop.load(Ordering::SeqCst) {
        let request_id = connection.request_id();
        if !own.is_empty() && random.random_bool(0.15) {
            let order_id: i64 = own.swap_remove(random.random_range(0..own.len()));
            let request = v1::CancelOrderRequest { request_id, order_id, ..Default::default() };
            let cancelled = settle(&parties, &mut was_served, || {
                let (mut client, request) = (connection.buyer(), request.clone());
                async move {
                    attempt(market, client.cancel_order(request)).await.field("order", |answer| answer.order)
                }
            });
            if let Some(order) = cancelled.await? {
                parties.journal.acknowledge(Entry::Cancelled { buyer, request, order })?;
            }
            continue;
        }
        let among =
            if random.random_bool(0.3) { SCARCE.min(parties.items.len()) } else { parties.items.len() };
        let item_id = parties.items[random.random_range(0..among)];
        let quantity = random.random_range(1..=3);
        let request = v1::BuyItemRequest { request_id, item_id, quantity, ..Default::default() };
        let bought = settle(&parties, &mut was_served, || {
            let (mut client, request) = (connection.buyer(), request.clone());
            async move { attempt(market, client.buy_item(request)).await.field("order", |answer| answer.order) }
        });
        if let Some(order) = bought.await? {
            own.push(order.order_id);
            if own.len() > RECENT {
                own.swap_remove(0);
            }
            parties.journal.acknowledge(Entry::Bought { buyer, request, order })?;
        }
    }
    Ok(())
}

/// Adds units to the scarce items, until told to stop.
pub(super) async fn restock(parties: Arc<Parties>, scarce: usize, seed: u64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut was_served = false;
    while !parties.progress.stop.load(Ordering::SeqCst) {
        sleep(RESTOCK_PAUSE).await;
        let seller = random.random_range(0..scarce.min(parties.sellers.len()));
        let connection = &parties.sellers[seller];
        let request = v1::UpdateItemRequest {
            request_id: connection.request_id(),
            item_id: parties.items[seller],
            quantity_delta: Some(random.random_range(1..=SCARCE_STOCK)),
            ..Default::default()
        };
        let restocked = settle(&parties, &mut was_served, || {
            let (mut client, request) = (connection.seller(), request.clone());
            async move { attempt(connection.market(), client.update_item(request)).await }
        });
        if restocked.await?.is_some() {
            parties.journal.acknowledge(Entry::Restocked { seller, request })?;
        }
    }
    Ok(())
}

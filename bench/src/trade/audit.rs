//! Compares what the market has with what it has acknowledged.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use souk_client::Pages;
use souk_proto::v1;

use super::{Parties, journal::Entry, listeners::OrderEvent};
use crate::site::until;

/// Calls in flight while checking.
const CHECKS_AT_ONCE: usize = 16;

/// What is wrong. All of it must be 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Findings {
    /// Acknowledged changes that are not there.
    pub(crate) lost: usize,
    /// Orders that exist twice: for a request that was repeated, or for none.
    pub(crate) doubled: usize,
    /// Units sold beyond what was supplied.
    pub(crate) oversold: i64,
    /// Units by which stock differs from supplied - sold.
    pub(crate) imbalance: i64,
}

impl Findings {
    /// Adds other findings.
    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.oversold += other.oversold;
        self.imbalance += other.imbalance;
    }

    /// Returns whether nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.oversold == 0 && self.imbalance == 0
    }
}

/// Returns how many acknowledged orders and cancellations are not there.
pub(super) async fn lost(parties: &Parties, entries: &[Entry]) -> anyhow::Result<usize> {
    count(entries.iter().map(|entry| is_lost(parties, entry))).await
}

/// Repeats the requests, and returns how many are not answered as before.
pub(super) async fn doubled(parties: &Parties, entries: &[Entry]) -> anyhow::Result<usize> {
    count(entries.iter().map(|entry| is_doubled(parties, entry))).await
}

/// Counts how often a check finds something wrong.
async fn count(
    checks: impl Iterator<Item = impl Future<Output = anyhow::Result<bool>>>,
) -> anyhow::Result<usize> {
    let found = stream::iter(checks).buffer_unordered(CHECKS_AT_ONCE);
    found.try_fold(0, async |sum, is_wrong| Ok(sum + usize::from(is_wrong))).await
}

async fn is_lost(parties: &Parties, entry: &Entry) -> anyhow::Result<bool> {
    let (Entry::Bought { buyer, order, .. } | Entry::Cancelled { buyer, order, .. }) = entry else {
        return Ok(false);
    };
    let request = v1::GetOrderRequest { order_id: order.order_id };
    let kept = match parties.buyers[*buyer].call(request).await {
        Ok(answer) => answer.order.context("an order")?,
        Err(souk_client::Error::Refused(_)) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let is_cancelled = kept.status() == v1::OrderStatus::Cancelled;
    let must_be_cancelled = matches!(entry, Entry::Cancelled { .. });
    // It may have been cancelled later.
    Ok(!is_same(&kept, order) || (must_be_cancelled && !is_cancelled))
}

/// Returns whether two states are of one order. An order that took the number of a lost one has another time.
fn is_same(one: &v1::Order, other: &v1::Order) -> bool {
    let key = |order: &v1::Order| (order.order_id, order.item_id, order.quantity, order.place_time);
    key(one) == key(other) && one.buyer_id == other.buyer_id
}

async fn is_doubled(parties: &Parties, entry: &Entry) -> anyhow::Result<bool> {
    match entry {
        Entry::Bought { buyer, request, order } => {
            let repeated = parties.buyers[*buyer].call(request.clone()).await;
            Ok(!repeated.is_ok_and(|answer| answer.order.is_some_and(|again| is_same(&again, order))))
        }
        Entry::Cancelled { buyer, request, .. } => {
            Ok(parties.buyers[*buyer].call(request.clone()).await.is_err())
        }
        // A second effect would show as an imbalance.
        Entry::Restocked { seller, request } => {
            Ok(parties.sellers[*seller].call(request.clone()).await.is_err())
        }
    }
}

/// Compares all orders and stocks.
pub(super) async fn compare(parties: &Parties) -> anyhow::Result<Findings> {
    let entries = parties.journal.since(0);
    let mut findings = Findings::default();
    let mut found = HashMap::new();
    for buyer in &parties.buyers {
        let request = v1::ListOrdersRequest { page_size: 200, ..Default::default() };
        let orders: Vec<v1::Order> = Pages::new(buyer.clone(), request).all().await?;
        found.extend(orders.into_iter().map(|order| (order.order_id, order)));
    }
    let (mut numbers, mut supplied) = (HashSet::new(), parties.stock.clone());
    for entry in &entries {
        match entry {
            Entry::Bought { order, .. } => {
                findings.doubled += usize::from(!numbers.insert(order.order_id));
                let is_there = found.get(&order.order_id).is_some_and(|kept| is_same(kept, order));
                findings.lost += usize::from(!is_there);
            }
            Entry::Cancelled { order, .. } => {
                let kept = found.get(&order.order_id).map(v1::Order::status);
                findings.lost += usize::from(kept != Some(v1::OrderStatus::Cancelled));
            }
            Entry::Restocked { request, .. } => {
                *supplied.entry(request.item_id).or_default() += request.quantity_delta.unwrap_or(0);
            }
        }
    }
    // Every outcome is known, so there is an acknowledgement for each order.
    findings.doubled += found.keys().filter(|number| !numbers.contains(number)).count();
    let mut sold: HashMap<i64, i64> = HashMap::new();
    for order in found.values().filter(|order| order.status() != v1::OrderStatus::Cancelled) {
        *sold.entry(order.item_id).or_default() += order.quantity;
    }
    for (item_id, supplied) in supplied {
        let answer = parties.buyers[0].call(v1::GetItemRequest { item_id }).await?;
        let remaining = answer.item.context("an item")?.quantity;
        let sold = sold.get(&item_id).copied().unwrap_or(0);
        findings.oversold += (sold - supplied).max(0);
        findings.imbalance += (supplied - sold - remaining).abs();
    }
    Ok(findings)
}

/// Returns the notifications that the sellers must get: of each acknowledged purchase and cancellation.
fn notifications(parties: &Parties) -> HashSet<OrderEvent> {
    let entries = parties.journal.since(0);
    let events = entries.iter().filter_map(|entry| match entry {
        Entry::Bought { order, .. } => Some((order.order_id, false)),
        Entry::Cancelled { order, .. } => Some((order.order_id, true)),
        Entry::Restocked { .. } => None,
    });
    events.collect()
}

/// Waits for the notifications at the sellers' callback servers. Returns the number of those that have not come.
pub(super) async fn undelivered(parties: &Parties, patience: Duration) -> usize {
    let expected = notifications(parties);
    until(patience, || parties.arrivals.missing(&expected) == 0).await;
    parties.arrivals.missing(&expected)
}

/// Returns how many notifications are not in the sellers' mailboxes.
pub(super) async fn lost_events(parties: &Parties) -> anyhow::Result<usize> {
    let mut waiting = 0;
    for seller in &parties.sellers {
        waiting += seller.call(v1::MailboxStatusRequest::default()).await?.pending_count;
    }
    Ok(notifications(parties).len().saturating_sub(usize::try_from(waiting)?))
}

//! Any number of buyers behind a few connections, at a market that lets a call act as any buyer.

use std::sync::Arc;

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use souk_client::Connection;
use souk_proto::v1;
use tonic::{Code, Request, metadata::MetadataValue};
use uuid::Uuid;

use crate::{
    load::{CONNECTIONS, CallOutcome, IN_FLIGHT},
    made_up::Draws,
    unguarded::ACTING,
};

/// One of this many orders is placed by buyer 0, so that it has many.
const OF_BIG_BUYER: u64 = 20;
/// Marks the ids of these buyers.
const IDS: u128 = 0x6c61_7267_6500_4000_8000_0000_0000_0000;

/// The buyers.
#[derive(Clone)]
pub(super) struct Crowd {
    connections: Arc<[Connection]>,
    pub(super) size: u64,
    /// The number of attempted orders.
    pub(super) orders: u64,
}

impl Crowd {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        Self { connections: connections.into(), size: 0, orders: 0 }
    }

    /// Uses new connections after a restart of the market.
    pub(super) fn reconnect(&mut self, connections: Vec<Connection>) {
        self.connections = connections.into();
    }

    /// Returns a connection for a call with a number.
    pub(super) fn connection(&self, number: u64) -> &Connection {
        &self.connections[usize::try_from(number).unwrap_or(0) % self.connections.len()]
    }

    pub(super) fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// Registers buyers until there are `to`, all of whom wish for an item.
    pub(super) async fn grow(&mut self, to: u64, wished: i64) -> anyhow::Result<()> {
        let crowd = &self.clone();
        let calls = stream::iter(self.size..to).map(|number| async move {
            let connection = crowd.connection(number);
            let display_name = format!("crowd {number}");
            let request = v1::RegisterBuyerRequest {
                request_id: connection.request_id(),
                display_name,
                ..Default::default()
            };
            connection.account().register_buyer(acting(number, request)?).await?;
            let request_id = connection.request_id();
            let wish = v1::AddToWishlistRequest { request_id, item_id: wished, ..Default::default() };
            connection.buyer().add_to_wishlist(acting(number, wish)?).await?;
            anyhow::Ok(())
        });
        let mut calls = calls.buffer_unordered(CONNECTIONS * IN_FLIGHT);
        while let Some(call) = calls.next().await {
            call?;
        }
        drop(calls);
        self.size = to;
        Ok(())
    }

    /// Attempts orders of random buyers for random items until there are `to` attempts. Returns how many were placed.
    pub(super) async fn order(&mut self, to: u64, items: u64) -> anyhow::Result<u64> {
        let (crowd, first) = (self.clone(), self.orders);
        let calls = stream::iter(first..to).map(|number| buy(&crowd, number, items));
        let mut calls = calls.buffer_unordered(CONNECTIONS * IN_FLIGHT);
        let mut placed = 0;
        while let Some(outcome) = calls.next().await {
            placed += u64::from(outcome? == CallOutcome::CarriedOut);
        }
        drop(calls);
        self.orders = to;
        Ok(placed)
    }
}

/// Buys one unit of a random item as a random buyer. Items that are out of stock count as refused.
pub(super) async fn buy(crowd: &Crowd, number: u64, items: u64) -> anyhow::Result<CallOutcome> {
    let mut random = Draws(number);
    let buyer = if number.is_multiple_of(OF_BIG_BUYER) { 0 } else { random.below(crowd.size) };
    let connection = crowd.connection(number);
    let request = v1::BuyItemRequest {
        request_id: connection.request_id(),
        item_id: i64::try_from(1 + random.below(items))?,
        quantity: 1,
        ..Default::default()
    };
    match connection.buyer().buy_item(acting(buyer, request)?).await {
        Ok(_) => Ok(CallOutcome::CarriedOut),
        Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => {
            Ok(CallOutcome::Refused)
        }
        Err(status) => Err(status.into()),
    }
}

/// Returns a request that acts as a buyer.
pub(super) fn acting<T>(buyer: u64, message: T) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    let id = Uuid::from_u128(IDS | u128::from(buyer)).to_string();
    let value = MetadataValue::try_from(id).context("a UUID is plain")?;
    request.metadata_mut().insert(ACTING, value);
    Ok(request)
}

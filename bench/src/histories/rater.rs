//! A buyer who rates an item, buys and cancels. It repeats each call until it has an answer, and nobody else rates the item.
//! So its rating is known after each call, whatever has happened to connections and the market: it lasts until the buyer
//! cancels its last order. A cancellation by the seller does not withdraw it.

use std::sync::{Arc, atomic::Ordering};

use anyhow::bail;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use souk_client::Connection;
use souk_proto::v1;
use tokio::time::{Instant, sleep};

use super::{
    checker::Effect,
    clients::{Ended, Hall, NEVER, PATIENCE, PAUSE, buy_one, call, cancel},
    recorder::Call,
};
use crate::trade::call::{Attempt, attempt};

/// The most orders that the buyer has at a time. Few, so that it often cancels the last one.
const ORDERS: usize = 2;

pub(super) struct Rater {
    hall: Arc<Hall>,
    buyer: Connection,
    /// The item's seller.
    seller: Connection,
    item: i64,
    random: StdRng,
    /// The orders that were not cancelled.
    own: Vec<v1::Order>,
    /// The stars that the buyer has given, while they last.
    stars: Option<i32>,
}

impl Rater {
    pub(super) fn new(hall: Arc<Hall>, buyer: Connection, seller: Connection, item: i64, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { hall, buyer, seller, item, random, own: Vec::new(), stars: None }
    }

    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        while !self.hall.stop.load(Ordering::SeqCst) {
            match self.random.random_range(0..10) {
                0..3 if !self.own.is_empty() => self.cancel().await?,
                3 if !self.own.is_empty() => self.cancel_as_seller().await?,
                4..8 if !self.own.is_empty() => self.rate().await?,
                _ if self.own.len() < ORDERS => {
                    let Self { hall, buyer, random, item, .. } = &mut self;
                    let bought = buy_one(hall, buyer, random, *item, NEVER).await?;
                    self.own.extend(bought);
                }
                _ => {}
            }
            self.check().await?;
        }
        Ok(())
    }

    fn any_order(&mut self) -> v1::Order {
        self.own.swap_remove(self.random.random_range(0..self.own.len()))
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        let order = self.any_order();
        cancel(&self.hall, &self.buyer, &mut self.random, &order, NEVER).await?;
        if self.own.is_empty() {
            self.stars = None;
        }
        Ok(())
    }

    async fn cancel_as_seller(&mut self) -> anyhow::Result<()> {
        let order = self.any_order();
        let request = v1::CancelSaleRequest {
            request_id: self.seller.request_id(),
            order_id: order.order_id,
            reason: "changed my mind".into(),
            ..Default::default()
        };
        let invoked = self.hall.recorder.now();
        let seller = &self.seller;
        let ended = call(&self.hall, &mut self.random, NEVER, || {
            let (mut client, request) = (seller.seller(), request.clone());
            async move { attempt(seller.market(), client.cancel_sale(request)).await }
        });
        let Ended::Acknowledged(_) = ended.await? else { bail!("a seller's cancellation was refused") };
        self.hall.recorder.record(Call {
            item: self.item,
            invoked,
            returned: Some(self.hall.recorder.now()),
            effect: Effect::Change { units: order.quantity, after: None },
            // The buyer is notified, and has no listener.
            order: None,
        });
        Ok(())
    }

    async fn rate(&mut self) -> anyhow::Result<()> {
        let stars = self.random.random_range(1..=5);
        let request = v1::RateItemRequest {
            request_id: self.buyer.request_id(),
            item_id: self.item,
            stars,
            update_existing: true,
            ..Default::default()
        };
        let buyer = &self.buyer;
        let ended = call(&self.hall, &mut self.random, NEVER, || {
            let (mut client, request) = (buyer.buyer(), request.clone());
            async move { attempt(buyer.market(), client.rate_item(request)).await }
        });
        let Ended::Acknowledged(_) = ended.await? else { bail!("a rating was refused") };
        self.stars = Some(stars);
        Ok(())
    }

    /// Reads the item, and compares its rating.
    async fn check(&self) -> anyhow::Result<()> {
        let (mut client, began) = (self.buyer.catalog(), Instant::now());
        loop {
            let request = v1::GetItemRequest { item_id: self.item };
            match attempt(self.buyer.market(), client.get_item(request)).await {
                Attempt::Acknowledged(v1::GetItemResponse { item: Some(item) }) => {
                    self.hall.ratings.check(&item, self.stars);
                    return Ok(());
                }
                other if began.elapsed() > PATIENCE => bail!("the item can't be read: {other:?}"),
                _ => sleep(PAUSE).await,
            }
        }
    }
}

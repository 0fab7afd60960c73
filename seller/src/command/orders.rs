//! `seller ship`, `seller deliver` and `seller cancel`.

use clap::Args;
use souk_cli::{CliSession, Failure, view::OrderView};
use souk_client::error::required;
use souk_proto::v1::{CancelSaleRequest, DeliverSaleRequest, ShipSaleRequest};

use super::pick::{Orders, each, only_for_one};

/// Mark orders as shipped; their buyers are notified
#[derive(Args)]
#[command(after_help = "Examples:
  seller ship 4 5 9-12
  seller ship --where \"status=placed, item=7\"")]
pub(crate) struct Ship {
    #[command(flatten)]
    orders: Orders,
    /// Repeat an earlier call by its request id, for one order.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Mark shipped orders as delivered; their buyers are notified
#[derive(Args)]
#[command(after_help = "Examples:
  seller deliver 4 5 9-12
  seller deliver --where \"status=shipped, placed<2026-11-25\"")]
pub(crate) struct Deliver {
    #[command(flatten)]
    orders: Orders,
    /// Repeat an earlier call by its request id, for one order.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Cancel orders that were not shipped yet; their units go back and the buyers see why
#[derive(Args)]
#[command(after_help = "Examples:
  seller cancel 4 --reason \"broken in the store\"
  seller cancel --where \"status=placed, item=7\" --reason \"recalled by the maker\"")]
pub(crate) struct Cancel {
    #[command(flatten)]
    orders: Orders,
    /// Why, for the buyers; up to 200 characters.
    #[arg(long)]
    reason: String,
    /// Repeat an earlier call by its request id, for one order.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl Ship {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let Some(picked) = self.orders.picked(session, "ship").await? else { return Ok(()) };
        only_for_one(&picked, "--request-id", self.request_id.is_some())?;
        let request_id = self.request_id.unwrap_or_default();
        each(session, ("order", "shipped"), &picked, async |order_id| {
            let request = ShipSaleRequest { request_id: request_id.clone(), order_id, ..Default::default() };
            let shipped = session.call(request).await?;
            Ok(OrderView::from(&required(shipped.order, "order")?))
        })
        .await
    }
}

impl Deliver {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let Some(picked) = self.orders.picked(session, "deliver").await? else { return Ok(()) };
        only_for_one(&picked, "--request-id", self.request_id.is_some())?;
        let request_id = self.request_id.unwrap_or_default();
        each(session, ("order", "delivered"), &picked, async |order_id| {
            let request =
                DeliverSaleRequest { request_id: request_id.clone(), order_id, ..Default::default() };
            let delivered = session.call(request).await?;
            Ok(OrderView::from(&required(delivered.order, "order")?))
        })
        .await
    }
}

impl Cancel {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let Some(picked) = self.orders.picked(session, "cancel").await? else { return Ok(()) };
        only_for_one(&picked, "--request-id", self.request_id.is_some())?;
        let (request_id, reason) = (self.request_id.unwrap_or_default(), self.reason);
        each(session, ("order", "cancelled"), &picked, async |order_id| {
            let request = CancelSaleRequest {
                request_id: request_id.clone(),
                order_id,
                reason: reason.clone(),
                ..Default::default()
            };
            let cancelled = session.call(request).await?;
            Ok(OrderView::from(&required(cancelled.order, "order")?))
        })
        .await
    }
}

//! `seller ship`, `seller deliver` and `seller cancel`.

use clap::Args;
use souk_cli::{CliSession, Failure, view::OrderView};
use souk_client::error::required;
use souk_proto::v1::{CancelSaleRequest, DeliverSaleRequest, ShipSaleRequest};

/// Mark an order as shipped; the buyer is notified
#[derive(Args)]
pub(crate) struct Ship {
    /// The order's id, as `sales` shows it.
    order: i64,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Mark a shipped order as delivered; the buyer is notified
#[derive(Args)]
pub(crate) struct Deliver {
    /// The order's id, as `sales` shows it.
    order: i64,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Cancel an order that was not shipped yet; its units go back and the buyer sees why
#[derive(Args)]
pub(crate) struct Cancel {
    /// The order's id, as `sales` shows it.
    order: i64,
    /// Why, for the buyer; up to 200 characters.
    #[arg(long)]
    reason: String,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl Ship {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let request = ShipSaleRequest {
            request_id: self.request_id.unwrap_or_default(),
            order_id: self.order,
            ..Default::default()
        };
        let shipped = session.call(request).await?;
        session.printer().one(&OrderView::from(&required(shipped.order, "order")?))
    }
}

impl Deliver {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let request = DeliverSaleRequest {
            request_id: self.request_id.unwrap_or_default(),
            order_id: self.order,
            ..Default::default()
        };
        let delivered = session.call(request).await?;
        session.printer().one(&OrderView::from(&required(delivered.order, "order")?))
    }
}

impl Cancel {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let request = CancelSaleRequest {
            request_id: self.request_id.unwrap_or_default(),
            order_id: self.order,
            reason: self.reason,
            ..Default::default()
        };
        let cancelled = session.call(request).await?;
        session.printer().one(&OrderView::from(&required(cancelled.order, "order")?))
    }
}

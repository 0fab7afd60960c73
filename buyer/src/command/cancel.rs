//! `buyer cancel`: the buyer's side of a cancellation. Sellers cancel with `seller cancel`.

use clap::Args;
use souk_cli::{CliSession, Failure, view::OrderView};
use souk_client::error::required;
use souk_proto::v1::CancelOrderRequest;

/// Cancel an order; its units go back and the seller is notified
///
/// If you have no other order of the item, your rating of it is withdrawn.
#[derive(Args)]
#[command(after_help = "Example:\n  buyer cancel 12")]
pub(crate) struct Cancel {
    /// The order's id, as `orders` shows it.
    order: i64,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl Cancel {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<OrderView>()?;
        let request = CancelOrderRequest {
            request_id: self.request_id.unwrap_or_default(),
            order_id: self.order,
            ..Default::default()
        };
        let cancelled = session.call(request).await?;
        session.printer().one(&OrderView::from(&required(cancelled.order, "order")?))
    }
}

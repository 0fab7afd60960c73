//! `buyer rate`: rates a purchased item, once unless --update is given.

use clap::Args;
use souk_cli::{CliSession, Failure, view::RatingView};
use souk_client::error::required;
use souk_proto::v1::RateItemRequest;

/// Rate an item that you have bought
#[derive(Args)]
#[command(after_help = "Examples:\n  buyer rate 7 5\n  buyer rate 7 4 --update")]
pub(crate) struct Rate {
    /// The item's id, as `search` shows it.
    item: i64,
    /// The number of stars, 1 to 5.
    #[arg(allow_negative_numbers = true)]
    stars: i32,
    /// Replace your earlier rating.
    #[arg(long)]
    update: bool,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl Rate {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<RatingView>()?;
        let request = RateItemRequest {
            request_id: self.request_id.unwrap_or_default(),
            item_id: self.item,
            stars: self.stars,
            update_existing: self.update,
            ..Default::default()
        };
        let rated = session.call(request).await?;
        session.printer().one(&RatingView::from(&required(rated.rating, "rating")?))
    }
}

//! `seller sales`: the orders of the seller's items, or their totals by day or item.

use clap::{Args, ValueEnum};
use souk_cli::{
    CliSession, Failure, LivePaging, OrderFilter,
    view::{DaySalesView, ItemSalesView, OrderView},
    wire_time,
};
use souk_proto::v1::{ListSalesRequest, SummarizeSalesRequest, SummarizeSalesResponse};
use time::{Duration, OffsetDateTime};

/// The default period of a summary.
const SUMMARY: Duration = Duration::days(30);

/// List the orders of your items, latest first, or summarize them
#[derive(Args)]
#[command(after_help = "Examples:
  seller sales --status placed
  seller sales --from 2026-11-01 --all --output csv
  seller sales --summary item")]
pub(crate) struct Sales {
    /// Summarize the orders that were not cancelled, by day or by item, with a chart. Covers the last 30 days
    /// unless --from or --until is given. Of days whose orders have been archived only whole ones (UTC) can be
    /// summarized.
    #[arg(long, value_name = "BY", num_args = 0..=1, default_missing_value = "day",
          conflicts_with_all = ["item", "status", "all", "page_token", "watch"])]
    summary: Option<By>,
    #[command(flatten)]
    filter: OrderFilter,
    #[command(flatten)]
    paging: LivePaging,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    /// By calendar day, in UTC.
    Day,
    /// By item: the 100 items with the largest revenue.
    Item,
}

impl Sales {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        match self.summary {
            Some(by) => self.sum_up(session, by).await,
            None => self.list(session).await,
        }
    }

    async fn list(self, session: &CliSession) -> Result<(), Failure> {
        let filter = self.filter;
        self.paging
            .pages(session, async |page_size, page_token| {
                let request = ListSalesRequest {
                    page_size,
                    page_token,
                    item_id: filter.item,
                    status: filter.status(),
                    from_time: filter.time.from(),
                    until_time: filter.time.until(),
                };
                let page = session.call(request).await?;
                Ok((page.orders.iter().map(OrderView::from).collect(), page.next_page_token))
            })
            .await
    }

    async fn sum_up(self, session: &CliSession, by: By) -> Result<(), Failure> {
        let now = session.clock().now();
        let until = self.filter.time.until().unwrap_or_else(|| wire_time(now + Duration::SECOND));
        let end = OffsetDateTime::from_unix_timestamp(until.seconds).unwrap_or(now);
        let from = self.filter.time.from().unwrap_or_else(|| wire_time(midnight_before(end, SUMMARY)));
        let request = SummarizeSalesRequest { from_time: Some(from), until_time: Some(until), item_limit: 0 };
        let summary = session.call(request).await?;
        match by {
            By::Day => session.printer().list(&DaySalesView::all(&summary.days)),
            By::Item => session.printer().list(&ItemSalesView::all(&summary.items)),
        }
    }
}

/// Summarizes the sales of the last `days` days (UTC), of which today is one.
///
/// # Errors
/// Returns the error of the call.
pub(super) async fn last_days(
    session: &CliSession,
    days: i64,
    item_limit: i32,
) -> Result<SummarizeSalesResponse, Failure> {
    let until = session.clock().now() + Duration::SECOND;
    let from = midnight_before(until, Duration::days(days - 1));
    let (from_time, until_time) = (Some(wire_time(from)), Some(wire_time(until)));
    session.call(SummarizeSalesRequest { from_time, until_time, item_limit }).await
}

/// Returns the start of the day (UTC) that lies `span` before `time`.
fn midnight_before(time: OffsetDateTime, span: Duration) -> OffsetDateTime {
    (time - span).replace_time(time::Time::MIDNIGHT)
}

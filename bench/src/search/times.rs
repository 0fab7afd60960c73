//! Searches one at a time, and the server time of each.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use souk_client::Connection;
use souk_proto::v1;

use super::asked::Asked;
use crate::load::{histogram, server_time};

/// The server times of one class of searches.
pub(super) struct Times {
    /// Of searches that the market has not seen before since its start.
    pub(super) first: Histogram<u64>,
    /// Of the same searches, repeated: their counts are known.
    pub(super) known: Histogram<u64>,
    /// The number of items that match, of each search.
    pub(super) matches: Vec<f64>,
}

impl Times {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { first: histogram()?, known: histogram()?, matches: Vec::new() })
    }

    /// Runs each search once, and then all of them in turn for some time.
    pub(super) async fn measure(
        &mut self,
        connection: &Connection,
        searches: &[Asked],
        duration: Duration,
    ) -> anyhow::Result<()> {
        let mut requests = Vec::new();
        for asked in searches {
            let request = nth_page(connection, asked.request(), asked.page).await?;
            let (took, answer) = timed(connection, request.clone()).await?;
            self.first.saturating_record(micros(took));
            self.matches.push(answer.total_size as f64);
            requests.push(request);
        }
        let end = Instant::now() + duration;
        for request in requests.iter().cycle() {
            let (took, _) = timed(connection, request.clone()).await?;
            self.known.saturating_record(micros(took));
            if Instant::now() >= end {
                break;
            }
        }
        Ok(())
    }
}

/// Searches, and returns the time that the market reports for it.
pub(crate) async fn timed(
    connection: &Connection,
    request: v1::SearchItemRequest,
) -> anyhow::Result<(Duration, v1::SearchItemResponse)> {
    let answer = connection.catalog().search_item(request).await?;
    Ok((server_time(&answer)?, answer.into_inner()))
}

/// Follows the pages from a request for the first one up to `page`, and returns the request for it. Stops at the last
/// page.
pub(crate) async fn nth_page(
    connection: &Connection,
    mut request: v1::SearchItemRequest,
    page: u32,
) -> anyhow::Result<v1::SearchItemRequest> {
    for _ in 1..page {
        let next = connection.call(request.clone()).await?.next_page_token;
        if next.is_empty() {
            break;
        }
        request.page_token = next;
    }
    Ok(request)
}

/// Runs searches that are not measured, so that connections and caches of the operating system are warm.
pub(super) async fn warm_up(connection: &Connection, texts: &[String]) -> anyhow::Result<()> {
    for text in texts {
        let asked = Asked { text: text.clone(), ..Asked::default() };
        timed(connection, asked.request()).await?;
    }
    Ok(())
}

/// Returns a quantile in milliseconds; `None` if nothing was measured.
pub(super) fn millis(histogram: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile) as f64 / 1_000.0)
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

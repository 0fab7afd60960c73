//! Reading the item feed: one page ahead of who takes the pages.

use std::{pin::Pin, sync::Arc};

use futures::{
    FutureExt as _,
    future::{BoxFuture, MaybeDone, maybe_done},
};
use souk_store::{FeedEntry, FeedPosition, Reads, StoreError};

/// The maximum number of entries in a page. Usually the first one has all there are, so that they are written together.
const PAGE: usize = 5_000;

type Reading = MaybeDone<BoxFuture<'static, Result<Vec<FeedEntry>, StoreError>>>;

/// The pages of the feed after a position. At most two are in memory.
pub(super) struct FeedPages {
    reads: Arc<dyn Reads>,
    /// The next page, which the store reads meanwhile.
    next: Pin<Box<Reading>>,
}

/// A page of the feed.
pub(super) struct FeedPage {
    pub(super) entries: Vec<FeedEntry>,
    /// Whether this was the end of the feed. A page that is not full is: asking again until one is empty would cost a
    /// query for each commit.
    pub(super) is_last: bool,
}

impl FeedPages {
    pub(super) fn after(position: FeedPosition, reads: Arc<dyn Reads>) -> Self {
        let next = Box::pin(reading(Arc::clone(&reads), position));
        Self { reads, next }
    }

    /// Returns the next page, and begins to read the one after it. Must not be called after the last page.
    pub(super) async fn next(&mut self) -> Result<FeedPage, StoreError> {
        self.next.as_mut().await;
        let entries = self.next.as_mut().take_output().unwrap_or_else(|| Ok(Vec::new()))?;
        let is_last = entries.len() < PAGE;
        if let Some(last) = entries.last().filter(|_| !is_last) {
            self.next.set(reading(Arc::clone(&self.reads), last.position));
            // Sends the query. Its result is kept if it is there at once.
            let _ = self.next.as_mut().now_or_never();
        }
        Ok(FeedPage { entries, is_last })
    }
}

fn reading(reads: Arc<dyn Reads>, after: FeedPosition) -> Reading {
    maybe_done(async move { reads.item_feed(after, PAGE).await }.boxed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Shop, item};

    #[tokio::test]
    async fn next_page_is_read_before_it_is_asked_for() {
        let shop = Arc::<Shop>::default();
        let count = 2 * PAGE + 3;
        for number in 1..=count {
            shop.put(item(number as i64, "Lamp"));
        }
        let mut pages = FeedPages::after(FeedPosition(0), shop.clone());
        let mut numbers = Vec::new();
        for (asked, is_last) in [(2, false), (3, false), (3, true)] {
            let page = pages.next().await.unwrap();
            assert_eq!((shop.feed_reads(), page.is_last), (asked, is_last));
            numbers.extend(page.entries.iter().map(|entry| entry.item.id.0 as usize));
        }
        assert!(numbers.into_iter().eq(1..=count));
    }

    #[tokio::test]
    async fn failure_to_read_ahead_is_reported_with_its_page() {
        let shop = Arc::<Shop>::default();
        for number in 1..=PAGE + 1 {
            shop.put(item(number as i64, "Lamp"));
        }
        let mut pages = FeedPages::after(FeedPosition(0), shop.clone());
        shop.set_down(true);
        assert!(pages.next().await.is_err());
        shop.set_down(false);
        let mut pages = FeedPages::after(FeedPosition(0), shop.clone());
        assert_eq!(pages.next().await.unwrap().entries.len(), PAGE);
        assert_eq!(pages.next().await.unwrap().entries.len(), 1);
    }
}

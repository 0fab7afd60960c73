//! Imports and the pace of the index.

use std::time::Duration;

use futures::FutureExt as _;
use souk_store::FeedPosition;

use super::*;

#[tokio::test]
async fn imports_wait_for_an_index_that_is_far_behind() {
    let market = Market::in_memory().await;
    let end = market.shop.put(item(1, "Lamp"));
    market.search.feed_moved(end);
    market.search.wait_for_room().await;
    // Reported, but not in the feed yet: the index can't have it.
    market.search.feed_moved(FeedPosition(end.0 + 1));
    let waits = async {
        while market.search.wait_for_room().now_or_never().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waits).await.expect("it lags behind");
    market.shop.put(item(2, "Lamp"));
    market.search.wait_for_room().await;
    assert!(market.search.lag().is_none_or(|lag| lag <= crate::IMPORT_LAG || lag > crate::STALE_AFTER));
}

#[tokio::test]
async fn imports_do_not_wait_for_an_index_that_cannot_follow() {
    let market = Market::in_memory().await;
    market.shop.set_down(true);
    market.search.feed_moved(FeedPosition(1));
    tokio::time::timeout(Duration::from_secs(20), market.search.wait_for_room()).await.expect("it gives up");
}

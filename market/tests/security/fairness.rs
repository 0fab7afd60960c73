//! Fair shares. While one party asks for as much as it can get, others are served.

use std::time::Duration;

use souk_proto::{
    Reason,
    v1::{self, import_items_request::Message, watch_search_response},
};
use souk_testkit::actor::{Actor, draft};
use tokio::time::timeout;
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, PATIENCE, attacks, reason};

attacks!(
    searches_for_long_words,
    import_of_a_stranger_leaves_searches_and_purchases_alone,
    import_ends_no_watched_search,
    watched_searches_of_one_party,
);

/// The number of honest calls in each case. All of them must be served.
const HONEST: usize = 40;
/// The number of concurrent calls of the attacker.
const FLOOD: usize = 64;

/// Searches once, and fails if the market is busy. The client library would try again.
async fn search(by: &Actor, query: &str) -> Result<v1::SearchItemResponse, Status> {
    let request = v1::SearchItemRequest { query: query.into(), ..Default::default() };
    Ok(by.connection.catalog().search_item(request).await?.into_inner())
}

/// Makes up text of 16 long words that nothing matches, so that every typo is looked for.
fn long_words(seed: usize) -> String {
    let letter = |word: usize, place: usize| {
        char::from(b'a' + ((seed * 31 + word * 17 + place * place * 7) % 26) as u8)
    };
    let word = |word| (0..24).map(|place| letter(word, place)).collect::<String>();
    (0..16).map(word).collect::<Vec<_>>().join(" ")
}

async fn searches_for_long_words(fixture: &Fixture) {
    let mallory = fixture.seller("Mallory").await;
    let flood: Vec<_> = (0..FLOOD)
        .map(|number| {
            let mut catalog = mallory.connection.catalog();
            tokio::spawn(async move {
                for round in 0.. {
                    let query = long_words(number + round * FLOOD);
                    let request = v1::SearchItemRequest { query, ..Default::default() };
                    let _ = catalog.search_item(request).await;
                }
            })
        })
        .collect();
    let mut refused = 0;
    for _ in 0..HONEST {
        let found = timeout(PATIENCE, search(&fixture.bob, "lamp")).await.expect("in time");
        refused += usize::from(found.is_err());
    }
    flood.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(refused, 0, "of {HONEST} honest searches");
}

fn rows(name: &'static str, count: i64) -> impl Iterator<Item = v1::ImportItemsRequest> {
    let row = move |line| {
        let item = v1::ItemDraft { sku: Some(format!("{name}-{line}")), ..draft(name, "things", 100, 1) };
        Message::Row(v1::ImportRow { line, item_id: 0, item: Some(item) })
    };
    let header = Message::Header(v1::ImportHeader::default());
    let messages = [header].into_iter().chain((1..=count).map(row));
    messages.map(|message| v1::ImportItemsRequest { message: Some(message) })
}

/// A party that changes nothing that is found must not wait for the index, however much others change.
async fn import_of_a_stranger_leaves_searches_and_purchases_alone(fixture: &Fixture) {
    let mallory = fixture.seller("Mallory").await;
    let imports: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| {
            let mut seller = mallory.connection.seller();
            tokio::spawn(async move { seller.import_items(tokio_stream::iter(rows(name, 2_000))).await })
        })
        .into();
    for _ in 0..HONEST {
        let wished = fixture.bob.wish(fixture.lamp.item_id);
        timeout(PATIENCE, wished).await.expect("in time").unwrap();
        let found = timeout(PATIENCE, search(&fixture.bob, "lamp")).await.expect("in time").unwrap();
        assert_eq!(found.items.len(), 1);
    }
    for import in imports {
        let done = import.await.unwrap().unwrap().into_inner();
        assert_eq!(done.created_count, 2_000, "the stranger is slowed down, not refused");
    }
}

type Watched = Streaming<v1::WatchSearchResponse>;

async fn watch(by: &Actor, query: &str) -> Result<Watched, Status> {
    let request = v1::WatchSearchRequest { query: query.into(), ..Default::default() };
    Ok(by.connection.catalog().watch_search(request).await?.into_inner())
}

/// Reads a watched search until a message is the wanted one.
async fn until(watched: &mut Watched, wanted: fn(&watch_search_response::Message) -> bool) {
    let read = async {
        loop {
            let message = watched.message().await.expect("no load ends it").expect("it goes on");
            if wanted(&message.message.unwrap()) {
                return;
            }
        }
    };
    timeout(PATIENCE, read).await.expect("in time");
}

async fn import_ends_no_watched_search(fixture: &Fixture) {
    use watch_search_response::Message::{Change, Synced};
    let mallory = fixture.seller("Mallory").await;
    let mut watches = Vec::new();
    for number in 0..100 {
        // Ten distinct queries, each watched by ten.
        let mut watched = watch(&fixture.bob, &format!("vase {}", number % 10)).await.unwrap();
        until(&mut watched, |message| matches!(message, Synced(_))).await;
        watches.push(watched);
    }
    let imported = mallory.connection.seller().import_items(tokio_stream::iter(rows("thing", 5_000))).await;
    assert_eq!(imported.unwrap().into_inner().created_count, 5_000);
    for number in 0..10 {
        mallory.sell(draft(&format!("Vase {number}"), "home", 100, 1)).await.unwrap();
    }
    for watched in &mut watches {
        until(watched, |message| matches!(message, Change(_))).await;
    }
}

async fn watched_searches_of_one_party(fixture: &Fixture) {
    let mallory = fixture.seller("Mallory").await;
    let mut watches = Vec::new();
    let refused = loop {
        assert!(watches.len() <= 128, "there is no end");
        match watch(&mallory, "lamp").await {
            Ok(watched) => watches.push(watched),
            Err(refused) => break refused,
        }
    };
    assert_eq!(watches.len(), 128);
    let delay = refused.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| delay > Duration::ZERO), "{refused:?}");
    assert_eq!(reason::<()>(Err(refused)), Reason::Overloaded);
    watch(&fixture.bob, "lamp").await.expect("others have shares of their own");
    watches.pop();
    timeout(PATIENCE, async {
        while watch(&mallory, "lamp").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a place is free again");
}

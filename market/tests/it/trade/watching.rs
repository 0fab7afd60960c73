//! WatchSearch: searches that stay open and report changes.

use souk_proto::{
    Reason,
    v1::{self, SearchChangeKind, watch_search_response::Message},
};
use souk_testkit::local::StoreKind;
use tokio::time::timeout;
use tonic::Streaming;

use crate::fixture::{Fixture, PATIENCE, Party, draft, on_every_store, pounds};

on_every_store!(
    current_matches_come_first_and_then_a_sync_mark,
    changes_are_reported_by_kind,
    items_that_do_not_match_are_not_reported,
    sold_out_and_back_in_stock,
    item_that_leaves_and_returns_is_new,
    withdrawn_rating_is_reported,
    watching_too_much_is_refused,
    wrong_filters_are_refused,
);

async fn watch(buyer: &Party, request: v1::WatchSearchRequest) -> Streaming<v1::WatchSearchResponse> {
    buyer.connection.catalog().watch_search(request).await.unwrap().into_inner()
}

fn lamps() -> v1::WatchSearchRequest {
    v1::WatchSearchRequest { query: "lamp".into(), ..Default::default() }
}

async fn next(watched: &mut Streaming<v1::WatchSearchResponse>) -> Message {
    let message = timeout(PATIENCE, watched.message()).await.expect("in time").unwrap();
    message.expect("the stream goes on").message.unwrap()
}

/// Waits for the next change, and returns its kind and the item.
async fn change(watched: &mut Streaming<v1::WatchSearchResponse>) -> (SearchChangeKind, v1::Item) {
    match next(watched).await {
        Message::Change(change) => (change.kind(), change.item.unwrap()),
        other => panic!("no change: {other:?}"),
    }
}

/// Starts a watch while nothing matches, and waits until it has reported that.
async fn synced(buyer: &Party, request: v1::WatchSearchRequest) -> Streaming<v1::WatchSearchResponse> {
    let mut watched = watch(buyer, request).await;
    assert!(matches!(next(&mut watched).await, Message::Synced(_)));
    watched
}

async fn current_matches_come_first_and_then_a_sync_mark(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (one, two) = (alice.lamp(5).await, alice.lamp(5).await);
    // Her own search includes what she lists; for him it may take a moment.
    let mut watched =
        watch(&alice, v1::WatchSearchRequest { query: "lamp".into(), ..Default::default() }).await;
    let mut found = Vec::new();
    loop {
        match next(&mut watched).await {
            Message::Match(item) => found.push(item.item_id),
            Message::Synced(_) => break,
            Message::Change(change) => panic!("{change:?}"),
        }
    }
    found.sort_unstable();
    assert_eq!(found, [one, two]);
    drop(bob);
}

async fn changes_are_reported_by_kind(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let mut watched = synced(&bob, lamps()).await;
    let lamp = alice.lamp(5).await;
    let (kind, item) = change(&mut watched).await;
    assert_eq!((kind, item.item_id), (SearchChangeKind::New, lamp));
    alice.update(lamp, v1::ItemDraft { unit_price: pounds(999), ..Default::default() }).await.unwrap();
    let Message::Change(cheaper) = next(&mut watched).await else { panic!("no change") };
    assert_eq!((cheaper.kind(), cheaper.previous_unit_price), (SearchChangeKind::PriceDown, pounds(1_250)));
    assert_eq!(cheaper.item.unwrap().unit_price, pounds(999));
    let longer = v1::ItemDraft { description: Some("with a long cord".into()), ..Default::default() };
    alice.update(lamp, longer).await.unwrap();
    assert_eq!(change(&mut watched).await.0, SearchChangeKind::Changed);
    alice.delete(lamp).await.unwrap();
    let (kind, item) = change(&mut watched).await;
    assert_eq!((kind, item.item_id), (SearchChangeKind::Gone, lamp));
}

async fn items_that_do_not_match_are_not_reported(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let cheap = v1::WatchSearchRequest { max_price: pounds(1_000), ..lamps() };
    let mut watched = synced(&bob, cheap).await;
    let dear = alice.lamp(5).await;
    alice.sell(draft("Chair", "home", 100, 1)).await.unwrap();
    alice.sell(draft("Lump", "home", 100, 1)).await.unwrap();
    alice.update(dear, v1::ItemDraft { unit_price: pounds(900), ..Default::default() }).await.unwrap();
    let (kind, item) = change(&mut watched).await;
    assert_eq!((kind, item.item_id), (SearchChangeKind::New, dear), "only now does it match");
    alice.update(dear, v1::ItemDraft { unit_price: pounds(1_100), ..Default::default() }).await.unwrap();
    assert_eq!(change(&mut watched).await.0, SearchChangeKind::Gone);
}

async fn sold_out_and_back_in_stock(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let mut watched = synced(&bob, lamps()).await;
    let lamp = alice.lamp(1).await;
    assert_eq!(change(&mut watched).await.0, SearchChangeKind::New);
    bob.buy(lamp, 1).await.unwrap();
    let (kind, item) = change(&mut watched).await;
    assert_eq!((kind, item.quantity), (SearchChangeKind::Changed, 0));
    alice.update(lamp, v1::ItemDraft { quantity: Some(3), ..Default::default() }).await.unwrap();
    assert_eq!(change(&mut watched).await.0, SearchChangeKind::BackInStock);
    // A watch of items in stock reports that the sold-out one has gone, and later that it is back.
    let mut in_stock = watch(&bob, v1::WatchSearchRequest { in_stock: true, ..lamps() }).await;
    while !matches!(next(&mut in_stock).await, Message::Synced(_)) {}
    bob.buy(lamp, 3).await.unwrap();
    assert_eq!(change(&mut in_stock).await.0, SearchChangeKind::Gone);
    alice.update(lamp, v1::ItemDraft { quantity: Some(3), ..Default::default() }).await.unwrap();
    assert_eq!(change(&mut in_stock).await.0, SearchChangeKind::BackInStock);
}

async fn item_that_leaves_and_returns_is_new(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let mut watched = synced(&bob, lamps()).await;
    let lamp = alice.lamp(5).await;
    assert_eq!(change(&mut watched).await.0, SearchChangeKind::New);
    let rename = |name: &str| v1::ItemDraft { name: Some(name.into()), ..Default::default() };
    alice.update(lamp, rename("Torch")).await.unwrap();
    assert_eq!(change(&mut watched).await.0, SearchChangeKind::Gone);
    alice.update(lamp, rename("Lamp once more")).await.unwrap();
    assert_eq!(change(&mut watched).await.0, SearchChangeKind::New);
}

async fn withdrawn_rating_is_reported(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let mut watched = synced(&alice, lamps()).await;
    let lamp = alice.lamp(5).await;
    let order_id = bob.buy(lamp, 1).await.unwrap().order_id;
    bob.rate(lamp, 1).await.unwrap();
    // Other changes of the item may be reported in between.
    while change(&mut watched).await.1.rating.is_none() {}
    bob.as_buyer().cancel(order_id).await.unwrap();
    while change(&mut watched).await.1.rating.is_some() {}
}

async fn watching_too_much_is_refused(fixture: &Fixture) {
    use v1::import_items_request::Message as Import;
    let alice = fixture.seller("alice").await;
    let rows = (1..=1_001).map(|line| {
        let item = v1::ItemDraft { sku: Some(format!("S-{line}")), ..draft("Lamp", "home", 100, 1) };
        Import::Row(v1::ImportRow { line, item_id: 0, item: Some(item) })
    });
    let header = Import::Header(v1::ImportHeader::default());
    let messages = [header].into_iter().chain(rows);
    let messages: Vec<_> =
        messages.map(|message| v1::ImportItemsRequest { message: Some(message) }).collect();
    alice.connection.seller().import_items(tokio_stream::iter(messages)).await.unwrap();
    let mut watched = watch(&alice, lamps()).await;
    let refused = timeout(PATIENCE, watched.message()).await.expect("in time").unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::InvalidField));
    assert!(refused.message().contains("1001"), "{refused}");
}

async fn wrong_filters_are_refused(fixture: &Fixture) {
    let bob = fixture.buyer("bob").await;
    let backwards = v1::WatchSearchRequest { min_price: pounds(2), max_price: pounds(1), ..lamps() };
    let refused = bob.connection.catalog().watch_search(backwards).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::InvalidField));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_ends_when_the_market_closes() {
    let fixture = Fixture::open(StoreKind::Memory).await;
    let bob = fixture.buyer("bob").await;
    let mut watched = synced(&bob, lamps()).await;
    let (ended, ()) = tokio::join!(watched.message(), fixture.close());
    assert_eq!(Reason::of(&ended.unwrap_err()), Some(Reason::Unavailable));
}

//! WatchSearch and SearchItem agree: once nothing changes any more, a client that has applied every change holds what a
//! search for the same finds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use souk_certs::identity::Role;
use souk_proto::v1::{self, SearchChangeKind, watch_search_response::Message};
use tokio::time::timeout;
use tonic::Streaming;

use crate::fixture::{Fixture, PATIENCE, Party, call, draft, eventually, on_every_store, pounds};

on_every_store!(
    watched_results_equal_searches_after_any_changes,
    stock_moves_are_reported,
    items_of_a_suspended_seller_leave_and_return,
);

const NAMES: [&str; 5] = ["Lamp", "Desk lamp", "Lampshade", "Chair", "Desk chair"];
const CATEGORIES: [&str; 3] = ["home", "home/light", "garden"];
const ROUNDS: usize = 6;
const CHANGES: usize = 25;

/// What a client that watches knows.
#[derive(Default)]
struct View {
    items: BTreeMap<i64, v1::Item>,
    is_synced: bool,
    end: Option<tonic::Status>,
}

/// A search that is watched, and what is known of its result.
struct Watched {
    request: v1::WatchSearchRequest,
    view: Arc<Mutex<View>>,
}

impl Watched {
    async fn open(buyer: &Party, request: v1::WatchSearchRequest) -> Self {
        let mut stream = buyer.connection.catalog().watch_search(request.clone()).await.unwrap().into_inner();
        let view = Arc::<Mutex<View>>::default();
        let of_stream = Arc::clone(&view);
        tokio::spawn(async move {
            let end = loop {
                match stream.message().await {
                    Ok(Some(message)) => of_stream.lock().unwrap().apply(message.message.unwrap()),
                    Ok(None) => break tonic::Status::ok("ended"),
                    Err(status) => break status,
                }
            };
            of_stream.lock().unwrap().end = Some(end);
        });
        let watched = Self { request, view };
        eventually("the watch begins", || async { watched.view.lock().unwrap().is_synced }).await;
        watched
    }

    /// Returns whether the client knows what a search finds. It may not know it yet.
    async fn is_current(&self, buyer: &Party) -> bool {
        let v1::WatchSearchRequest { query, category, min_price, max_price, min_rating, seller_id, in_stock } =
            self.request.clone();
        let request = v1::SearchItemRequest {
            query,
            category,
            min_price,
            max_price,
            min_rating,
            seller_id,
            in_stock,
            order_by: v1::SearchOrder::Newest.into(),
            page_size: 200,
            ..Default::default()
        };
        let found = buyer.connection.call(request).await.unwrap();
        assert_eq!(found.next_page_token, "", "one page");
        let view = self.view.lock().unwrap();
        assert!(view.end.is_none(), "it goes on: {:?}", view.end);
        found.items.len() == view.items.len()
            && found.items.iter().all(|item| view.items.get(&item.item_id) == Some(item))
    }
}

impl View {
    fn apply(&mut self, message: Message) {
        match message {
            Message::Match(item) => assert!(self.items.insert(item.item_id, item).is_none()),
            Message::Synced(_) => self.is_synced = true,
            Message::Change(change) => {
                let kind = change.kind();
                let item = change.item.unwrap();
                let is_gone = kind == SearchChangeKind::Gone;
                let known = if is_gone {
                    self.items.remove(&item.item_id)
                } else {
                    self.items.insert(item.item_id, item)
                };
                assert!(known.is_some() || !is_gone, "only what is known can be gone");
                assert!(known.is_none() || kind != SearchChangeKind::New, "what is known is not new");
            }
        }
    }
}

fn queries(carol: &Party) -> Vec<v1::WatchSearchRequest> {
    let query = |query: &str| v1::WatchSearchRequest { query: query.into(), ..Default::default() };
    vec![
        query(""),
        query("lamp"),
        query("desk la"),
        query("chair"),
        v1::WatchSearchRequest { in_stock: true, ..query("la") },
        v1::WatchSearchRequest { seller_id: carol.id(), ..query("") },
        v1::WatchSearchRequest { category: "home".into(), min_price: pounds(101), ..query("") },
        v1::WatchSearchRequest { min_rating: Some(3.0), ..query("") },
    ]
}

async fn watched_results_equal_searches_after_any_changes(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let bob = fixture.buyer("bob").await;
    let olga = fixture.stranger(Role::Operator, "olga").await;
    let mut random = StdRng::seed_from_u64(7);
    let mut watched = Vec::new();
    for round in 0..ROUNDS {
        // Some are watched from the start, others begin while the market is in use.
        let begin = queries(&carol).into_iter().skip(round).step_by(ROUNDS);
        for request in begin.collect::<Vec<_>>() {
            watched.push(Watched::open(&bob, request.clone()).await);
            watched.push(Watched::open(&alice, request).await);
        }
        let mut items = Vec::new();
        for _ in 0..CHANGES {
            change(&mut random, [&alice, &carol], &bob, &mut items).await;
        }
        if round % 2 == 0 {
            call!(olga, SuspendRequest { party_id: carol.id(), reason: "tests".into() }).unwrap();
        } else {
            call!(olga, ReinstateRequest { party_id: carol.id() }).unwrap();
        }
        for watched in &watched {
            let what = format!("round {round}: the result of {:?} is known", watched.request);
            eventually(&what, || watched.is_current(&bob)).await;
        }
    }
}

/// Makes one random change. Some are refused, for example those of a suspended seller.
async fn change(random: &mut StdRng, sellers: [&Party; 2], bob: &Party, items: &mut Vec<(usize, i64)>) {
    let by = random.random_range(0..sellers.len());
    let item = items.choose(random).copied();
    let draft_of = |random: &mut StdRng| {
        let (name, category) = (NAMES.choose(random).unwrap(), CATEGORIES.choose(random).unwrap());
        draft(name, category, random.random_range(100..103), random.random_range(1..4))
    };
    match (random.random_range(0..8), item) {
        (0 | 1, _) | (_, None) => {
            let new = draft_of(random);
            items.extend(sellers[by].sell(new).await.ok().map(|item| (by, item.item_id)));
        }
        (2, Some((by, item))) => {
            let _ = sellers[by].update(item, draft_of(random)).await;
        }
        (3, Some((by, item))) => {
            let _ = sellers[by].delete(item).await;
        }
        (4, Some((_, item))) => {
            let _ = bob.rate(item, random.random_range(1..=5)).await;
        }
        (_, Some((_, item))) => {
            let _ = bob.buy(item, 1).await;
        }
    }
}

async fn stock_moves_are_reported(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    // Her own search includes what she lists.
    let watched =
        Watched::open(&alice, v1::WatchSearchRequest { query: "lamp".into(), ..Default::default() }).await;
    for left in [4, 2, 1] {
        let before = watched.view.lock().unwrap().items[&lamp].quantity;
        bob.buy(lamp, before - left).await.unwrap();
        eventually("the stock is known", || async {
            watched.view.lock().unwrap().items[&lamp].quantity == left
        })
        .await;
    }
}

/// Waits for the next change, and returns its kind and the item's number.
async fn next_change(watched: &mut Streaming<v1::WatchSearchResponse>) -> (SearchChangeKind, i64) {
    let message = timeout(PATIENCE, watched.message()).await.expect("in time").unwrap().unwrap();
    match message.message.unwrap() {
        Message::Change(change) => (change.kind(), change.item.unwrap().item_id),
        other => panic!("no change: {other:?}"),
    }
}

async fn items_of_a_suspended_seller_leave_and_return(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let olga = fixture.stranger(Role::Operator, "olga").await;
    let request = v1::WatchSearchRequest { query: "lamp".into(), ..Default::default() };
    let mut watched = bob.connection.catalog().watch_search(request).await.unwrap().into_inner();
    assert!(matches!(watched.message().await.unwrap().unwrap().message, Some(Message::Synced(_))));
    let lamp = alice.lamp(5).await;
    assert_eq!(next_change(&mut watched).await, (SearchChangeKind::New, lamp));
    call!(olga, SuspendRequest { party_id: alice.id(), reason: "tests".into() }).unwrap();
    assert_eq!(next_change(&mut watched).await, (SearchChangeKind::Gone, lamp));
    call!(olga, ReinstateRequest { party_id: alice.id() }).unwrap();
    assert_eq!(next_change(&mut watched).await, (SearchChangeKind::New, lamp));
}

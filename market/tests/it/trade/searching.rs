//! Searches over real sockets.

use souk_proto::{Reason, v1};

use crate::fixture::{Fixture, call, draft, on_every_store, pounds, reason};

on_every_store!(
    search_by_name_and_category_together,
    search_forgives_case_accents_and_typos,
    search_finds_other_spellings,
    misspelt_words_are_suggested_as_they_are_spelt,
    symbols_alone_find_nothing_and_say_so,
    search_filters_and_orders,
    own_writes_are_in_the_next_search,
    sold_out_items_are_found_unless_in_stock_is_asked_for,
    hits_show_what_was_answered_before,
    seller_secret_is_never_in_a_search_result,
    search_pages_hold_each_item_once,
    categories_are_counted,
);

async fn names(party: &crate::fixture::Party, query: &str, category: &str) -> Vec<String> {
    party.search(query, category).await.into_iter().map(|item| item.name).collect()
}

async fn search_by_name_and_category_together(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    for (name, category) in
        [("Oil lamp", "home/light"), ("Street lamp", "garden"), ("Lamp oil", "home"), ("Chair", "home/light")]
    {
        alice.sell(draft(name, category, 100, 1)).await.unwrap();
    }
    assert_eq!(names(&alice, "lamp", "home/light").await, ["Oil lamp"]);
    let mut below = names(&alice, "lamp", "home").await;
    below.sort();
    assert_eq!(below, ["Lamp oil", "Oil lamp"]);
    assert_eq!(names(&alice, "lamp", "").await.len(), 3);
    assert_eq!(names(&alice, "", "home/light").await.len(), 2);
    assert_eq!(names(&alice, "", "").await.len(), 4);
    assert!(names(&alice, "sofa", "home").await.is_empty());
    assert!(names(&alice, "lamp", "hom").await.is_empty());
}

async fn search_forgives_case_accents_and_typos(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    alice.sell(draft("Crème Brûlée Torch", "kitchen", 100, 1)).await.unwrap();
    for query in ["CREME", "brulee torch", "torc", "brulle torch", "crème"] {
        assert_eq!(names(&alice, query, "").await.len(), 1, "{query}");
    }
}

async fn search_finds_other_spellings(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    for name in [
        "Wi-Fi Router",
        "Toner AB-123",
        "Drill 10mm",
        "Kitchen knives",
        "陶器の茶碗",
        "수제도자기컵",
        "Lederschuhe",
    ] {
        alice.sell(draft(name, "home", 100, 1)).await.unwrap();
    }
    alice
        .sell(v1::ItemDraft { sku: Some("KB-1180/US".into()), ..draft("Keyboard", "home", 100, 1) })
        .await
        .unwrap();
    for (query, name) in [
        ("wifi", "Wi-Fi Router"),
        ("router wi fi", "Wi-Fi Router"),
        ("ab123", "Toner AB-123"),
        ("10 mm", "Drill 10mm"),
        ("knife", "Kitchen knives"),
        ("茶碗", "陶器の茶碗"),
        ("도자기", "수제도자기컵"),
        ("schuhe", "Lederschuhe"),
        ("kb1180", "Keyboard"),
    ] {
        assert_eq!(names(&alice, query, "").await, [name], "{query}");
    }
}

async fn misspelt_words_are_suggested_as_they_are_spelt(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    alice.sell(draft("Brass lantern", "home", 100, 1)).await.unwrap();
    for (query, suggestion) in [
        ("lantern", ""),
        ("lantren", "lantern"),
        ("Brass, LANTREN!", "Brass, lantern!"),
        ("sofa", ""),
        ("", ""),
    ] {
        let found = call!(alice, SearchItemRequest { query: query.into() }).unwrap();
        assert_eq!(found.did_you_mean, suggestion, "{query}");
    }
}

async fn symbols_alone_find_nothing_and_say_so(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    alice.sell(draft("Lantern 🏮", "home", 100, 1)).await.unwrap();
    for (query, is_wordless, total) in [("🏮", true, 0), (" !!! ", true, 0), ("", false, 1), (" ", false, 1)]
    {
        let found = call!(alice, SearchItemRequest { query: query.into() }).unwrap();
        assert_eq!((found.is_wordless, found.total_size), (is_wordless, total), "{query:?}");
    }
}

async fn search_filters_and_orders(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let bob = fixture.buyer("bob").await;
    for (seller, name, price) in [(&alice, "cheap", 100), (&carol, "middle", 200), (&alice, "dear", 300)] {
        let item = seller.sell(draft(name, "home", price, 2)).await.unwrap();
        if name == "middle" {
            bob.buy(item.item_id, 1).await.unwrap();
            bob.rate(item.item_id, 4).await.unwrap();
        }
    }
    let ask = |request: v1::SearchItemRequest| {
        let connection = &bob.connection;
        async move {
            let found = connection.call(request).await;
            found.unwrap().items.into_iter().map(|item| item.name).collect::<Vec<_>>()
        }
    };
    use v1::SearchOrder::{Newest, PriceAscending, PriceDescending, Rating};
    let base = v1::SearchItemRequest::default();
    // Listings become visible to other parties within a second.
    crate::fixture::eventually("all three are found", || async { ask(base.clone()).await.len() == 3 }).await;
    let by = |order: v1::SearchOrder| v1::SearchItemRequest { order_by: order.into(), ..base.clone() };
    assert_eq!(ask(by(PriceAscending)).await, ["cheap", "middle", "dear"]);
    assert_eq!(ask(by(PriceDescending)).await, ["dear", "middle", "cheap"]);
    assert_eq!(ask(by(Newest)).await, ["dear", "middle", "cheap"]);
    assert_eq!(ask(by(Rating)).await[0], "middle");
    let range =
        v1::SearchItemRequest { min_price: pounds(150), max_price: pounds(300), ..by(PriceAscending) };
    assert_eq!(ask(range).await, ["middle", "dear"]);
    assert_eq!(ask(v1::SearchItemRequest { min_rating: Some(4.0), ..base.clone() }).await, ["middle"]);
    assert_eq!(ask(v1::SearchItemRequest { seller_id: carol.id(), ..base.clone() }).await, ["middle"]);
}

async fn own_writes_are_in_the_next_search(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    for round in 0..5 {
        let name = format!("thing{round}");
        let item = alice.sell(draft(&name, "home", 100, 1)).await.unwrap();
        assert_eq!(names(&alice, &name, "").await, std::slice::from_ref(&name));
        alice.delete(item.item_id).await.unwrap();
        assert!(names(&alice, &name, "").await.is_empty());
    }
}

async fn sold_out_items_are_found_unless_in_stock_is_asked_for(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let (older, newer) = (alice.lamp(1).await, alice.lamp(1).await);
    bob.buy(newer, 1).await.unwrap();
    let found = bob.search("lamp", "").await;
    let found: Vec<_> = found.iter().map(|item| (item.item_id, item.quantity)).collect();
    assert_eq!(found, [(older, 1), (newer, 0)], "what is sold out comes last");
    bob.buy(older, 1).await.unwrap();
    assert_eq!(bob.search("lamp", "").await.len(), 2);
    let in_stock = call!(bob, SearchItemRequest { query: "lamp".into(), in_stock: true });
    assert!(in_stock.unwrap().items.is_empty());
}

/// Hits may come from a cache, which every answered change must be in.
async fn hits_show_what_was_answered_before(fixture: &Fixture) {
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(9).await;
    let hit = async || bob.search("lamp", "").await.into_iter().next();
    crate::fixture::eventually("the lamp is found", || async { hit().await.is_some() }).await;
    for sold in 1..=5 {
        bob.buy(lamp, 1).await.unwrap();
        assert_eq!(hit().await.unwrap().quantity, 9 - sold);
    }
    bob.rate(lamp, 4).await.unwrap();
    assert_eq!(hit().await.unwrap().rating.unwrap().count, 1);
    alice.update(lamp, draft("Lamp of Alice", "home", 777, 3)).await.unwrap();
    let found = hit().await.unwrap();
    assert_eq!((found.name.as_str(), found.quantity), ("Lamp of Alice", 3));
    alice.register_as_seller("The shop of Alice").await.unwrap();
    assert_eq!(hit().await.unwrap().seller_name, "The shop of Alice");
    alice.delete(lamp).await.unwrap();
    assert!(hit().await.is_none());
}

async fn seller_secret_is_never_in_a_search_result(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    alice.lamp(1).await;
    let found = alice.search("lamp", "").await;
    let text = format!("{found:?}").to_lowercase();
    for secret in ["token", "callback", "bearer", "eyj", "127.0.0.1", "host", "port", "thumbprint"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

async fn search_pages_hold_each_item_once(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let mut listed = Vec::new();
    for number in 0..7 {
        listed.push(alice.sell(draft("Candle", "home", 100 + number % 2, 1)).await.unwrap().item_id);
    }
    for order in [v1::SearchOrder::Relevance, v1::SearchOrder::PriceAscending, v1::SearchOrder::Newest] {
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = call!(
                alice,
                SearchItemRequest {
                    query: "candle".into(),
                    order_by: order.into(),
                    page_size: 3,
                    page_token: page_token,
                }
            )
            .unwrap();
            assert_eq!(page.total_size, 7);
            seen.extend(page.items.iter().map(|item| item.item_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, listed, "{order:?}");
    }
    let foreign = call!(alice, SearchItemRequest { page_token: "AAAA".into() });
    assert_eq!(reason(foreign), Reason::PageTokenInvalid);
}

async fn categories_are_counted(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    for category in ["home", "home/light", "home/light", "garden"] {
        alice.sell(draft("Thing", category, 100, 1)).await.unwrap();
    }
    let listed = call!(alice, ListCategoriesRequest { parent: "home".into() }).unwrap();
    let counts: Vec<_> = listed.categories.iter().map(|c| (c.category.as_str(), c.item_count)).collect();
    assert_eq!(counts, [("home", 1), ("home/light", 2)]);
    let facets = call!(alice, SearchItemRequest { query: "thing".into() }).unwrap();
    assert_eq!(facets.categories[0].category, "home/light");
    assert_eq!(facets.categories.iter().map(|c| c.item_count).sum::<i64>(), 4);
}

//! Which items match, and how they rank.

use souk_domain::{Description, ItemName, Sku};

use super::*;
use crate::{CategoryQuery, Leniency, PriceRange};

#[tokio::test]
async fn blank_text_finds_everything_newest_first_and_symbols_nothing() {
    let market = Market::of_names(&["Lamp", "Chair", "Table 🏮 !!!"]).await;
    for text in ["", "  "] {
        assert_eq!(market.finds(text).await, [3, 2, 1], "{text:?}");
    }
    for text in ["!!!", "🏮", " -- !?"] {
        assert_eq!(market.finds(text).await, [0; 0], "{text:?}");
    }
}

#[tokio::test]
async fn all_words_must_match_in_name_or_description() {
    let market = Market::of_names(&["Oil lamp", "Street lamp", "Lamp oil", "Chair"]).await;
    let described = Item { description: Description::trusted("Made for a lamp.".into()), ..item(5, "Oil") };
    market.put(described);
    assert_eq!(
        market.finds_exactly("oil lamp").await,
        [1, 3, 5],
        "the whole name, then in it, then the rest"
    );
    assert_eq!(market.finds_exactly("street oil").await, [0; 0]);
    assert_eq!(market.finds("sofa").await, [0; 0]);
}

#[tokio::test]
async fn one_word_may_be_missing_if_little_has_them_all() {
    let market = Market::of_names(&["Oil lamp", "Street lamp", "Lamp oil", "Chair"]).await;
    let page = async |words: &str| {
        let page = market.page(&SearchQuery { text: text(words), ..SearchQuery::default() }).await;
        (numbers(&page), page.leniency, page.as_typed)
    };
    assert_eq!(page("oil lamp").await, (vec![1, 3, 2], Leniency::AllButOne, 2));
    assert_eq!(page("street oil").await, (vec![3, 2, 1], Leniency::AllButOne, 0));
    assert_eq!(page("street oil sofa").await, (vec![], Leniency::AsTyped, 0), "two words are missing");
    for number in 5..20 {
        market.put(item(number, "Oil lamp"));
    }
    let (found, leniency, as_typed) = page("oil lamp").await;
    assert_eq!(
        (found.len(), leniency, as_typed),
        (17, Leniency::AsTyped, 17),
        "there are enough with all words"
    );
}

#[tokio::test]
async fn typos_are_forgiven_only_if_little_matches_as_typed() {
    let market = Market::of_names(&["Camp bed", "Lamp"]).await;
    let page = market.page(&SearchQuery { text: text("lamp"), ..SearchQuery::default() }).await;
    assert_eq!((numbers(&page), page.leniency, page.as_typed), (vec![2, 1], Leniency::OneTypo, 1));
    for number in 3..12 {
        market.put(item(number, "Lamp"));
    }
    let page = market.page(&SearchQuery { text: text("lamp"), limit: 3, ..SearchQuery::default() }).await;
    assert_eq!((page.total, page.leniency), (10, Leniency::AsTyped));
    let camps = market.finds("lmap").await;
    assert_eq!(camps.len(), 10, "another word is meant");
}

#[tokio::test]
async fn whole_names_and_stock_keeping_units_come_first() {
    let market = Market::of_names(&["Lamp oil", "Oil for any lamp", "Oil lamp", "Lamp"]).await;
    market.put(Item { sku: Some(Sku::parse("OIL-7").unwrap()), ..item(5, "Thing") });
    assert_eq!(market.finds_exactly("oil lamp").await, [3, 1, 2]);
    assert_eq!(market.finds_exactly("lamp oil").await, [1, 3, 2]);
    assert_eq!(market.finds_exactly("oil-7").await, [5]);
    assert_eq!(market.finds_exactly("oil").await[3], 5, "it is found by its parts, too");
}

#[tokio::test]
async fn last_word_may_be_a_prefix() {
    let market = Market::of_names(&["Metal lantern", "Lan cable", "Lanterns of metal"]).await;
    assert_eq!(market.finds_exactly("lan").await, [2, 1, 3], "the whole word comes first");
    assert_eq!(market.finds_exactly("metal lant").await, [1, 3]);
    assert_eq!(market.finds_exactly("metal lanterns").await, [3]);
    assert_eq!(market.finds_exactly("lant metal").await, [0; 0], "only the last word may");
}

#[tokio::test]
async fn case_and_accents_are_ignored() {
    let market = Market::of_names(&["Crème Brûlée Torch", "Καφές"]).await;
    for text in ["CREME", "brulee torch", "torc", "crème", "Cre\u{300}me"] {
        assert_eq!(market.finds(text).await, [1], "{text}");
    }
    assert_eq!(market.finds("καφεσ").await, market.finds("ΚΑΦΕΣ").await);
    assert_eq!(market.finds("καφες").await, [2]);
}

#[tokio::test]
async fn one_typo_is_forgiven_from_four_letters_two_from_eight() {
    let market = Market::of_names(&["Lamp", "Cup", "Strawberry"]).await;
    for text in ["lmap", "lam", "lampp", "limp", "damp"] {
        assert_eq!(market.finds(text).await, [1], "{text}");
    }
    for text in ["cap", "cupp", "lmpa"] {
        // "cupp" has four letters, so it is the word in the query that counts.
        let expected: &[i64] = if text == "cupp" { &[2] } else { &[] };
        assert_eq!(market.finds(text).await, expected, "{text}");
    }
    for text in ["strwbery", "starwbrery", "strawberries"] {
        assert_eq!(market.finds(text).await, if text == "strawberries" { vec![] } else { vec![3] }, "{text}");
    }
}

#[tokio::test]
async fn words_with_digits_are_taken_literally() {
    let market = Market::of_names(&["Hook 84029", "Hook 84028", "T-light holder", "7 hooks", "Light"]).await;
    assert_eq!(market.finds("84029").await, [1]);
    assert_eq!(market.finds("8402").await, [2, 1]);
    assert_eq!(market.finds("7").await, [4]);
    assert_eq!(market.finds_exactly("t-light").await, [3]);
    assert_eq!(market.finds_exactly("T LIGHT").await, [3]);
}

#[tokio::test]
async fn words_as_typed_rank_above_forgiven_ones_and_names_above_descriptions() {
    let market = Market::in_memory().await;
    let describe = |number, name, text: &str| Item {
        description: Description::trusted(text.to_owned()),
        ..item(number, name)
    };
    market.put(describe(1, "Cable clamp", "none"));
    market.put(describe(2, "Thing", "goes with any lamp"));
    market.put(describe(3, "Damp cloth", "not a lamp, not a lampshade"));
    market.put(describe(4, "Lampshade", "round"));
    market.put(describe(5, "A lamp for the garden", "bright"));
    market.put(describe(6, "Lamp", "bright"));
    market.put(describe(7, "Stamp", "clamp"));
    assert_eq!(market.finds("lamp").await, [6, 5, 2, 3, 4, 1, 7], "of equal matches, short names first");
}

#[tokio::test]
async fn orders_that_do_not_rank_by_match_forgive_typos_only_without_exact_matches() {
    let market = Market::of_names(&["Cake stand", "Pen case", "Case"]).await;
    let by_price = |words: &str| SearchQuery {
        text: text(words),
        order: SearchOrder::PriceAscending,
        ..SearchQuery::default()
    };
    assert_eq!(market.finds("cake").await, [1, 3, 2]);
    assert_eq!(market.found(&by_price("cake")).await, [1]);
    assert_eq!(market.found(&by_price("caek")).await, [1]);
    assert_eq!(market.page(&by_price("cake")).await.total, 1);
}

#[tokio::test]
async fn category_includes_its_subcategories_and_no_namesakes() {
    let market = Market::in_memory().await;
    for (number, path) in (1..).zip([
        "electronics",
        "electronics/audio",
        "electronics-x",
        "home/electronics",
        "electronics/audio/hifi",
    ]) {
        market.put(Item { category: category(path), ..item(number, "Thing") });
    }
    let within = |path| SearchQuery { category: Some(category(path)), ..SearchQuery::default() };
    assert_eq!(market.found(&within("electronics")).await, [5, 2, 1]);
    assert_eq!(market.found(&within("electronics/audio")).await, [5, 2]);
    assert_eq!(market.found(&within("electronics-x")).await, [3]);
    assert_eq!(market.found(&within("audio")).await, [0; 0]);
    assert_eq!(market.found(&within("electron")).await, [0; 0]);
}

#[tokio::test]
async fn price_range_includes_both_ends_and_one_currency() {
    let market = Market::in_memory().await;
    for (number, price) in (1..).zip([99, 100, 150, 200, 201]) {
        market.put(Item { unit_price: pounds(price), ..item(number, "Thing") });
    }
    market.put(Item { unit_price: Money::price(150, "EUR").unwrap(), ..item(6, "Thing") });
    let range = |min, max| SearchQuery {
        price: PriceRange::parse(min, max).unwrap(),
        order: SearchOrder::PriceAscending,
        ..SearchQuery::default()
    };
    assert_eq!(market.found(&range(Some(pounds(100)), Some(pounds(200)))).await, [2, 3, 4]);
    assert_eq!(market.found(&range(Some(pounds(150)), None)).await, [3, 4, 5]);
    assert_eq!(market.found(&range(None, Some(pounds(100)))).await, [1, 2]);
    assert_eq!(market.found(&range(None, None)).await, [6, 1, 2, 3, 4, 5], "EUR comes before GBP");
    assert!(PriceRange::parse(Some(pounds(1)), Money::price(2, "EUR").ok()).is_err());
    assert!(PriceRange::parse(Some(pounds(200)), Some(pounds(100))).is_err());
}

#[tokio::test]
async fn minimum_rating_excludes_lower_and_unrated_items() {
    let market = Market::in_memory().await;
    for (number, rating) in (1..).zip([rated(0, 0), rated(1, 1), rated(10, 43), rated(3, 13), rated(2, 10)]) {
        market.put(Item { rating, ..item(number, "Thing") });
    }
    let least =
        |mean| SearchQuery { min_rating: Some(mean), order: SearchOrder::Rating, ..SearchQuery::default() };
    assert_eq!(market.found(&least(4.3)).await, [5, 4, 3]);
    assert_eq!(market.found(&least(4.31)).await, [5, 4]);
    assert_eq!(market.found(&least(5.0)).await, [5]);
    assert_eq!(market.found(&least(1.0)).await, [5, 4, 3, 2]);
    assert_eq!(market.found(&least(0.0)).await, [5, 4, 3, 2], "nobody has rated item 1");
    let by_rating = SearchQuery { order: SearchOrder::Rating, ..SearchQuery::default() };
    assert_eq!(market.found(&by_rating).await, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn seller_and_stock_filter_together_with_words() {
    let market = Market::of_names(&["Red lamp", "Blue lamp", "Red chair"]).await;
    market.put(Item { seller: alice(), ..item(4, "Red lamp") });
    market.put(Item { seller: alice(), quantity: 0, ..item(5, "Red lamp") });
    let query = |seller, in_stock| SearchQuery {
        text: text("red lamp"),
        seller,
        in_stock,
        is_exact: true,
        ..SearchQuery::default()
    };
    assert_eq!(market.found(&query(None, false)).await, [4, 1, 5], "what is sold out comes last");
    assert_eq!(market.found(&query(Some(alice()), false)).await, [4, 5]);
    assert_eq!(market.found(&query(Some(alice()), true)).await, [4]);
    assert_eq!(market.found(&query(None, true)).await, [4, 1]);
}

#[tokio::test]
async fn categories_are_counted_over_all_matches() {
    let market = Market::in_memory().await;
    for (number, (name, path)) in (1..).zip([
        ("Lamp", "home"),
        ("Lamp", "home/light"),
        ("Lamp", "home/light"),
        ("Lamp", "garden"),
        ("Chair", "garden"),
        ("Chair", "garden/seats"),
    ]) {
        market.put(Item { category: category(path), ..item(number, name) });
    }
    let page = market.page(&SearchQuery { text: text("lamp"), limit: 1, ..SearchQuery::default() }).await;
    let counts = |counts: &[(Category, u64)]| {
        counts.iter().map(|(category, count)| format!("{} {count}", category.as_str())).collect::<Vec<_>>()
    };
    assert_eq!((page.total, page.items.len()), (4, 1));
    assert_eq!(counts(&page.categories), ["home/light 2", "garden 1", "home 1"]);

    let list = async |parent: Option<&str>, after: Option<&str>, limit| {
        let query = CategoryQuery {
            parent: parent.map(category),
            after: after.map(category),
            limit,
            ..CategoryQuery::default()
        };
        counts(&market.search.categories(alice(), query).await.unwrap())
    };
    assert_eq!(list(None, None, 9).await, ["garden 2", "garden/seats 1", "home 1", "home/light 2"]);
    assert_eq!(list(None, Some("garden"), 2).await, ["garden/seats 1", "home 1"]);
    assert_eq!(list(Some("home"), None, 9).await, ["home 1", "home/light 2"]);
    assert_eq!(list(Some("attic"), None, 9).await, [""; 0]);
}

#[tokio::test]
async fn hidden_sellers_are_neither_found_nor_counted() {
    let market = Market::in_memory().await;
    for (number, seller) in [(1, 7), (2, 8), (3, 7)] {
        market.put(Item { seller: PartyId(Uuid::from_u128(seller)), ..item(number, "Lamp") });
    }
    let hidden = |sellers: &[u128]| {
        let sellers = sellers.iter().map(|seller| PartyId(Uuid::from_u128(*seller)));
        std::sync::Arc::new(sellers.collect())
    };
    for text in ["", "lamp", "lanp"] {
        for (sellers, left) in [(&[][..], 3), (&[7], 1), (&[7, 8], 0)] {
            let query = SearchQuery {
                text: super::text(text),
                hidden_sellers: hidden(sellers),
                ..SearchQuery::default()
            };
            let page = market.page(&query).await;
            assert_eq!((page.total, page.items.len() as u64), (left, left), "{text:?} without {sellers:?}");
            assert_eq!(page.categories.iter().map(|(_, count)| count).sum::<u64>(), left);
        }
    }
    let query = CategoryQuery { hidden_sellers: hidden(&[7]), limit: 9, ..CategoryQuery::default() };
    let counted = market.search.categories(alice(), query).await.unwrap();
    assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), 1);
}

#[tokio::test]
async fn at_most_fifty_categories_are_counted() {
    let market = Market::in_memory().await;
    for number in 0..60 {
        market.put(Item { category: category(&format!("c{number}")), ..item(number + 1, "Thing") });
    }
    let page = market.page(&SearchQuery::default()).await;
    assert_eq!((page.categories.len(), page.total), (SearchPage::MAX_CATEGORIES, 60));
}

#[tokio::test]
async fn any_query_is_answered_or_refused() {
    let market = Market::of_names(&["Lamp", "x"]).await;
    assert!(SearchText::parse(&"ä".repeat(SearchText::MAX_CHARS + 1)).is_err());
    for text in
        ["ä".repeat(SearchText::MAX_CHARS), "strawberry".repeat(50), "(a:b) AND NOT *^~\"\\ [x TO".into()]
    {
        assert_eq!(market.finds(&text).await, [0; 0], "{text}");
    }
    let many_words: String = (0..120).map(|number| format!("w{number} ")).collect();
    assert_eq!(market.finds(&many_words).await, [0; 0]);
    let long_name = "y".repeat(200);
    market.put(Item { name: ItemName::trusted(long_name.clone()), ..item(3, "") });
    assert_eq!(market.finds(&long_name).await, [3]);
}

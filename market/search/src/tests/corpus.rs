//! Searches of a real catalogue with timings, run by hand.

use std::{collections::BTreeMap, time::Instant};

use souk_domain::{Description, ItemName};

use super::*;

const QUERIES: [&str; 11] = [
    "",
    "t",
    "lantern",
    "lantren",
    "t-light holder",
    "red retrospot",
    "red retrospt lunch ba",
    "cake",
    "84029",
    "white hanging heart t-light holder",
    "aeroplane beutiful chrismas decorration elefant flwer gardn hangign",
];

/// Reads names and prices by stock code from an order log with the columns of UCI Online Retail.
fn catalogue(path: &str) -> Vec<(String, String, i64)> {
    let mut items = BTreeMap::new();
    for line in csv::Reader::from_path(path).unwrap().records() {
        let line = line.unwrap();
        let pence = (line[5].parse::<f64>().unwrap_or(0.0).max(0.0) * 100.0).round() as i64;
        if !line[2].trim().is_empty() {
            items.insert(line[1].to_owned(), (line[2].trim().to_owned(), pence));
        }
    }
    items.into_iter().map(|(code, (name, pence))| (code, name, pence)).collect()
}

/// Lists `count` items: the catalogue, then repetitions of it with another item's last word added to the
/// name.
fn stock(catalogue: &[(String, String, i64)], market: &Shop, count: usize) {
    for number in 0..count {
        let (code, name, pence) = &catalogue[number % catalogue.len()];
        let round = number / catalogue.len();
        let other = &catalogue[(number * 31 + round * 17) % catalogue.len()].1;
        let extra = if round == 0 { "" } else { other.rsplit(' ').next().unwrap_or_default() };
        market.put(Item {
            description: Description::trusted(format!("Stock code {code}")),
            category: category(&format!("shop-{}/shelf-{}", number % 7, number % 40)),
            unit_price: pounds(pence + round as i64),
            ..item(number as i64 + 1, format!("{name} {extra}").trim())
        });
    }
}

#[tokio::test]
#[ignore = "by hand: set SOUK_CORPUS to the CSV of an order log, and run with --nocapture"]
async fn real_catalogues_are_searched_fast() {
    let catalogue = catalogue(&std::env::var("SOUK_CORPUS").expect("SOUK_CORPUS is not set"));
    for count in [catalogue.len(), 20_000, 100_000] {
        let shop = Arc::<Shop>::default();
        stock(&catalogue, &shop, count);
        let home = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let market = Market {
            search: Search::open(
                IndexHome::Directory(home.path().into()),
                Wording::default(),
                shop.clone(),
                StoreWriters::Several,
            )
            .await
            .unwrap(),
            shop,
        };
        while !market.search.load().level {
            tokio::task::yield_now().await;
        }
        println!("{count} items, built in {:?}", begun.elapsed());
        for text in QUERIES {
            for order in [SearchOrder::Relevance, SearchOrder::PriceAscending] {
                report(&market, text, order).await;
            }
        }
        let begun = Instant::now();
        for number in 1..=20 {
            market.put(market.shop.changed(number, |item| item.unit_price = pounds(1)));
            market.finds("lantern").await;
        }
        println!("  own write until seen: {:?}", begun.elapsed() / 20);
        market.search.close().await;
    }
}

async fn report(market: &Market, words: &str, order: SearchOrder) {
    let query = SearchQuery { text: text(words), order, limit: 50, ..SearchQuery::default() };
    let page = market.page(&query).await;
    const ROUNDS: u32 = 10;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        market.page(&query).await;
    }
    let first: Vec<_> = page.items.iter().take(3).map(|item| item.name.as_str()).collect();
    println!("  {:>9.2?} {order:?} {words:?}: {} found: {first:?}", begun.elapsed() / ROUNDS, page.total);
    let exact = SearchQuery { text: text(page.items.first().map_or("", |item| item.name.as_str())), ..query };
    let found = market.page(&SearchQuery { order: SearchOrder::Relevance, ..exact.clone() }).await;
    let same_name = |item: &Arc<Item>| item.name == ItemName::trusted(exact.text.as_str().to_owned());
    assert!(
        exact.text.as_str().is_empty() || found.items.iter().any(same_name),
        "{} is not found by its name",
        exact.text.as_str()
    );
}

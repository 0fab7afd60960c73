//! Histories of changes: searches find what a plain loop over all items finds, also after restarts and crashes.

use std::{fs, path::Path};

use proptest::prelude::*;
use souk_domain::Timestamp;

use super::*;
use crate::SearchOrder;

/// The items that a history is about.
const ITEMS: i64 = 6;

#[derive(Clone, Debug)]
enum Step {
    Rename(i64, bool),
    Reprice(i64, i64),
    SellOut(i64),
    Restock(i64),
    Rate(i64, i64, i64),
    Delete(i64),
    List(i64),
    /// The market ends, and starts again.
    Restart,
    /// The market is killed, and starts again.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let item = || 1..=ITEMS;
    prop_oneof![
        1 => (item(), any::<bool>()).prop_map(|(item, is_lamp)| Step::Rename(item, is_lamp)),
        1 => (item(), 1..4i64).prop_map(|(item, price)| Step::Reprice(item, price)),
        2 => item().prop_map(Step::SellOut),
        2 => item().prop_map(Step::Restock),
        2 => (item(), 0..4i64, 1..6i64).prop_map(|(item, count, stars)| Step::Rate(item, count, stars)),
        1 => item().prop_map(Step::Delete),
        1 => item().prop_map(Step::List),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

type Change = Box<dyn Fn(&mut Item)>;

/// Returns how a step changes an item; `None` if it changes none.
fn change(step: &Step) -> Option<(i64, Change)> {
    Some(match *step {
        Step::Rename(number, is_lamp) => {
            (number, Box::new(move |item| item.name = named(if is_lamp { "red lamp" } else { "red chair" })))
        }
        Step::Reprice(number, price) => (number, Box::new(move |item| item.unit_price = pounds(price))),
        Step::SellOut(number) => (number, Box::new(|item| item.quantity = 0)),
        Step::Restock(number) => (number, Box::new(|item| item.quantity = 3)),
        Step::Rate(number, count, stars) => {
            (number, Box::new(move |item| item.rating = rated(count, count * stars)))
        }
        Step::Delete(number) => (number, Box::new(|item| item.deleted_at = Some(Timestamp(1)))),
        Step::List(number) => (number, Box::new(|item| item.deleted_at = None)),
        Step::Restart | Step::Crash => return None,
    })
}

/// Compares what is found with a plain loop over all items.
async fn compare(market: &Market) {
    let items: Vec<Item> = (1..=ITEMS).map(|number| market.shop.changed(number, |_| ())).collect();
    for (words, in_stock, min_rating, order) in [
        ("", false, None, SearchOrder::PriceAscending),
        ("lamp", true, None, SearchOrder::Newest),
        ("chair", false, Some(2.0), SearchOrder::Rating),
        ("red", true, Some(3.0), SearchOrder::Rating),
        ("red", false, None, SearchOrder::Rating),
    ] {
        let mean = |item: &Item| item.rating.mean().unwrap_or(0.0);
        let mut expected: Vec<&Item> = items.iter().filter(|item| item.is_listed()).collect();
        expected.retain(|item| item.name.as_str().contains(words));
        expected.retain(|item| !in_stock || item.quantity > 0);
        expected.retain(|item| min_rating.is_none_or(|least| mean(item) >= least));
        match order {
            SearchOrder::Newest => expected.reverse(),
            SearchOrder::Rating => expected.sort_by(|one, other| mean(other).total_cmp(&mean(one))),
            _ => expected.sort_by_key(|item| item.unit_price.amount_minor()),
        }
        let query = SearchQuery { text: text(words), in_stock, min_rating, order, ..SearchQuery::default() };
        let page = market.page(&query).await;
        let expected: Vec<i64> = expected.iter().map(|item| item.id.0).collect();
        assert_eq!((numbers(&page), page.total), (expected.clone(), expected.len() as u64), "{query:?}");
    }
}

async fn replay(steps: Vec<Step>) {
    let home = tempfile::tempdir().unwrap();
    let at = |number: usize| IndexHome::Directory(home.path().join(number.to_string()));
    let mut market = Market::open(Arc::default(), at(0)).await;
    for number in 1..=ITEMS {
        market.put(item(number, "red lamp"));
    }
    compare(&market).await;
    let mut home_number = 0;
    for step in &steps {
        if let Some((number, change)) = change(step) {
            market.put(market.shop.changed(number, |item| change(item)));
        } else {
            if let Step::Crash = step {
                // What a crash leaves is what the files are at some moment.
                let (from, to) = (home_number, home_number + 1);
                copy(&home.path().join(from.to_string()), &home.path().join(to.to_string()));
                home_number = to;
            }
            let Market { shop, search } = market;
            search.close().await;
            market = Market::open(shop, at(home_number)).await;
        }
        compare(&market).await;
    }
    market.search.close().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("items")).unwrap();
    for entry in fs::read_dir(from.join("items")).unwrap() {
        let entry = entry.unwrap();
        // A merge may remove a file meanwhile. Then the index is rebuilt.
        let _ = fs::copy(entry.path(), to.join("items").join(entry.file_name()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn searches_find_what_a_plain_loop_finds(steps in prop::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(replay(steps));
    }
}

/// Selling an item out must not cost what changing its name costs.
#[tokio::test]
async fn sold_out_items_are_seen_without_a_commit_of_the_index() {
    let home = tempfile::tempdir().unwrap();
    let market = Market::open(Arc::default(), IndexHome::Directory(home.path().to_owned())).await;
    for number in 1..=3 {
        market.put(item(number, "Lamp"));
    }
    assert_eq!(market.finds("lamp").await, [3, 2, 1]);
    let meta = || fs::read(home.path().join("items/meta.json")).unwrap();
    let before = meta();
    let in_stock = SearchQuery { text: text("lamp"), in_stock: true, ..SearchQuery::default() };
    market.put(market.shop.changed(2, |item| item.quantity = 0));
    assert_eq!(market.found(&in_stock).await, [3, 1]);
    market.put(market.shop.changed(3, |item| item.rating = rated(1, 5)));
    let rated_well = SearchQuery { min_rating: Some(4.5), ..SearchQuery::default() };
    assert_eq!(market.found(&rated_well).await, [3]);
    assert!(meta() == before, "no commit");
    market.put(market.shop.changed(2, |item| item.unit_price = pounds(7)));
    market.page(&in_stock).await;
    assert!(meta() != before, "a commit");
    market.search.close().await;
}

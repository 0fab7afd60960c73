//! Following the store's feed: visibility, recovery and rebuilding.

use std::{fs, path::Path, time::Duration};

use souk_domain::{Quantity, Timestamp};
use souk_store::FeedPosition;

use super::*;
use crate::{
    SearchError,
    directory::{sealed, unsealed},
    schema::VERSION,
};

/// Waits until a condition holds, up to a deadline.
async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn bob() -> PartyId {
    PartyId(Uuid::from_u128(2))
}

fn directory(home: &Path) -> IndexHome {
    IndexHome::Directory(home.to_owned())
}

async fn open(home: IndexHome, shop: Arc<Shop>) -> Result<Search, SearchError> {
    Search::open(home, Wording::default(), shop, StoreWriters::Several).await
}

/// Creates a shop with items 1, 2 and 3, and a closed index of it on disk.
pub(super) async fn closed_index(home: &Path) -> Arc<Shop> {
    let market = Market::open(Arc::default(), directory(home)).await;
    for number in 1..=3 {
        market.put(item(number, "Lamp"));
    }
    assert_eq!(market.finds("lamp").await, [3, 2, 1]);
    market.search.close().await;
    market.shop
}

#[tokio::test]
async fn own_writes_are_in_the_next_search() {
    let market = Market::in_memory().await;
    for number in 1..20 {
        market.put(item(number, &format!("thing{number}")));
        assert_eq!(market.finds(&format!("thing{number}")).await.first(), Some(&number));
        let deleted = market.shop.changed(number, |item| item.deleted_at = Some(Timestamp(1)));
        market.put(deleted);
        assert_eq!(market.finds("thing").await, [0; 0]);
    }
}

#[tokio::test]
async fn others_see_a_write_within_a_second() {
    let market = Market::in_memory().await;
    market.search.feed_moved(market.shop.put(item(1, "Lamp")));
    let seen = eventually("the write is seen", async || {
        !market.search.search(bob(), &SearchQuery::default()).await.unwrap().items.is_empty()
    });
    tokio::time::timeout(Duration::from_secs(1), seen).await.unwrap();
    let load = market.search.load();
    assert_eq!((load.indexed, load.moved, load.level), (FeedPosition(1), FeedPosition(1), true));
    assert_eq!(load.searches, 0);
}

#[tokio::test]
async fn no_hits_are_reported_only_if_nothing_was_listed_by_then() {
    let market = Market::in_memory().await;
    for (number, name) in (1..).zip(["Anvil", "Basket", "Candle", "Drum", "Easel", "Flute"]) {
        market.search.feed_moved(market.shop.put(item(number, name)));
        let query = SearchQuery { text: text(name), ..SearchQuery::default() };
        let found = market.search.search(bob(), &query).await.unwrap();
        assert_eq!(found.items.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn updates_move_items_and_deletes_remove_them() {
    let market = Market::of_names(&["Lamp", "Lamp", "Lamp"]).await;
    let by_price = SearchQuery { order: crate::SearchOrder::PriceAscending, ..SearchQuery::default() };
    market.put(market.shop.changed(1, |item| item.unit_price = pounds(500)));
    assert_eq!(market.found(&by_price).await, [2, 3, 1]);
    market.put(market.shop.changed(2, |item| item.name = souk_domain::ItemName::trusted("Chair".into())));
    assert_eq!(market.finds("lamp").await, [3, 1]);
    assert_eq!(market.finds("chair").await, [2]);
    market.put(market.shop.changed(3, |item| item.quantity = 0));
    let in_stock = SearchQuery { in_stock: true, ..by_price.clone() };
    assert_eq!(market.found(&in_stock).await, [2, 1]);
    market.put(market.shop.changed(1, |item| item.deleted_at = Some(Timestamp(1))));
    let page = market.page(&by_price).await;
    assert_eq!((numbers(&page), page.total), (vec![2, 3], 2));
}

#[tokio::test]
async fn hits_show_the_current_state_of_the_store() {
    let market = Market::of_names(&["Lamp", "Lamp", "Lamp"]).await;
    assert_eq!(market.finds("lamp").await, [3, 2, 1]);
    let stock = Quantity::parse(7).unwrap().units();
    market.shop.change_unnoticed(3, |item| item.quantity = stock);
    market.shop.change_unnoticed(2, |item| item.deleted_at = Some(Timestamp(1)));
    let query = SearchQuery { text: text("lamp"), limit: 2, ..SearchQuery::default() };
    let page = market.page(&query).await;
    assert_eq!(numbers(&page), [3]);
    assert_eq!(page.items[0].quantity, 7);
    assert_eq!(market.found(&SearchQuery { after: page.next, ..query }).await, [1]);
}

#[tokio::test]
async fn reopened_index_resumes_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let shop = closed_index(home.path()).await;
    // Changed without a feed entry: only an index that was kept still knows the old name.
    shop.change_unnoticed(1, |item| item.name = souk_domain::ItemName::trusted("Chair".into()));
    shop.put(item(4, "Lamp"));
    shop.put(shop.changed(2, |item| item.deleted_at = Some(Timestamp(1))));
    let market = Market::open(shop, directory(home.path())).await;
    assert_eq!(market.finds("lamp").await, [4, 3, 1]);
    assert_eq!(market.finds("chair").await, [0; 0]);
    market.search.close().await;
}

#[tokio::test]
async fn missing_or_damaged_index_is_rebuilt() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("all gone", |items| fs::remove_dir_all(items).unwrap()),
        ("empty", |items| {
            fs::remove_dir_all(items).unwrap();
            fs::create_dir(items).unwrap();
        }),
        ("meta cut short", |items| fs::write(items.join("meta.json"), "{\"segm").unwrap()),
        ("meta gone", |items| fs::remove_file(items.join("meta.json")).unwrap()),
        ("segment file gone", |items| fs::remove_file(segment_file(items)).unwrap()),
        ("a byte flipped", |items| {
            let file = segment_file(items);
            let mut bytes = fs::read(&file).unwrap();
            bytes[0] ^= 0x40;
            fs::remove_file(&file).unwrap();
            fs::write(&file, bytes).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let home = tempfile::tempdir().unwrap();
        let shop = closed_index(home.path()).await;
        damage(&home.path().join("items"));
        let market = Market::open(shop, directory(home.path())).await;
        assert_eq!(market.finds("lamp").await, [3, 2, 1], "{what}");
        market.put(item(4, "Lamp"));
        assert_eq!(market.finds("lamp").await, [4, 3, 2, 1], "{what}");
        market.search.close().await;
    }
}

fn segment_file(items: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(items).unwrap().map(|file| file.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|end| end == "term")).unwrap()
}

#[tokio::test]
async fn index_of_another_version_is_rebuilt() {
    let home = tempfile::tempdir().unwrap();
    let shop = closed_index(home.path()).await;
    let meta = home.path().join("items/meta.json");
    let text = String::from_utf8(unsealed(fs::read(&meta).unwrap()).unwrap()).unwrap();
    let other = text.replace(&format!("\\\"version\\\":{VERSION}"), "\\\"version\\\":0");
    assert_ne!(text, other);
    fs::write(&meta, sealed(other.as_bytes())).unwrap();
    shop.change_unnoticed(1, |item| item.name = souk_domain::ItemName::trusted("Chair".into()));
    let market = Market::open(shop, directory(home.path())).await;
    assert_eq!(market.finds("chair").await, [1]);
    market.search.close().await;
}

#[tokio::test]
async fn index_ahead_of_the_store_is_rebuilt() {
    let home = tempfile::tempdir().unwrap();
    closed_index(home.path()).await;
    let earlier = Arc::<Shop>::default();
    earlier.put(item(1, "Lamp"));
    let market = Market::open(earlier, directory(home.path())).await;
    assert_eq!(market.page(&SearchQuery::default()).await.total, 1);
    market.search.close().await;
}

/// An index may hold later changes than those up to which it is complete.
#[tokio::test]
async fn index_with_a_change_that_the_store_has_lost_is_rebuilt() {
    let home = tempfile::tempdir().unwrap();
    let shop = closed_index(home.path()).await;
    let market = Market::open(shop, directory(home.path())).await;
    // Not indexed again, so that the index is complete only up to here.
    market.put(market.shop.changed(1, |item| item.quantity = 0));
    market.page(&SearchQuery::default()).await;
    let before = market.shop.position();
    market.put(item(4, "Lamp"));
    assert_eq!(market.finds("lamp").await, [4, 3, 2, 1]);
    let shop = Arc::clone(&market.shop);
    market.search.close().await;
    shop.set_back(before);
    let market = Market::open(shop, directory(home.path())).await;
    assert_eq!(market.page(&SearchQuery::default()).await.total, 3);
    market.search.close().await;
}

#[tokio::test]
async fn store_that_loses_changes_is_indexed_again() {
    for (home, directory_of) in [(tempfile::tempdir().unwrap(), true), (tempfile::tempdir().unwrap(), false)]
    {
        let index = if directory_of { directory(home.path()) } else { IndexHome::Memory };
        let market = Market::open(Arc::default(), index).await;
        market.put(item(1, "Lamp"));
        let before = market.shop.position();
        market.put(item(2, "Lamp"));
        market.put(item(3, "Lamp"));
        assert_eq!(market.page(&SearchQuery::default()).await.total, 3);
        market.shop.set_back(before);
        market.search.was_set_back();
        eventually("the index is level again", async || {
            let load = market.search.load();
            load.level && load.indexed == before
        })
        .await;
        assert_eq!(market.page(&SearchQuery::default()).await.total, 1);
        market.put(item(4, "Lamp"));
        assert_eq!(market.finds("lamp").await, [4, 1]);
        market.search.close().await;
    }
}

#[tokio::test]
async fn two_markets_can_not_share_an_index() {
    let home = tempfile::tempdir().unwrap();
    let market = Market::open(Arc::default(), directory(home.path())).await;
    let second = open(directory(home.path()), market.shop.clone()).await;
    assert!(matches!(second, Err(SearchError::InUse(_))));
    market.put(item(1, "Lamp"));
    assert_eq!(market.finds("lamp").await, [1]);
    market.search.close().await;
}

/// A file system that was full or lost power leaves files of any length.
#[tokio::test]
async fn index_with_a_truncated_or_missing_file_is_rebuilt() {
    let home = tempfile::tempdir().unwrap();
    let shop = closed_index(home.path()).await;
    let items = home.path().join("items");
    let names = |items: &Path| -> Vec<_> {
        fs::read_dir(items).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    for number in 0..names(&items).len() {
        for keep in [Some(0), Some(3), Some(40), None] {
            // Rebuilding gives the files other names.
            let mut files = names(&items);
            files.sort();
            let Some(file) = files.get(number) else { continue };
            let path = items.join(file);
            let length = fs::metadata(&path).unwrap().len();
            match keep {
                Some(keep) => {
                    fs::File::options().write(true).open(&path).unwrap().set_len(length.min(keep)).unwrap();
                }
                None => fs::remove_file(&path).unwrap(),
            }
            let market = Market::open(shop.clone(), directory(home.path())).await;
            assert_eq!(market.finds("lamp").await, [3, 2, 1], "{file:?} of {keep:?} bytes");
            market.search.close().await;
        }
    }
}

/// tantivy checks only the files in a list of its own.
#[tokio::test]
async fn damage_is_found_without_the_list_of_files() {
    let home = tempfile::tempdir().unwrap();
    let shop = closed_index(home.path()).await;
    let items = home.path().join("items");
    fs::write(items.join(".managed.json"), sealed(b"[]")).unwrap();
    let damaged = segment_file(&items);
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[0] ^= 0x40;
    fs::remove_file(&damaged).unwrap();
    fs::write(&damaged, bytes).unwrap();
    let market = Market::open(shop, directory(home.path())).await;
    assert_eq!(market.finds("lamp").await, [3, 2, 1]);
    // A rebuilt index has other files.
    assert!(!damaged.exists());
    market.search.close().await;
}

#[tokio::test]
async fn index_belongs_to_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("souk.index");
    let shop = closed_index(&home).await;
    let items = home.join("items");
    assert_eq!((mode(&home), mode(&items)), (0o700, 0o700));
    for folder in [&home, &items] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    Market::open(shop, directory(&home)).await.search.close().await;
    assert_eq!((mode(&home), mode(&items)), (0o700, 0o700), "tightened");
}

#[tokio::test]
async fn unusable_directory_is_named() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let opened = open(directory(&file), Arc::default()).await;
    let Err(SearchError::Home { directory, .. }) = opened else { panic!("opened on a file") };
    assert!(directory.starts_with(&file));
}

#[tokio::test]
async fn only_its_own_folder_is_touched() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("thesis.txt"), "years").unwrap();
    let shop = closed_index(home.path()).await;
    fs::write(home.path().join("items/meta.json"), "").unwrap();
    Market::open(shop, directory(home.path())).await.search.close().await;
    assert_eq!(fs::read_to_string(home.path().join("thesis.txt")).unwrap(), "years");
}

#[tokio::test]
async fn index_recovers_when_the_store_does() {
    let market = Market::of_names(&["Lamp"]).await;
    assert_eq!(market.finds("lamp").await, [1]);
    market.shop.set_down(true);
    market.search.remember(alice(), market.shop.put(item(2, "Lamp")));
    let refused = market.search.search(alice(), &SearchQuery::default()).await;
    assert!(matches!(refused, Err(SearchError::Behind)));
    market.shop.set_down(false);
    eventually("the index is level again", async || market.search.load().level).await;
    assert_eq!(market.finds("lamp").await, [2, 1]);
}

#[tokio::test]
async fn opening_fails_when_the_store_does() {
    let home = tempfile::tempdir().unwrap();
    let shop = closed_index(home.path()).await;
    shop.set_down(true);
    let opened = open(directory(home.path()), shop).await;
    assert!(matches!(opened, Err(SearchError::Store(_))));
}

/// A file in the place of its folder keeps the index from being written, for every user and on every file system. The
/// files that are open can still be read.
#[tokio::test]
async fn searches_go_on_while_the_index_can_not_be_written() {
    let home = tempfile::tempdir().unwrap();
    let market = Market::open(Arc::default(), directory(home.path())).await;
    market.put(item(1, "Lamp"));
    assert_eq!(market.finds("lamp").await, [1]);
    let (items, away) = (home.path().join("items"), home.path().join("away"));
    fs::rename(&items, &away).unwrap();
    fs::write(&items, "").unwrap();
    market.put(item(2, "Lamp"));
    eventually("the failure is known", async || market.search.failure().is_some()).await;

    let query = SearchQuery { text: text("lamp"), ..SearchQuery::default() };
    assert_eq!(numbers(&market.search.search(bob(), &query).await.unwrap()), [1], "the last state");
    let chairs = SearchQuery { text: text("chair"), ..SearchQuery::default() };
    let refused = market.search.search(alice(), &query).await;
    assert!(matches!(refused, Err(SearchError::Behind)), "Alice has seen her own change acknowledged");
    eventually("the answers are known to be stale", async || market.search.stale_for().is_some()).await;
    let asked = tokio::time::Instant::now();
    assert_eq!(market.search.search(bob(), &chairs).await.unwrap().total, 0);
    assert!(asked.elapsed() < Duration::from_millis(900), "nobody waits for what can't come");

    fs::remove_file(&items).unwrap();
    fs::rename(&away, &items).unwrap();
    eventually("the index is written again", async || market.search.failure().is_none()).await;
    assert_eq!(market.finds("lamp").await, [2, 1]);
    assert_eq!(market.search.stale_for(), None);
    market.search.close().await;
}

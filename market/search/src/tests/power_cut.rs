//! A power loss may take anything that was not synced: the index is rebuilt, and is never wrong.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::Path,
    sync::{Arc, OnceLock},
};

use proptest::{prelude::*, sample::Index};
use souk_domain::Timestamp;

use super::*;

/// The files of the index by name.
type Files = BTreeMap<OsString, Vec<u8>>;

/// The files as they were after each of some commits, and the shop after the last of them.
struct History {
    shop: Arc<Shop>,
    commits: Vec<Files>,
}

/// What has become of a file.
#[derive(Clone, Debug)]
enum Fate {
    /// As it was after one of the commits, or missing if it did not exist then.
    AsOf(Index),
    /// The blocks from some place on were never written: the file ends there, or reads as zeros.
    Cut { at: Index, is_zeroed: bool },
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => any::<Index>().prop_map(Fate::AsOf),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(at, is_zeroed)| Fate::Cut { at, is_zeroed }),
    ]
}

fn files(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
}

async fn history() -> History {
    let home = tempfile::tempdir().unwrap();
    let items = home.path().join("items");
    let market = Market::open(Arc::default(), IndexHome::Directory(home.path().to_owned())).await;
    let mut commits = vec![files(&items)];
    let mut commit = async |item: Item| {
        market.put(item);
        market.page(&SearchQuery::default()).await;
        commits.push(files(&items));
    };
    for number in 1..=5 {
        commit(item(number, "red lamp")).await;
    }
    for number in 2..=4 {
        let name = named(&format!("blue chair{number}"));
        commit(market.shop.changed(number, |item| item.name = name)).await;
    }
    commit(market.shop.changed(3, |item| item.deleted_at = Some(Timestamp(1)))).await;
    let shop = Arc::clone(&market.shop);
    market.search.close().await;
    commits.push(files(&items));
    History { shop, commits }
}

/// Makes a folder as the power loss has left it.
fn leave(history: &History, fates: &[(Index, Fate)], items: &Path) {
    let (last, earlier) = history.commits.split_last().unwrap();
    let mut left = last.clone();
    let names: Vec<&OsString> = history.commits.iter().flat_map(Files::keys).collect();
    for (name, fate) in fates {
        let name = *name.get(&names);
        match fate {
            Fate::AsOf(commit) => {
                match commit.get(earlier).get(name) {
                    Some(content) => left.insert(name.clone(), content.clone()),
                    None => left.remove(name),
                };
            }
            Fate::Cut { at, is_zeroed } => {
                let Some(content) = left.get_mut(name).filter(|content| !content.is_empty()) else {
                    continue;
                };
                let (at, length) = (at.index(content.len()), content.len());
                content.truncate(at);
                content.resize(if *is_zeroed { length } else { at }, 0);
            }
        }
    }
    fs::create_dir_all(items).unwrap();
    for (name, content) in left {
        fs::write(items.join(name), content).unwrap();
    }
}

/// Opens what is left, and compares it with the shop.
async fn check(history: &History, fates: &[(Index, Fate)]) {
    let home = tempfile::tempdir().unwrap();
    leave(history, fates, &home.path().join("items"));
    let market = Market::open(Arc::clone(&history.shop), IndexHome::Directory(home.path().to_owned())).await;
    assert_eq!(market.finds("lamp").await, [5, 1]);
    assert_eq!(market.finds("chair").await, [4, 2]);
    assert_eq!(market.finds("chair3").await, [0; 0]);
    assert_eq!(market.finds("red lamp").await, [5, 1]);
    assert_eq!(market.page(&SearchQuery::default()).await.total, 4);
    market.search.remember(alice(), market.shop.position());
    market.search.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn index_after_a_power_loss_is_never_wrong(
        fates in prop::collection::vec((any::<Index>(), fate()), 0..6),
    ) {
        static HISTORY: OnceLock<History> = OnceLock::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let history = HISTORY.get_or_init(|| runtime.block_on(history()));
        runtime.block_on(check(history, &fates));
    }
}

/// The names of files with deletions are given by a counter that continues from the last commit.
#[tokio::test]
async fn files_of_a_commit_that_was_lost_are_not_in_the_way() {
    let home = tempfile::tempdir().unwrap();
    let items = home.path().join("items");
    let opened = async |shop| Market::open(shop, IndexHome::Directory(home.path().to_owned())).await;
    let market = opened(Arc::default()).await;
    let shop = Arc::clone(&market.shop);
    for number in 1..=2 {
        shop.put(item(number, "red lamp"));
    }
    market.search.remember(alice(), shop.position());
    assert_eq!(market.finds("lamp").await, [2, 1]);
    market.search.close().await;
    let before = files(&items);
    // The same steps as after the loss, so that the counter comes to the same numbers.
    let market = opened(Arc::clone(&shop)).await;
    assert_eq!(market.finds("lamp").await, [2, 1]);
    market.put(market.shop.changed(1, |item| item.name = named("chair")));
    assert_eq!(market.finds("chair").await, [1]);
    market.search.close().await;
    // The second commit is lost, but not its files.
    for (name, content) in before {
        fs::write(items.join(name), content).unwrap();
    }
    let names: Vec<_> = files(&items).into_keys().collect();
    assert!(names.iter().any(|name| name.to_string_lossy().ends_with(".del")), "{names:?}");
    let market = opened(shop).await;
    assert_eq!(market.finds("chair").await, [1]);
    assert_eq!(market.search.failure(), None);
    market.search.close().await;
}

//! Comparing the index with the store.

use souk_domain::ItemId;

use super::{following::closed_index, *};

#[tokio::test]
async fn index_is_compared_with_the_store() {
    let home = tempfile::tempdir().unwrap();
    let shop = closed_index(home.path()).await;
    let compared = async |shop: &Shop| crate::examine(home.path(), shop).await.unwrap().unwrap();
    assert!(compared(&shop).await.is_complete());
    assert_eq!(compared(&shop).await.agreeing, 3);
    // Later than the index, so it is not compared.
    shop.put(item(4, "Chair"));
    assert!(compared(&shop).await.is_complete());
    shop.change_unnoticed(1, |item| item.unit_price = pounds(77));
    shop.change_unnoticed(2, |item| item.deleted_at = Some(item.updated_at));
    let differing = compared(&shop).await;
    assert_eq!((differing.different, differing.superfluous), (vec![ItemId(1)], vec![ItemId(2)]));
    let other = Shop::default();
    for number in [3, 9] {
        other.put(item(number, "Lamp"));
    }
    let differing = compared(&other).await;
    assert_eq!((differing.missing, differing.superfluous), (vec![ItemId(9)], vec![ItemId(1), ItemId(2)]));
    assert_eq!(crate::examine(&home.path().join("nowhere"), &*shop).await.unwrap(), None);
}

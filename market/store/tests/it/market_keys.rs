//! The public keys that markets publish to each other.

use std::time::Duration;

use souk_domain::Timestamp;
use souk_store::{ENDED_KEY_RETENTION, MAX_PUBLISHED_KEYS, PublishedKey};

use super::{HOUR, Shop, on_every_back_end};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

on_every_back_end!(published_key_is_returned_until_it_ends, ended_keys_are_removed, keys_are_bounded);

fn key(id: &str, life: Duration) -> PublishedKey {
    PublishedKey {
        id: id.to_owned(),
        public_key: vec![7; 32],
        not_before: NOW,
        not_after: NOW.plus(life),
        certificate: vec![0x30, 0, 255],
        signature: vec![1, 2, 3],
    }
}

async fn published_key_is_returned_until_it_ends(shop: Shop) {
    let keys = &shop.store.market_keys;
    assert_eq!(keys.published(NOW).await.unwrap(), []);
    let (first, second) = (key("a", HOUR), key("b", 2 * HOUR));
    keys.publish(&first, NOW).await.unwrap();
    keys.publish(&second, NOW).await.unwrap();
    assert_eq!(keys.published(NOW.plus(HOUR)).await.unwrap(), [second.clone(), first.clone()]);
    assert_eq!(
        keys.published(NOW.plus(HOUR + Duration::from_micros(1))).await.unwrap(),
        std::slice::from_ref(&second)
    );
    // Published again under another certificate.
    let again = PublishedKey { certificate: vec![9], signature: vec![8], ..key("a", 3 * HOUR) };
    keys.publish(&again, NOW).await.unwrap();
    assert_eq!(keys.published(NOW).await.unwrap(), [again, second]);
}

async fn ended_keys_are_removed(shop: Shop) {
    let keys = &shop.store.market_keys;
    keys.publish(&key("a", HOUR), NOW).await.unwrap();
    let ended = NOW.plus(HOUR + ENDED_KEY_RETENTION);
    keys.publish(&key("b", 2 * HOUR), ended).await.unwrap();
    assert_eq!(keys.published(NOW).await.unwrap().len(), 2, "not yet");
    keys.publish(&key("c", HOUR), ended.plus(Duration::from_micros(1))).await.unwrap();
    let left: Vec<_> = keys.published(NOW).await.unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!(left, ["b", "c"]);
}

async fn keys_are_bounded(shop: Shop) {
    let keys = &shop.store.market_keys;
    for number in 0..MAX_PUBLISHED_KEYS + 10 {
        let life = HOUR + Duration::from_secs(number as u64);
        keys.publish(&key(&number.to_string(), life), NOW).await.unwrap();
    }
    let found = keys.published(NOW).await.unwrap();
    assert_eq!((found.len(), found[0].id.as_str()), (MAX_PUBLISHED_KEYS, "265"), "those that end last");
}

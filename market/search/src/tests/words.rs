//! What is found by other spellings than that of the item.

use souk_domain::Sku;

use super::*;
use crate::{Languages, Synonyms};

async fn market(names: &[&str]) -> Market {
    let languages = Languages::parse(&["en", "de"]).unwrap();
    let wording = Wording::new(languages, Synonyms::parse("sofa, couch").unwrap());
    let market = Market::open_with(Arc::default(), IndexHome::Memory, wording).await;
    market.put_named(names);
    market
}

#[tokio::test]
async fn items_are_found_in_other_spellings() {
    for (name, queries) in [
        ("Wi-Fi Router", &["wifi", "Wi-Fi"][..]),
        ("Toner AB123", &["AB-123", "ab 123"]),
        ("Toner AB-123", &["AB123"]),
        ("Drill 10mm", &["10 mm"]),
        ("Screws 5.5x40", &["5.5x40", "5,5 x 40"]),
        ("Head\u{ad}phones", &["headphones", "head\u{ad}phones"]),
        ("C++ primer", &["c++"]),
        ("½ barrel", &["1/2 barrel"]),
        ("ＡＢＣ 12", &["abc"]),
        ("陶器の茶碗", &["陶器", "茶碗", "茶"]),
        ("수제도자기컵", &["도자기"]),
        ("กระเป๋าสาน", &["กระเป๋า"]),
        ("Lederschuhe", &["schuhe"]),
        ("כִּסֵּא", &["כסא"]),
        ("كُرْسِيّ ٣", &["كرسي", "3"]),
        ("Καφές", &["ΚΑΦΈΣ", "καφεσ"]),
        ("Wristwatch", &["wrist watch", "wristwatches"]),
        ("Drill 10 mm", &["10mm"]),
        ("Lunch box", &["lunchbox"]),
        ("Kitchen knives", &["knife", "KNIVES kitchen"]),
        ("Sofa", &["couches", "couch"]),
        ("Red mug", &["mug red", "red mu"]),
    ] {
        let market = market(&[name, "Something else"]).await;
        for query in queries {
            assert_eq!(market.finds(query).await, [1], "{name} by {query}");
        }
    }
}

#[tokio::test]
async fn skus_are_found_whole_and_in_parts() {
    let market = market(&["Lamp"]).await;
    market.put(Item { sku: Some(Sku::parse("KB-1180/US").unwrap()), ..item(2, "Keyboard") });
    for query in ["KB-1180/US", "kb1180us", "KB-1180", "kb1180", "1180"] {
        assert_eq!(market.finds(query).await, [2], "{query}");
    }
}

/// The word as typed comes first, whatever else an item has.
#[tokio::test]
async fn inflections_rank_below_words_as_typed() {
    let market = market(&["Watches", "Watch for divers", "Watches for divers", "Watch"]).await;
    assert_eq!(market.finds("watch").await, [4, 2, 1, 3]);
    assert_eq!(market.finds("watches").await, [1, 3, 4, 2]);
}

#[tokio::test]
async fn suggestions_are_spelt_as_the_first_hit_is() {
    let market = market(&["Oil lamp", "Old lamp", "Lane"]).await;
    for (query, first, suggestion) in [
        ("lanp", 3, Some("lane")),
        ("LANP, oil!", 1, Some("lamp, oil!")),
        ("lamp", 2, None),
        ("old lmap", 2, Some("old lamp")),
        ("lampsh", 0, None),
    ] {
        let page = market.page(&SearchQuery { text: text(query), ..SearchQuery::default() }).await;
        let found = page.items.first().map_or(0, |item| item.id.0);
        assert_eq!((found, page.did_you_mean.as_deref()), (first, suggestion), "{query}");
    }
}

#[tokio::test]
async fn symbols_alone_find_nothing_and_say_so() {
    let market = market(&["Lantern 🏮 !!!"]).await;
    for (query, is_wordless, total) in
        [("🏮", true, 0), (" !!! ", true, 0), ("", false, 1), ("lantern!", false, 1)]
    {
        let page = market.page(&SearchQuery { text: text(query), ..SearchQuery::default() }).await;
        assert_eq!(
            (page.is_wordless, page.total, page.items.len() as u64),
            (is_wordless, total, total),
            "{query:?}"
        );
    }
}

/// The stems of one language are worth nothing to another.
#[tokio::test]
async fn an_index_is_rebuilt_for_other_languages() {
    let (home, shop) = (tempfile::tempdir().unwrap(), Arc::<Shop>::default());
    shop.put(item(1, "Lederschuhe"));
    let open = async |languages: &[&str]| {
        let wording = Wording::new(Languages::parse(languages).unwrap(), Synonyms::default());
        Market::open_with(Arc::clone(&shop), IndexHome::Directory(home.path().to_owned()), wording).await
    };
    for (languages, found) in [(&[][..], &[][..]), (&["de"], &[1]), (&["de", "en"], &[1]), (&["en"], &[])] {
        let market = open(languages).await;
        assert_eq!(market.finds("schuhe").await, found, "{languages:?}");
        market.search.clone().close().await;
    }
}

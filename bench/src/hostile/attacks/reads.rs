//! Reads that are expensive, or whose answers nobody takes.

use prost::Message as _;
use souk_proto::v1;

use super::{STREAMS, flood};
use crate::hostile::{
    attacker::{Attacker, Who},
    case::cases,
    link::Reading,
};

cases!(
    Market 8 long_word_searches "searches for 16 words of 30 random letters",
    Market 8 typo_searches "searches for 16 words that are a typo away from many",
    Market 8 deep_pages "searches for a page far behind",
    Market 8 unread_searches "pages of 100 items that are never read",
    Market 8 unread_exports "exports that are never read",
    Market 8 unread_watches "watches that are never read",
    Market 8 watches "watches of a search while the watched items change",
    Market 4 changes_of_watched_items "changes of items that the attacker's own streams watch",
);

const WORDS: u32 = 16;

/// Returns a word of so many letters, which is different for each number.
fn word(number: u32, letters: u32) -> String {
    let mut state = number.wrapping_mul(2_654_435_761) | 1;
    (0..letters)
        .map(|_| {
            // A linear congruential generator; the high bits are random enough.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + u8::try_from((state >> 24) % 26).unwrap_or_default())
        })
        .collect()
}

/// Searches for words as fast as the market answers.
async fn search_words(attacker: Attacker, letters: u32) -> anyhow::Result<()> {
    flood(attacker, Who::Buyer, "CatalogService/SearchItem", |stream| {
        let words: Vec<_> = (0..WORDS).map(|at| word(stream * WORDS + at, letters)).collect();
        v1::SearchItemRequest { query: words.join(" "), ..Default::default() }.encode_to_vec()
    })
    .await
}

async fn long_word_searches(attacker: Attacker) -> anyhow::Result<()> {
    search_words(attacker, 30).await
}

async fn typo_searches(attacker: Attacker) -> anyhow::Result<()> {
    search_words(attacker, 9).await
}

async fn deep_pages(attacker: Attacker) -> anyhow::Result<()> {
    let page_token = attacker.passes.deep_page.clone();
    let request =
        v1::SearchItemRequest { query: "lamp".into(), page_size: 100, page_token, ..Default::default() }
            .encode_to_vec();
    flood(attacker, Who::Buyer, "CatalogService/SearchItem", |_| request.clone()).await
}

/// Makes calls, reads no answer, and keeps the connection open.
async fn unread(attacker: Attacker, who: Who, method: &str, request: &[u8]) -> anyhow::Result<()> {
    let headers = attacker.headers(who, method);
    let mut link = attacker.link_that(Reading::NoBodies, who).await?;
    for _ in 0..STREAMS {
        link.call(&headers, request).await?;
    }
    loop {
        // A stream that the market has ended makes room for another.
        link.answered().await?;
        link.call(&headers, request).await?;
    }
}

async fn unread_searches(attacker: Attacker) -> anyhow::Result<()> {
    let request = v1::SearchItemRequest { query: "lamp".into(), page_size: 1_000, ..Default::default() };
    unread(attacker, Who::Buyer, "CatalogService/SearchItem", &request.encode_to_vec()).await
}

async fn unread_exports(attacker: Attacker) -> anyhow::Result<()> {
    unread(attacker, Who::Seller, "SellerService/ExportItems", &[]).await
}

async fn unread_watches(attacker: Attacker) -> anyhow::Result<()> {
    let request = v1::WatchSearchRequest { query: "lamp".into(), ..Default::default() };
    unread(attacker, Who::Buyer, "CatalogService/WatchSearch", &request.encode_to_vec()).await
}

async fn watches(attacker: Attacker) -> anyhow::Result<()> {
    let headers = attacker.headers(Who::Buyer, "CatalogService/WatchSearch");
    let mut link = attacker.link(Who::Buyer).await?;
    for number in 0..STREAMS {
        let query = format!("lamp {}", word(u32::try_from(number)?, 3));
        let request = v1::WatchSearchRequest { query, ..Default::default() };
        link.call(&headers, &request.encode_to_vec()).await?;
    }
    link.closed().await?;
    Ok(())
}

async fn changes_of_watched_items(attacker: Attacker) -> anyhow::Result<()> {
    let watching = attacker.headers(Who::Seller, "CatalogService/WatchSearch");
    let mut watch = attacker.link(Who::Seller).await?;
    let request = v1::WatchSearchRequest { query: "lamp".into(), ..Default::default() }.encode_to_vec();
    for _ in 0..STREAMS {
        watch.call(&watching, &request).await?;
    }
    let headers = attacker.headers(Who::Seller, "SellerService/UpdateItem");
    let item = attacker.passes.own_item;
    let update = |stream: u32| {
        v1::UpdateItemRequest {
            request_id: souk_certs::random::uuid_v4().to_string(),
            item_id: item + i64::from(stream / 2 % 100),
            item: Some(v1::ItemDraft {
                unit_price: souk_testkit::actor::pounds(i64::from(stream)),
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec()
    };
    Ok(attacker.link(Who::Seller).await?.calls(8, &headers, update).await?)
}

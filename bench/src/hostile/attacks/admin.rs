//! The admin port and the callback servers of others.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};

use super::silent;
use crate::hostile::{attacker::Attacker, case::cases};

cases!(
    Admin 3_000 silent_admin_sockets "connections to the admin port that send nothing",
    Admin 300 slow_admin_requests "a byte of a request to the admin port every 100 ms",
    Admin 64 endless_admin_headers "a request to the admin port whose headers never end",
    Admin 16 scrapes "one request for the metrics after another",
    Callback 48 silent_callback_sockets "connections to a seller's callback port that send nothing",
);

const SLOW: Duration = Duration::from_millis(100);

async fn silent_admin_sockets(attacker: Attacker) -> anyhow::Result<()> {
    silent(attacker).await
}

async fn slow_admin_requests(attacker: Attacker) -> anyhow::Result<()> {
    let mut stream = attacker.tcp().await?;
    for byte in b"GET /metrics HTTP/1.1\r\nx-slow: ".iter().chain(std::iter::repeat(&b'x')) {
        stream.write_all(&[*byte]).await?;
        attacker.hit().await;
        sleep(SLOW).await;
    }
    Ok(())
}

async fn endless_admin_headers(attacker: Attacker) -> anyhow::Result<()> {
    let mut stream = attacker.tcp().await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\n").await?;
    let more = "x-more: and more and more\r\n".repeat(100);
    loop {
        stream.write_all(more.as_bytes()).await?;
        attacker.hit().await;
    }
}

async fn scrapes(attacker: Attacker) -> anyhow::Result<()> {
    let mut stream = attacker.tcp().await?;
    loop {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: market\r\n\r\n").await?;
        attacker.hit().await;
        if !attacker.answers() {
            continue;
        }
        // The length of the answer is not looked at: the next request goes out when anything has come.
        if stream.read(&mut vec![0; 64 * 1024]).await? == 0 {
            return Ok(());
        }
    }
}

async fn silent_callback_sockets(attacker: Attacker) -> anyhow::Result<()> {
    silent(attacker).await
}

//! HTTP/2 frame by frame (RFC 9113 §4.1), for what no client library would send.

use souk_testkit::{
    actor::Actor,
    frames::{self, Frame, GOAWAY, block, call_headers},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::{
    fixture::{Fixture, MARKET, PATIENCE},
    forge::{client, from_files},
};

/// A party's connection.
pub(crate) struct Wire {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

/// A frame from the market.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Wire {
    pub(crate) async fn open(fixture: &Fixture, party: &Actor) -> Self {
        let tls = client(fixture, Some(from_files(&party.config.credentials)));
        let mut stream = fixture.shake_hands(tls).await.unwrap();
        frames::send_preface(&mut stream, &[]).await.unwrap();
        Self { stream, received: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Returns the next frame, or `None` if the market has closed the connection.
    pub(crate) async fn receive(&mut self) -> Option<Received> {
        loop {
            if let Some((Frame { kind, flags, stream, payload }, rest)) = Frame::split(&self.received) {
                let (payload, length) = (payload.to_vec(), self.received.len() - rest.len());
                self.received.drain(..length);
                return Some(Received { kind, flags, stream, payload });
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
            // A reset counts as an end, too.
            if read.expect("a frame or an end in time").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Returns the next frame that `wanted` accepts. Fails at GOAWAY.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Received) -> bool) -> Received {
        loop {
            let frame = self.receive().await.expect("the connection is open");
            assert_ne!(frame.kind, GOAWAY, "{}", String::from_utf8_lossy(&frame.payload));
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Sends frames until the market ends the connection or has taken all of them, and returns what it
    /// answered.
    pub(crate) async fn flood(self, frames: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
        let flooded = timeout(PATIENCE, frames::flood(self.stream, frames)).await;
        flooded.expect("the market ends the connection")
    }
}

/// Returns the headers of a call without metadata.
pub(crate) fn post(path: &str) -> Vec<u8> {
    block(&call_headers(MARKET, path, &[]))
}

//! HTTP/2 frame by frame (RFC 9113 §4.1), for what no client library would send.

use souk_testkit::actor::Actor;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::{
    fixture::{Fixture, PATIENCE},
    forge::{client, from_files},
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

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
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Self { stream, received: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Returns the next frame, or `None` if the market has closed the connection.
    pub(crate) async fn receive(&mut self) -> Option<Received> {
        loop {
            if let Some((header, rest)) = self.received.split_first_chunk::<9>() {
                let [high, middle, low, kind, flags, stream @ ..] = *header;
                let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                if let Some(payload) = rest.get(..length) {
                    let payload = payload.to_vec();
                    self.received.drain(..9 + length);
                    return Some(Received { kind, flags, stream: u32::from_be_bytes(stream), payload });
                }
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
        let (mut reading, mut writing) = tokio::io::split(self.stream);
        let read = tokio::spawn(async move {
            let mut answer = Vec::new();
            // A reset counts as an end, too.
            let _ = reading.read_to_end(&mut answer).await;
            answer
        });
        for frame in frames {
            if writing.write_all(&frame).await.is_err() {
                break;
            }
        }
        let _ = writing.shutdown().await;
        drop(writing);
        timeout(PATIENCE, read).await.expect("the market ends the connection").unwrap()
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Encodes a header block without compression (RFC 7541 §6.2.2).
pub(crate) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "longer ones have another length");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Returns the headers of a call without metadata.
pub(crate) fn post(path: &str) -> Vec<u8> {
    block(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "market.souk.internal"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

/// Returns the types of the frames in an answer.
pub(crate) fn kinds(answer: &[u8]) -> Vec<u8> {
    let (mut kinds, mut rest) = (Vec::new(), answer);
    while rest.len() >= 9 {
        kinds.push(rest[3]);
        let length = 9 + (usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]));
        rest = &rest[length.min(rest.len())..];
    }
    kinds
}

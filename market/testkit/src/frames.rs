//! HTTP/2 frame by frame (RFC 9113), for attacks that no HTTP/2 library would send.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Frame type DATA.
pub const DATA: u8 = 0;
/// Frame type HEADERS.
pub const HEADERS: u8 = 1;
/// Frame type PRIORITY.
pub const PRIORITY: u8 = 2;
/// Frame type RST_STREAM.
pub const RST_STREAM: u8 = 3;
/// Frame type SETTINGS.
pub const SETTINGS: u8 = 4;
/// Frame type PING.
pub const PING: u8 = 6;
/// Frame type GOAWAY.
pub const GOAWAY: u8 = 7;
/// Frame type WINDOW_UPDATE.
pub const WINDOW_UPDATE: u8 = 8;
/// Frame type CONTINUATION.
pub const CONTINUATION: u8 = 9;

/// Flag of DATA and HEADERS: the sender's last frame of the stream.
pub const END_STREAM: u8 = 1;
/// Flag of HEADERS and CONTINUATION: the last frame of the header block.
pub const END_HEADERS: u8 = 4;
/// Flag of DATA and HEADERS: the payload has padding.
pub const PADDED: u8 = 8;

/// The error code of a cancelled stream.
pub const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
/// The most bytes of payload that a peer has to accept in a frame (RFC 9113 §4.2).
pub const MAX_FRAME_BYTES: usize = 16_384;

/// The number of bytes before a frame's payload.
const FRAME_HEADER_BYTES: usize = 9;
/// What a client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first index of the dynamic table, which is that of the newest entry (RFC 7541 §2.3.3).
const NEWEST: usize = 62;
/// The overhead of an entry of the dynamic table (RFC 7541 §4.1).
const ENTRY_OVERHEAD: usize = 32;
/// The size of the dynamic table unless the peer sets another.
const TABLE_BYTES: usize = 4_096;

/// Encodes a frame.
///
/// # Panics
/// Panics if the payload is longer than a frame can be.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 1 << 24, "a frame's length has 24 bits");
    let length = payload.len().to_be_bytes();
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    frame.extend(&length[length.len() - 3..]);
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Encodes a setting of a SETTINGS frame.
#[must_use]
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// Encodes a header block whose headers do not enter the dynamic table (RFC 7541 §6.2.2).
#[must_use]
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| literal(0, name, value)).collect()
}

/// Encodes a header that enters the dynamic table (RFC 7541 §6.2.1).
#[must_use]
pub fn indexing(name: &str, value: &str) -> Vec<u8> {
    literal(0x40, name, value)
}

/// Encodes a header that is in the static or the dynamic table (RFC 7541 §6.1).
#[must_use]
pub fn indexed(index: usize) -> Vec<u8> {
    let mut block = Vec::new();
    integer(&mut block, 0x80, 7, index);
    block
}

fn literal(first: u8, name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![first];
    for text in [name, value] {
        integer(&mut block, 0, 7, text.len());
        block.extend(text.as_bytes());
    }
    block
}

/// Encodes an integer behind a prefix of some bits (RFC 7541 §5.1).
fn integer(block: &mut Vec<u8>, first: u8, bits: u32, value: usize) {
    let most = (1_usize << bits) - 1;
    let byte = |value: usize| u8::try_from(value & 0xff).unwrap_or(u8::MAX);
    if value < most {
        block.push(first | byte(value));
        return;
    }
    block.push(first | byte(most));
    let mut rest = value - most;
    while rest >= 0x80 {
        block.push(byte(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    block.push(byte(rest));
}

/// The headers of a call that is repeated on a connection: the first time as text, then as one byte each.
#[derive(Clone, Debug)]
pub struct Repeated {
    /// The block of the first call.
    pub first: Vec<u8>,
    /// The block of every other call, provided that no other headers enter the dynamic table in between.
    pub again: Vec<u8>,
}

impl Repeated {
    /// Encodes headers. If they do not fit into the dynamic table together, they are sent as text each time.
    #[must_use]
    pub fn new(headers: &[(&str, &str)]) -> Self {
        let size: usize = headers.iter().map(|(name, value)| name.len() + value.len() + ENTRY_OVERHEAD).sum();
        if size > TABLE_BYTES {
            return Self { first: block(headers), again: block(headers) };
        }
        let first = headers.iter().flat_map(|(name, value)| indexing(name, value)).collect();
        let again = (0..headers.len()).rev().flat_map(|age| indexed(NEWEST + age)).collect();
        Self { first, again }
    }
}

/// Returns the headers of a gRPC call (gRPC over HTTP/2), in the order in which they must come.
#[must_use]
pub fn call_headers<'a>(
    authority: &'a str,
    path: &'a str,
    metadata: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    headers.extend(metadata);
    headers
}

/// Frames a message as gRPC does: not compressed, and with its length.
#[must_use]
pub fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), bytes].concat()
}

/// A frame that was received.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The type.
    pub kind: u8,
    /// The flags, whose meaning depends on the type.
    pub flags: u8,
    /// The stream, or 0 for the connection.
    pub stream: u32,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Decodes the first frame, and returns it with the bytes after it. `None` if it is not complete.
    #[must_use]
    pub fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        let [high, middle, low, kind, flags, stream @ ..] = *header;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let (payload, rest) = rest.split_at_checked(length)?;
        // The highest bit is reserved.
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        Some((Self { kind, flags, stream, payload }, rest))
    }
}

/// Returns the types of the complete frames in an answer.
#[must_use]
pub fn kinds(answer: &[u8]) -> Vec<u8> {
    let (mut kinds, mut rest) = (Vec::new(), answer);
    while let Some((frame, more)) = Frame::split(rest) {
        kinds.push(frame.kind);
        rest = more;
    }
    kinds
}

/// Begins HTTP/2 on a stream, with the given settings, encoded by [`setting`].
///
/// # Errors
/// The stream is broken.
pub async fn send_preface<S: AsyncWrite + Unpin>(stream: &mut S, settings: &[u8]) -> io::Result<()> {
    stream.write_all(PREFACE).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, settings)).await
}

/// Sends frames on a connection that has begun, until the peer ends it or has taken all of them, and returns what it answered.
pub async fn flood<S>(stream: S, frames: impl Iterator<Item = Vec<u8>>) -> Vec<u8>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut reading, mut writing) = tokio::io::split(stream);
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
    read.await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_encoded_as_in_the_examples_of_rfc_7541() {
        let encoded = |first, bits, value| {
            let mut block = Vec::new();
            integer(&mut block, first, bits, value);
            block
        };
        assert_eq!(encoded(0, 5, 10), [0b0_1010]);
        assert_eq!(encoded(0, 5, 1_337), [0b1_1111, 0b1001_1010, 0b0000_1010]);
        assert_eq!(indexed(2), [0x82]);
    }

    #[test]
    fn repeated_headers_are_one_byte_each() {
        let repeated = Repeated::new(&[("a", "1"), ("b", "2")]);
        assert_eq!(repeated.first, [0x40, 1, b'a', 1, b'1', 0x40, 1, b'b', 1, b'2']);
        assert_eq!(repeated.again, [0x80 | 63, 0x80 | 62], "the older one first");
        let large = "x".repeat(TABLE_BYTES);
        let repeated = Repeated::new(&[("a", &large)]);
        assert_eq!(repeated.first, repeated.again);
    }

    #[test]
    fn frames_are_read_as_they_are_written() {
        let answer = [frame(PING, 0, 0, &[0; 8]), frame(DATA, END_STREAM, 1, &[7; 70_000])].concat();
        assert_eq!(kinds(&answer), [PING, DATA]);
        assert_eq!(message(b"ab"), [0, 0, 0, 0, 2, b'a', b'b']);
    }
}

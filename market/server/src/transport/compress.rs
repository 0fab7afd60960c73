//! Compression of large answers for clients that accept it.
//!
//! tonic would compress every message, at a level that is meant for files. Compressing takes time of a server thread,
//! so small answers are sent as they are, and the sizes below keep it to a few milliseconds at most
//! (docs/design.md has the measurements).

use std::io::Write as _;

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::messages::PREFIX_BYTES;

/// Smaller answers fit into a few packets anyway.
pub(super) const SMALLEST: usize = 16 * 1024;
/// Larger answers would take gzip too long.
const LARGEST_GZIP: usize = 128 * 1024;
/// The fastest level of zstd that is meant for general use.
const ZSTD_LEVEL: i32 = 1;
const COMPRESSED: u8 = 1;

const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// A message encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Zstd,
}

impl Encoding {
    /// Returns the better encoding of those that a client accepts; `None` if it accepts none.
    pub(super) fn accepted(request: &HeaderMap) -> Option<Self> {
        let accepted = request.get(ACCEPTED)?.to_str().ok()?;
        let accepts = |name: &str| accepted.split(',').any(|one| one.trim() == name);
        if accepts("zstd") { Some(Self::Zstd) } else { accepts("gzip").then_some(Self::Gzip) }
    }

    /// Compresses a frame that is one message, and names the encoding in the answer's headers. Returns the frame as it is
    /// if that is not worth it.
    pub(super) fn apply(self, frame: Bytes, headers: &mut HeaderMap) -> Bytes {
        if frame.len() < SMALLEST || !is_one_message(&frame) || headers.contains_key(ENCODING) {
            return frame;
        }
        let compressed = self.compress(&frame[PREFIX_BYTES..]);
        match compressed.filter(|compressed| compressed.len() < frame.len() / 10 * 9) {
            Some(compressed) => {
                let name = match self {
                    Self::Gzip => "gzip",
                    Self::Zstd => "zstd",
                };
                headers.insert(ENCODING, HeaderValue::from_static(name));
                compressed
            }
            None => frame,
        }
    }

    /// Returns the compressed message with its prefix.
    fn compress(self, message: &[u8]) -> Option<Bytes> {
        let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len() / 4);
        frame.put_bytes(0, PREFIX_BYTES);
        match self {
            Self::Gzip if message.len() <= LARGEST_GZIP => {
                let mut encoder = GzEncoder::new((&mut frame).writer(), Compression::fast());
                encoder.write_all(message).ok()?;
                encoder.finish().ok()?;
            }
            Self::Gzip => return None,
            Self::Zstd => frame.put_slice(&zstd::bulk::compress(message, ZSTD_LEVEL).ok()?),
        }
        let length = u32::try_from(frame.len() - PREFIX_BYTES).ok()?;
        let mut prefix = &mut frame[..PREFIX_BYTES];
        prefix.put_u8(COMPRESSED);
        prefix.put_u32(length);
        Some(frame.freeze())
    }
}

/// Returns whether a frame consists of exactly one message, which is not compressed.
fn is_one_message(frame: &Bytes) -> bool {
    let Some((prefix, message)) = frame.split_first_chunk::<PREFIX_BYTES>() else { return false };
    let [flag, length @ ..] = *prefix;
    flag == 0 && usize::try_from(u32::from_be_bytes(length)) == Ok(message.len())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn frame(message: &[u8]) -> Bytes {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).unwrap());
        frame.put_slice(message);
        frame.freeze()
    }

    fn accepted(header: &'static str) -> Option<Encoding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPTED, HeaderValue::from_static(header));
        Encoding::accepted(&headers)
    }

    #[test]
    fn the_better_accepted_encoding_is_used() {
        assert_eq!(Encoding::accepted(&HeaderMap::new()), None);
        assert_eq!(accepted("identity, deflate"), None);
        assert_eq!(accepted("identity, deflate, gzip"), Some(Encoding::Gzip));
        assert_eq!(accepted("gzip,zstd,identity"), Some(Encoding::Zstd));
    }

    #[test]
    fn large_messages_are_compressed_and_small_ones_are_not() {
        let text = b"a lamp that gives a warm light; ".repeat(1_000);
        for (encoding, name) in [(Encoding::Gzip, "gzip"), (Encoding::Zstd, "zstd")] {
            let mut headers = HeaderMap::new();
            let small = frame(&text[..SMALLEST - PREFIX_BYTES - 1]);
            assert_eq!(encoding.apply(small.clone(), &mut headers), small);
            assert!(headers.is_empty());
            let compressed = encoding.apply(frame(&text), &mut headers);
            assert_eq!(headers[ENCODING], name);
            let (prefix, body) = compressed.split_first_chunk::<PREFIX_BYTES>().unwrap();
            assert_eq!(prefix[0], COMPRESSED);
            assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, body.len());
            let mut read = Vec::new();
            match encoding {
                Encoding::Gzip => flate2::read::GzDecoder::new(body).read_to_end(&mut read).unwrap(),
                Encoding::Zstd => {
                    zstd::stream::read::Decoder::new(body).unwrap().read_to_end(&mut read).unwrap()
                }
            };
            assert_eq!(read, text);
        }
    }

    #[test]
    fn what_does_not_shrink_or_is_no_single_message_is_left_alone() {
        let mut headers = HeaderMap::new();
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(2 * SMALLEST)
        .collect();
        let two = Bytes::from([frame(&[1; 20_000]), frame(&[1; 20_000])].concat());
        for unchanged in [frame(&noise), two] {
            assert_eq!(Encoding::Zstd.apply(unchanged.clone(), &mut headers), unchanged);
        }
        let huge = frame(&vec![1; LARGEST_GZIP + 1]);
        assert_eq!(Encoding::Gzip.apply(huge.clone(), &mut headers), huge, "it would take gzip too long");
        assert!(headers.is_empty());
    }
}

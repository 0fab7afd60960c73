//! The messages in a gRPC request body (gRPC over HTTP/2, "Length-Prefixed-Message"), counted as its bytes pass.

/// A flag and the length of the message.
pub(super) const PREFIX_BYTES: usize = 5;

/// Finds the prefixes of messages in a stream of bytes, however it is cut into pieces.
#[derive(Debug, Default)]
pub(super) struct MessageScanner {
    prefix: [u8; PREFIX_BYTES],
    filled: usize,
    /// Bytes until the next prefix.
    skip: usize,
}

impl MessageScanner {
    /// Reads the next bytes up to the end of the `most`th message that begins in them. Returns how many begin, and how
    /// many bytes that were.
    pub(super) fn count(&mut self, bytes: &[u8], most: u32) -> (u32, usize) {
        let (mut found, length, mut bytes) = (0, bytes.len(), bytes);
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() || (found == most && self.filled == 0) {
                return (found, length - bytes.len());
            }
            let taken = (PREFIX_BYTES - self.filled).min(bytes.len());
            self.prefix[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled < PREFIX_BYTES {
                return (found, length);
            }
            self.filled = 0;
            let [_, length @ ..] = self.prefix;
            // tonic rejects a length beyond its limit, so what follows does not matter.
            self.skip = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            found += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_are_counted_however_the_bytes_are_cut(
            lengths in prop::collection::vec(0..300_usize, 0..20),
            cuts in prop::collection::vec(1..400_usize, 1..50),
            most in 1..30_u32,
        ) {
            let mut bytes = Vec::new();
            for length in &lengths {
                bytes.push(0);
                bytes.extend(u32::try_from(*length).unwrap().to_be_bytes());
                bytes.extend(vec![0xAA; *length]);
            }
            let (mut scanner, mut found, mut rest) = (MessageScanner::default(), 0, &bytes[..]);
            for cut in cuts.into_iter().cycle() {
                let (more, read) = scanner.count(&rest[..cut.min(rest.len())], most);
                prop_assert!(more <= most);
                found += more;
                rest = &rest[read..];
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found as usize, lengths.len());
        }
    }
}

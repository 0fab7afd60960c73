//! The headers of HTTP/2 frames (RFC 9113 §4.1) in a stream of bytes, and the budget for frames that carry nothing.
//!
//! h2 answers or ignores control frames without a limit on their number. They cost a client next to nothing to send, so
//! a flood of them can occupy a server thread. A legal client sends them for a reason: a call that it makes, or data that
//! it receives. The budget grows with both, and by a fixed rate.

use std::time::Instant;

/// The connection preface that a client sends before its first frame (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;

/// Types of frames (RFC 9113 §6).
const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

/// Control frames that a connection may send at once, before it has made a call.
const BURST: u32 = 1_024;
/// Control frames per second that need no cause.
const PER_SECOND: u32 = 100;
/// Maximum number of control frames that a connection may send at once, whatever it has received before: a client that
/// was slow may acknowledge many frames of data together.
const MOST: u32 = 16_384;
/// How many control frames a CONTINUATION frame counts as. The metadata that a call may have fits into one frame, so
/// legal clients send none, and decoding one takes as long as many control frames.
const PER_CONTINUATION: u32 = 32;
/// Control frames that a call may cause by itself: its cancellation, priorities, and updates of windows.
const PER_CALL: u32 = 8;
/// Control frames that a frame of data may cause: an update of each window, and a ping to estimate the bandwidth (as
/// gRPC's C core and Go send them).
const PER_DATA: u32 = 3;
/// Bytes of the smallest message in an answer. gRPC's C core updates the window of a stream for each message that its
/// caller takes, and many of them are in one frame.
const SMALLEST_MESSAGE: usize = 8;
/// Control frames that the headers or trailers of a response may cause.
const PER_RESPONSE: u32 = 2;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    length: usize,
    pub(super) kind: u8,
    flags: u8,
}

/// Finds the frame headers in a stream of bytes, however it is cut into pieces.
#[derive(Debug)]
pub(super) struct FrameScanner {
    header: [u8; HEADER_BYTES],
    filled: usize,
    /// Bytes until the next header.
    skip: usize,
}

impl FrameScanner {
    /// Creates a scanner of what a client sends.
    pub(super) fn of_client() -> Self {
        Self { header: [0; HEADER_BYTES], filled: 0, skip: PREFACE_BYTES }
    }

    /// Creates a scanner of what a server sends.
    pub(super) fn of_server() -> Self {
        Self { skip: 0, ..Self::of_client() }
    }

    /// Calls `found` with each frame header in the next bytes, and with as much of the frame's payload as they contain.
    pub(super) fn scan(&mut self, mut bytes: &[u8], mut found: impl FnMut(FrameHeader, &[u8])) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = (HEADER_BYTES - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled < HEADER_BYTES {
                return;
            }
            self.filled = 0;
            let [high, middle, low, kind, flags, ..] = self.header;
            self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            let header = FrameHeader { length: self.skip, kind, flags };
            found(header, &bytes[..self.skip.min(bytes.len())]);
        }
    }
}

/// The control frames that a connection may still send.
#[derive(Debug)]
pub(super) struct FrameBudget {
    left: u32,
    /// When the budget was last increased by the fixed rate.
    refilled: Instant,
    is_spent: bool,
}

impl FrameBudget {
    /// Creates the budget of a connection that was opened at a time.
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, refilled: now, is_spent: false }
    }

    /// Counts a frame from the client. The time is read only when too little is left.
    pub(super) fn received(&mut self, frame: FrameHeader, now: impl FnOnce() -> Instant) {
        match frame.kind {
            HEADERS => self.earn(PER_CALL),
            DATA if frame.length > 0 || frame.flags & END_STREAM != 0 => {}
            CONTINUATION => self.spend(PER_CONTINUATION, now),
            _ => self.spend(1, now),
        }
    }

    /// Counts a frame from the market.
    pub(super) fn sent(&mut self, frame: FrameHeader, now: impl FnOnce() -> Instant) {
        match frame.kind {
            DATA => {
                let messages = u32::try_from(frame.length / SMALLEST_MESSAGE).unwrap_or(MOST);
                self.earn(PER_DATA + messages.min(MOST));
            }
            HEADERS => self.earn(PER_RESPONSE),
            // Each is acknowledged.
            PING | SETTINGS => self.earn(1),
            // A client can cause resets with frames that are legal by themselves (CVE-2025-8671).
            RST_STREAM => self.spend(1, now),
            _ => {}
        }
    }

    /// Returns whether the client has sent more than the budget.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent
    }

    fn earn(&mut self, frames: u32) {
        self.left = (self.left + frames).min(MOST);
    }

    fn spend(&mut self, frames: u32, now: impl FnOnce() -> Instant) {
        if self.left < frames {
            self.refill(now());
        }
        match self.left.checked_sub(frames) {
            Some(left) => self.left = left,
            None => self.is_spent = true,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        let earned = (passed * f64::from(PER_SECOND)).min(f64::from(BURST));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to BURST, as bounded above"
        )]
        let whole = earned as u32;
        if whole > 0 {
            self.earn(whole);
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const WINDOW_UPDATE: u8 = 8;

    /// Returns the time in which a connection without any calls regains its whole burst.
    fn whole_burst() -> Duration {
        Duration::from_secs(u64::from(BURST / PER_SECOND + 1))
    }

    fn frame(kind: u8, flags: u8, length: usize) -> FrameHeader {
        FrameHeader { length, kind, flags }
    }

    fn wire(frame: FrameHeader) -> Vec<u8> {
        let length = u32::try_from(frame.length).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], frame.kind, frame.flags, 0, 0, 0, 1];
        bytes.extend(vec![0xAA; frame.length]);
        bytes
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(
            frames in prop::collection::vec((0..12_u8, any::<u8>(), 0..600_usize), 0..20),
            cuts in prop::collection::vec(1..700_usize, 1..50),
        ) {
            let frames: Vec<_> =
                frames.into_iter().map(|(kind, flags, length)| frame(kind, flags, length)).collect();
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            bytes.extend(frames.iter().copied().flat_map(wire));
            let (mut scanner, mut found, mut rest) = (FrameScanner::of_client(), Vec::new(), &bytes[..]);
            for cut in cuts.into_iter().cycle() {
                let (piece, left) = rest.split_at(cut.min(rest.len()));
                scanner.scan(piece, |frame, payload| {
                    assert!(payload.iter().all(|byte| *byte == 0xAA));
                    found.push(frame);
                });
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, frames);
        }
    }

    #[test]
    fn a_flood_of_control_frames_spends_the_budget_and_time_restores_it() {
        for kind in [2, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, 0xF3, DATA] {
            let begin = Instant::now();
            let mut budget = FrameBudget::new(begin);
            for _ in 0..BURST {
                budget.received(frame(kind, 0, 0), || begin);
            }
            assert!(!budget.is_spent(), "{kind}");
            for _ in 0..BURST {
                budget.received(frame(kind, 0, 0), || begin + whole_burst());
            }
            assert!(!budget.is_spent(), "{kind}");
            budget.received(frame(kind, 0, 0), || begin + whole_burst());
            assert!(budget.is_spent(), "{kind}");
        }
    }

    #[test]
    fn continued_headers_spend_the_budget_sooner() {
        let begin = Instant::now();
        let mut budget = FrameBudget::new(begin);
        for _ in 0..32 {
            budget.received(frame(CONTINUATION, 0, 16_384), || begin);
        }
        assert!(!budget.is_spent());
        budget.received(frame(CONTINUATION, 4, 1), || begin);
        assert!(budget.is_spent());
    }

    #[test]
    fn what_calls_and_data_cause_is_free() {
        let begin = Instant::now();
        let now = || begin;
        let mut budget = FrameBudget::new(begin);
        for _ in 0..100 * BURST {
            // A call with priorities, a message of its own, windows updated for each frame of the answer, and cancelled.
            budget.received(frame(HEADERS, 4, 50), now);
            budget.received(frame(2, 0, 5), now);
            budget.received(frame(DATA, END_STREAM, 0), now);
            budget.sent(frame(HEADERS, 4, 50), now);
            for _ in 0..3 {
                budget.sent(frame(DATA, 0, 16_384), now);
                budget.received(frame(WINDOW_UPDATE, 0, 4), now);
                budget.received(frame(WINDOW_UPDATE, 0, 4), now);
                budget.received(frame(PING, 0, 8), now);
            }
            budget.received(frame(RST_STREAM, 0, 4), now);
            budget.sent(frame(PING, 0, 8), now);
            budget.received(frame(PING, 1, 8), now);
        }
        assert!(!budget.is_spent());
    }

    /// gRPC's C core updates a window for each message, of which a frame holds hundreds.
    #[test]
    fn updates_for_each_small_message_are_free() {
        let begin = Instant::now();
        let mut budget = FrameBudget::new(begin);
        for _ in 0..BURST {
            budget.sent(frame(DATA, 0, 16_000), || begin);
            for _ in 0..16_000 / 25 {
                budget.received(frame(WINDOW_UPDATE, 0, 4), || begin);
            }
        }
        assert!(!budget.is_spent());
    }

    #[test]
    fn resets_that_the_client_provokes_are_its_own() {
        let begin = Instant::now();
        let mut budget = FrameBudget::new(begin);
        for _ in 0..=BURST {
            budget.received(frame(DATA, 0, 1), || begin);
            budget.sent(frame(RST_STREAM, 0, 4), || begin);
        }
        assert!(budget.is_spent());
    }
}

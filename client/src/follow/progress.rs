//! The progress of a subscription: which events were sent, taken and acknowledged.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::Seen;

/// The maximum number of taken events that wait for an acknowledgement.
pub(super) const ACKNOWLEDGE_COUNT: usize = 64;

/// The maximum time that a taken event waits for its acknowledgement.
pub(super) const ACKNOWLEDGE_DELAY: Duration = Duration::from_secs(1);

/// The maximum number of events that are neither taken nor acknowledged; with more, the stream is not read.
/// Fewer than [`REMEMBERED`](crate::seen::REMEMBERED), so that none of them is forgotten.
const MAX_PENDING: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The events that the current stream sent and the consumer has not taken, in order.
    pending: VecDeque<(i64, String)>,
    /// The sequence up to which the consumer has everything.
    cursor: i64,
    /// The number of taken events that are not acknowledged.
    unacknowledged: usize,
    /// When the first of them must be acknowledged.
    due: Option<Instant>,
    messages: u64,
}

impl Progress {
    /// Forgets the pending events, because a new stream sends them again.
    pub(super) fn begin_stream(&mut self) {
        self.pending.clear();
    }

    /// Forgets what was taken on streams that the market did not keep.
    pub(super) fn forget(&mut self) {
        *self = Self { messages: self.messages, ..Self::default() };
    }

    /// Returns the cursor for Subscribe, which acknowledges everything up to it.
    pub(super) fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Returns the number of messages received on all streams together.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) fn count_message(&mut self) {
        self.messages += 1;
    }

    /// Records that the stream sent an event.
    pub(super) fn sent(&mut self, sequence: i64, event_id: &str) {
        self.pending.push_back((sequence, event_id.to_owned()));
    }

    /// Moves the cursor over what the consumer took, up to the first event that it has not.
    pub(super) fn settle(&mut self, seen: &Seen, now: Instant) {
        while let Some((sequence, _)) = self.pending.pop_front_if(|(_, id)| seen.contains(id)) {
            self.cursor = sequence;
            self.unacknowledged += 1;
            self.due.get_or_insert(now + ACKNOWLEDGE_DELAY);
            if self.unacknowledged == ACKNOWLEDGE_COUNT {
                self.due = Some(now);
            }
        }
    }

    /// Returns whether another event may be read.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() + self.unacknowledged < MAX_PENDING
    }

    /// Returns when to acknowledge; `None` if there is nothing to acknowledge.
    pub(super) fn acknowledge_at(&self) -> Option<Instant> {
        self.due
    }

    /// Returns the sequence to acknowledge; `None` if there is none.
    pub(super) fn unacknowledged(&self) -> Option<i64> {
        (self.unacknowledged > 0).then_some(self.cursor)
    }

    /// Records that the market has received the acknowledgement.
    pub(super) fn acknowledged(&mut self) {
        self.unacknowledged = 0;
        self.due = None;
    }

    /// Retries a failed acknowledgement after the usual delay.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.due = Some(now + ACKNOWLEDGE_DELAY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(seen: &Seen, sequence: i64, event_id: &str) {
        seen.offer(event_id);
        seen.take(sequence, event_id);
    }

    #[test]
    fn the_cursor_never_passes_an_event_that_was_not_taken() {
        let seen = Seen::in_memory();
        let mut progress = Progress::default();
        for (sequence, id) in [(3, "a"), (5, "b"), (6, "c")] {
            progress.sent(sequence, id);
        }
        take(&seen, 3, "a");
        take(&seen, 6, "c");
        progress.settle(&seen, Instant::now());
        assert_eq!((progress.cursor(), progress.unacknowledged()), (3, Some(3)));
        take(&seen, 5, "b");
        progress.settle(&seen, Instant::now());
        assert_eq!(progress.unacknowledged(), Some(6));
        progress.acknowledged();
        assert_eq!((progress.unacknowledged(), progress.acknowledge_at()), (None, None));
    }

    #[test]
    fn acknowledgements_are_batched_by_time_and_by_number() {
        let seen = Seen::in_memory();
        let mut progress = Progress::default();
        let now = Instant::now();
        let mut next = 0;
        let mut deal_with = |progress: &mut Progress, count: usize| {
            for _ in 0..count {
                next += 1;
                progress.sent(next, &next.to_string());
                take(&seen, next, &next.to_string());
            }
            progress.settle(&seen, now);
        };
        deal_with(&mut progress, 1);
        assert_eq!(progress.acknowledge_at(), Some(now + ACKNOWLEDGE_DELAY));
        deal_with(&mut progress, ACKNOWLEDGE_COUNT - 1);
        assert_eq!(progress.acknowledge_at(), Some(now));
        progress.postpone(now);
        deal_with(&mut progress, 1);
        assert_eq!(progress.acknowledge_at(), Some(now + ACKNOWLEDGE_DELAY), "no hurry after a failure");
    }

    #[test]
    fn a_stream_is_left_unread_while_too_much_is_pending() {
        let mut progress = Progress::default();
        for sequence in 0..MAX_PENDING as i64 {
            assert!(progress.has_room());
            progress.sent(sequence, &sequence.to_string());
        }
        assert!(!progress.has_room());
        progress.begin_stream();
        assert!(progress.has_room());
    }
}

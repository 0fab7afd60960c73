//! The steady clock, which lasts as long as the state.

use async_trait::async_trait;

use super::Memory;
use crate::{ClockMark, ClockReport, Clocks, DueBounds, StoreError};

#[async_trait]
impl Clocks for Memory {
    async fn exchange(&self, report: ClockReport) -> Result<ClockMark, StoreError> {
        let mut state = self.state();
        let before = state.clock.unwrap_or_else(|| ClockMark::first(None, report.wall));
        Ok(*state.clock.insert(before.after(report)))
    }

    async fn clamp_due_times(&self, bounds: DueBounds) -> Result<usize, StoreError> {
        let mut clamped = 0;
        for mailbox in self.state().mailboxes.values_mut() {
            let next_attempt = mailbox.next_attempt.map(|next| next.min(bounds.next_attempt));
            let lease_until = mailbox.lease_until.min(bounds.lease_until);
            if (next_attempt, lease_until) != (mailbox.next_attempt, mailbox.lease_until) {
                (mailbox.next_attempt, mailbox.lease_until) = (next_attempt, lease_until);
                clamped += 1;
            }
        }
        Ok(clamped)
    }
}

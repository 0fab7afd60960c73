//! What waits in the store, for metrics.

use async_trait::async_trait;
use souk_domain::Timestamp;

use super::{Memory, rows::count};
use crate::{Backlogs, Reliability, StoreError, Upkeep};

#[async_trait]
impl Upkeep for Memory {
    async fn backlogs(&self, now: Timestamp) -> Result<Backlogs, StoreError> {
        let state = self.state();
        let mut backlogs = Backlogs {
            fan_outs: state.fan_outs.values().map(|queued| count(queued.len())).sum(),
            oldest_fan_out: state.fan_outs.values().flatten().map(|fan_out| fan_out.since).min(),
            dead_letters: count(state.dead_letters.len()),
            ..Backlogs::default()
        };
        for (id, mailbox) in &state.mailboxes {
            backlogs.consumers += count(mailbox.consumers.cursors().count());
            for waiting in mailbox.waiting.values() {
                let (number, oldest) = if waiting.event.kind.is_order() {
                    (&mut backlogs.orders, &mut backlogs.oldest_order)
                } else {
                    (&mut backlogs.updates, &mut backlogs.oldest_update)
                };
                *number += 1;
                *oldest = Some(oldest.map_or(waiting.since, |oldest| oldest.min(waiting.since)));
            }
            let is_due = state.parties.get(id).is_some_and(|party| mailbox.is_due(party, now));
            if is_due && mailbox.reliability == Reliability::Proven {
                let since = backlogs.overdue_since.into_iter().chain(mailbox.next_attempt);
                backlogs.overdue_since = since.min();
            }
        }
        Ok(backlogs)
    }
}

//! Keeps track of which missed events have been reported to the user.
//!
//! The market repeats a report until the client confirms it, because an answer may be lost. The client reports each missed
//! event to its user once, and confirms after the user has taken the notice.

use std::time::Duration;

use souk_proto::v1::{AcknowledgeRequest, MissedTotal};
use tokio::sync::mpsc;

use crate::{
    Connection,
    delivery::{Missed, Notice},
};

/// How long after a notice the client checks whether its consumer has taken it, and if so confirms the report. It leaves the
/// consumer time to show the notice.
pub(crate) const CONFIRM_DELAY: Duration = Duration::from_secs(1);

/// Returns whether the consumer has taken every notice.
pub(crate) fn is_drained(notices: &mpsc::Sender<Notice>) -> bool {
    notices.capacity() == notices.max_capacity()
}

/// The reports of one consumer.
#[derive(Debug, Default)]
pub(crate) struct MissedReports {
    /// The last total that was passed on.
    passed_on: MissedTotal,
    /// Whether the market has yet to receive its confirmation.
    is_unconfirmed: bool,
}

impl MissedReports {
    /// Takes a report, and returns what of it has not been passed on before. A market without totals reports once.
    pub(crate) fn receive(&mut self, orders: i64, updates: i64, total: Option<MissedTotal>) -> Missed {
        let Some(total) = total else { return Missed { orders, updates } };
        let before = std::mem::replace(&mut self.passed_on, total);
        self.is_unconfirmed = true;
        if before.order_count > total.order_count || before.update_count > total.update_count {
            // The consumer is another one of the same name, or the store was restored.
            return Missed { orders, updates };
        }
        Missed {
            orders: orders.min(total.order_count - before.order_count),
            updates: updates.min(total.update_count - before.update_count),
        }
    }

    /// Returns the total to confirm; `None` if there is none.
    pub(crate) fn unconfirmed(&self) -> Option<MissedTotal> {
        self.is_unconfirmed.then_some(self.passed_on)
    }

    /// Sends the confirmation of a consumer; the consumer of a callback server has no name. Best effort: otherwise the
    /// market reports it again.
    pub(crate) async fn confirm(&mut self, connection: &Connection, consumer: &str) {
        let Some(total) = self.unconfirmed() else { return };
        let consumer = consumer.to_owned();
        let request = AcknowledgeRequest { sequence: 0, consumer, missed_total: Some(total) };
        match connection.call(request).await {
            Ok(_) => self.confirmed(total),
            Err(failure) => tracing::debug!(%failure, "the report of missed events will come again"),
        }
    }

    /// Records that the market has received a confirmation.
    fn confirmed(&mut self, total: MissedTotal) {
        self.is_unconfirmed &= self.passed_on != total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(order_count: i64) -> Option<MissedTotal> {
        Some(MissedTotal { order_count, update_count: 0 })
    }

    #[test]
    fn each_missed_event_is_passed_on_once_and_confirmed() {
        let mut reports = MissedReports::default();
        assert_eq!(reports.receive(0, 0, None), Missed::default());
        assert_eq!(reports.unconfirmed(), None);
        // The first 7 were confirmed by an earlier run.
        assert_eq!(reports.receive(2, 0, total(9)).orders, 2);
        assert_eq!(reports.receive(2, 0, total(9)).orders, 0, "repeated");
        assert_eq!(reports.receive(5, 0, total(12)).orders, 3, "of which two are known");
        assert_eq!(reports.unconfirmed(), total(12));
        reports.confirmed(MissedTotal { order_count: 9, update_count: 0 });
        assert_eq!(reports.unconfirmed(), total(12), "an older one");
        reports.confirmed(MissedTotal { order_count: 12, update_count: 0 });
        assert_eq!(reports.unconfirmed(), None);
        assert_eq!(reports.receive(1, 0, total(1)).orders, 1, "of a consumer of the same name");
    }
}

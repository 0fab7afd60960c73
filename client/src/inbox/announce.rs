//! Tells the market that the callback server is listening.

use std::time::Duration;

use souk_proto::v1::{AcknowledgeRequest, AnnounceInboxRequest};
use tokio::{sync::mpsc, time::sleep};
use tonic::Code;

use crate::{
    Connection, MAX_RECONNECT, Notice,
    backoff::scaled,
    delivery::Missed,
    error::Refusal,
    missed::{CONFIRM_DELAY, MissedReports, is_drained},
    reconnect::FIRST_RECONNECT,
};

/// How often the server is announced. The market may have been restarted, or unable to reach the server for a while,
/// without the client noticing either.
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(180);

/// Announces the server until the consumer of the notices has gone.
pub(super) async fn announce(connection: Connection, notices: mpsc::Sender<Notice>) {
    let (mut failures_in_a_row, mut is_first) = (0_u32, true);
    let mut reports = MissedReports::default();
    loop {
        let (notice, wait) = match connection.call(AnnounceInboxRequest { probe_only: false }).await {
            Ok(answer) => {
                let (orders, updates) = (answer.missed_order_count, answer.missed_update_count);
                let missed = reports.receive(orders, updates, answer.missed_total);
                let is_news = is_first || failures_in_a_row > 0 || missed != Missed::default();
                (is_first, failures_in_a_row) = (false, 0);
                (is_news.then_some(Notice::Opened { kept: true, missed }), ANNOUNCE_EVERY)
            }
            Err(failure) if failure.refusal().map(Refusal::code) == Some(Code::Unimplemented) => {
                tracing::debug!("the market is older and takes no announcements");
                return;
            }
            Err(failure) => {
                failures_in_a_row = failures_in_a_row.saturating_add(1);
                let wait = scaled(FIRST_RECONNECT, MAX_RECONNECT, failures_in_a_row, connection.jitter());
                (Some(Notice::Interrupted { failure, retry_in: wait }), wait)
            }
        };
        if let Some(notice) = notice
            && notices.send(notice).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = async { tokio::join!(sleep(wait), confirm(&connection, &notices, &mut reports)); } => {}
            () = notices.closed() => return,
        }
    }
}

/// Confirms what was reported as missed, when the consumer has taken the notice. Best effort: otherwise the next answer
/// reports it again.
async fn confirm(connection: &Connection, notices: &mpsc::Sender<Notice>, reports: &mut MissedReports) {
    let Some(total) = reports.unconfirmed() else { return };
    loop {
        sleep(CONFIRM_DELAY).await;
        if is_drained(notices) {
            break;
        }
    }
    let request = AcknowledgeRequest { missed_total: Some(total), ..AcknowledgeRequest::default() };
    match connection.call(request).await {
        Ok(_) => reports.confirmed(total),
        Err(failure) => tracing::debug!(%failure, "the report of missed events will come again"),
    }
}

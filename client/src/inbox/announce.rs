//! Tells the market that the callback server is listening.

use std::time::Duration;

use souk_proto::v1::AnnounceInboxRequest;
use tokio::{sync::mpsc, time::sleep};
use tonic::Code;

use crate::{
    Connection, Notice,
    delivery::Missed,
    error::Refusal,
    missed::{CONFIRM_DELAY, MissedReports, is_drained},
    reconnect::reconnect_wait,
};

/// The longest time between announcements; each has jitter, so that clients that started together drift apart. The
/// market may have been restarted, or unable to reach the server for a while, without the client noticing either.
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
                let wait = ANNOUNCE_EVERY.mul_f64(1.0 - connection.jitter() / 4.0);
                (is_news.then_some(Notice::Opened { kept: true, missed }), wait)
            }
            Err(failure) if failure.refusal().map(Refusal::code) == Some(Code::Unimplemented) => {
                tracing::debug!("the market is older and takes no announcements");
                return;
            }
            Err(failure) => {
                failures_in_a_row = failures_in_a_row.saturating_add(1);
                let wait = reconnect_wait(&failure, failures_in_a_row, &connection);
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

/// Confirms what was reported as missed, once the consumer of the notices has taken them.
async fn confirm(connection: &Connection, notices: &mpsc::Sender<Notice>, reports: &mut MissedReports) {
    if reports.unconfirmed().is_none() {
        return;
    }
    loop {
        sleep(CONFIRM_DELAY).await;
        if is_drained(notices) {
            break;
        }
    }
    reports.confirm(connection, "").await;
}

//! Renews the market's own certificate: at two thirds of its life, and when its root is not trusted any more.

use std::time::Duration;

use souk_enrolment::renewal::{self, Outcome};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::MarketContext;

/// How often the market looks whether its certificate is due.
const LOOK: Duration = Duration::from_secs(3_600);

/// Renews the certificate of a context.
pub(in crate::app) struct Renewer(pub(in crate::app) MarketContext);

impl Renewer {
    /// Renews until the market shuts down. The certificate is taken over like any change of the files.
    pub(in crate::app) async fn run(self, closing: CancellationToken) {
        let MarketContext { context, renewal: roots, clock, random, .. } = self.0.clone();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                _ = looks.tick() => {}
                () = roots.notified() => {}
            }
            match renewal::renew(&context, clock, random).await {
                Ok(Outcome::Renewed(certificate)) => {
                    tracing::info!(until = %certificate.not_after(), "renewed the market's certificate");
                    self.0.changed();
                }
                Ok(Outcome::NotDue | Outcome::Busy) => {}
                Err(error) => {
                    tracing::warn!(%error, "the market's certificate could not be renewed; trying again in an hour");
                }
            }
        }
    }
}

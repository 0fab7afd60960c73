//! Renews the market's own certificate: at two thirds of its life, and when another root signs. One that can't be used any
//! more is renewed before the market opens.

use std::time::Duration;

use souk_certs::{
    clock::Clock as CertificateClock, credentials::CredentialError, random::Random as CertificateRandom,
};
use souk_enrolment::{
    context::Context,
    renewal::{self, Outcome},
};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::MarketContext;
use crate::config::TlsConfig;

/// How often the market looks whether its certificate is due.
const LOOK: Duration = Duration::from_secs(3_600);
/// When it tries again if the root of the certificate is not trusted any more: clients are about to refuse it.
const URGENT_LOOK: Duration = Duration::from_secs(10);
/// The maximum time that opening waits for a renewal.
const BEFORE_OPENING: Duration = Duration::from_secs(30);

/// Renews the certificate of a market that was off for long, if it can't be used because of `problem`. Returns whether it may
/// be usable now; otherwise the log says why.
pub(in crate::app) async fn restore(config: &TlsConfig, problem: &CredentialError) -> bool {
    let Some(context) = config.context.as_ref().map(Context::at) else { return false };
    let restored = renewal::restore(&context, problem, CertificateClock::SYSTEM, CertificateRandom::SYSTEM);
    match timeout(BEFORE_OPENING, restored).await {
        Ok(None) => false,
        Ok(Some(Ok(Outcome::Renewed(certificate)))) => {
            tracing::info!(until = %certificate.not_after(), "renewed the market's certificate");
            true
        }
        // Another process may be at it.
        Ok(Some(Ok(Outcome::NotDue | Outcome::Busy))) => true,
        Ok(Some(Err(error))) => {
            tracing::error!(%error, "the market's certificate could not be renewed");
            false
        }
        Err(_) => {
            tracing::error!("the authority did not answer within {BEFORE_OPENING:?}");
            false
        }
    }
}

/// Renews the certificate of a context.
pub(in crate::app) struct Renewer(pub(in crate::app) MarketContext);

impl Renewer {
    /// Renews until the market shuts down. The certificate is taken over like any change of the files.
    pub(in crate::app) async fn run(self, closing: CancellationToken) {
        let MarketContext { context, renewal: roots, clock, random, .. } = self.0.clone();
        // The first look is at once.
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = sleep(wait) => {}
                () = roots.notified() => {}
            }
            wait = LOOK;
            match renewal::renew(&context, clock, random).await {
                Ok(Outcome::Renewed(certificate)) => {
                    tracing::info!(until = %certificate.not_after(), "renewed the market's certificate");
                    self.0.changed().await;
                }
                Ok(Outcome::NotDue | Outcome::Busy) => {}
                Err(error) => {
                    let market = self.0.clone();
                    // It reads files and verifies a signature.
                    let is_accepted = spawn_blocking(move || market.is_accepted()).await.unwrap_or(true);
                    wait = if is_accepted { LOOK } else { URGENT_LOOK };
                    tracing::warn!(%error, "the market's certificate could not be renewed; trying again in {wait:?}");
                }
            }
        }
    }
}

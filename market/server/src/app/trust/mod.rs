//! Keeping the market's context up to date. The authority's trust bundles replace its roots and revocation lists, its
//! certificate is renewed before it ends, and the market takes over both like any change of its files. Clients get the
//! bundles, too.
//!
//! Nothing else waits for this. While the authority is away, the market goes on with what it has: certificates are renewed
//! 30 days before they end, and revocation lists last 30 days.

mod follow;
mod renew;

use std::sync::Arc;

use souk_certs::{clock::Clock as CertificateClock, random::Random as CertificateRandom};
use souk_enrolment::{context::Context, renewal, trust::SignedBundle};
use tokio::sync::Notify;

pub(super) use follow::TrustFollower;
pub(super) use renew::{Renewer, restore};

use crate::trust::TrustNews;

/// The context of a market, and who is notified of its changes. Clones share it.
#[derive(Clone)]
pub(super) struct MarketContext {
    pub(super) context: Context,
    pub(super) news: TrustNews,
    /// Wakes the component that takes over changed files.
    pub(super) adopted: Arc<Notify>,
    /// Wakes the renewal: the root of the certificate may not be trusted any more.
    pub(super) renewal: Arc<Notify>,
    /// The clock and the randomness of the code that changes contexts.
    pub(super) clock: CertificateClock,
    pub(super) random: CertificateRandom,
}

impl MarketContext {
    /// Has a change of the context taken over, and passes its bundle on to clients. The market goes first: a client that has
    /// the bundle may expect it to be in force here. So if the root of the market's certificate is not trusted any more, the
    /// certificate is renewed before; then this is called again.
    pub(super) fn changed(&self) {
        self.renewal.notify_one();
        if !renewal::is_of_trusted_root(&self.context).unwrap_or(true) {
            return;
        }
        self.adopted.notify_one();
        self.pass_on();
    }

    /// Passes on the bundle that the context has.
    pub(super) fn pass_on(&self) {
        // Unusable contents were reported when the credentials were loaded.
        let signed = self.context.trust().ok().and_then(|bytes| SignedBundle::from_bytes(&bytes).ok());
        if let Some((signed, bundle)) =
            signed.and_then(|signed| signed.open().ok().map(|bundle| (signed, bundle)))
        {
            self.news.pass_on(bundle.sequence, &signed);
        }
    }
}

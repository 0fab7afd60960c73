//! Keeping the market's context up to date. The authority's trust bundles replace its roots and revocation lists, its
//! certificate is renewed before it ends, and the market takes over both like any change of its files. Clients get the
//! bundles, too.
//!
//! Nothing else waits for this. While the authority is away, the market goes on with what it has: certificates are renewed
//! 30 days before they end, and revocation lists last 30 days.

mod follow;
mod renew;
mod silence;

use std::sync::Arc;

use souk_certs::{clock::Clock as CertificateClock, random::Random as CertificateRandom};
use souk_enrolment::{
    context::Context,
    renewal::{self, Record},
    trust::{SignedBundle, TrustBundle},
};
use time::OffsetDateTime;
use tokio::{sync::Notify, task::spawn_blocking};

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
    /// the bundle may expect it to be in force here.
    ///
    /// If the root of the market's certificate is not trusted any more, what the bundle refuses is refused from now on, but
    /// clients get the bundle only once the certificate is renewed, and this is called again: with the bundle, they would refuse
    /// the market.
    pub(super) async fn changed(&self) {
        self.renewal.notify_one();
        self.adopted.notify_one();
        let market = self.clone();
        let passing_on = move || {
            if market.is_accepted() {
                market.pass_on();
            }
        };
        // It reads files and verifies a signature.
        if let Err(error) = spawn_blocking(passing_on).await {
            tracing::error!(%error, "the trust bundle could not be passed on to clients");
        }
    }

    /// Returns whether the market's certificate is of a root that is still trusted. Blocks on files.
    pub(super) fn is_accepted(&self) -> bool {
        renewal::is_of_trusted_root(&self.context).unwrap_or(true)
    }

    /// Returns when there was news, as far as the context shows: this process may have started only now. Blocks on files.
    pub(super) fn last_news(&self) -> Option<OffsetDateTime> {
        let made_at = self.bundle().map(|(_, bundle)| bundle.created_at);
        made_at.max(Record::read(&self.context).trust_at)
    }

    /// Records that there is news at present, unless another process is changing the context.
    pub(super) async fn note_news(&self) {
        let Self { context, clock, random, .. } = self.clone();
        let noting = move || {
            let Some(_locked) = context.try_lock()? else { return Ok(()) };
            let record = Record { trust_at: Some(clock.now()), ..Record::read(&context) };
            record.write(&context, random.uuid_v4())
        };
        // A market that starts again then takes its news for older than it is.
        match spawn_blocking(noting).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot record that there is news from the authority"),
            Err(error) => tracing::debug!(%error, "cannot record that there is news from the authority"),
        }
    }

    /// Passes on the bundle that the context has. Blocks on files.
    pub(super) fn pass_on(&self) {
        if let Some((signed, bundle)) = self.bundle() {
            self.news.pass_on(bundle.sequence, &signed);
        }
    }

    fn bundle(&self) -> Option<(SignedBundle, TrustBundle)> {
        // Unusable contents were reported when the credentials were loaded.
        let signed = SignedBundle::from_bytes(&self.context.trust().ok()?).ok()?;
        let bundle = signed.open().ok()?;
        Some((signed, bundle))
    }
}

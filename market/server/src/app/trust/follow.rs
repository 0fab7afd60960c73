//! Follows the authority for trust bundles.

use std::{convert::Infallible, path::PathBuf, time::Duration};

use souk_certs::{
    client::ClientTls,
    connector::{self, ConnectOptions, Dial},
    identity::{Identity, TrustDomain},
};
use souk_domain::Timestamp;
use souk_enrolment::{
    context::ContextError,
    renewal::{RenewalError, catch_up, known_sequence, take},
    trust::{BundleError, SignedBundle, bundle::MAX_BUNDLE_BYTES},
};
use souk_proto::v1::{self, trust_service_client::TrustServiceClient};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::MarketContext;
use crate::{clock::Clock, random::Random};

/// The pause after a first failure, and the longest one. They double in between, and each is shortened at random by up to a
/// half, so that markets don't return all at once.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a call may take until its stream begins.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// Maximum size of a message: a bundle with its signatures.
const MAX_MESSAGE_BYTES: usize = MAX_BUNDLE_BYTES + 64 * 1024;
/// How long the market may be without news before it warns, and how often it repeats the warning.
const SILENCE: Duration = Duration::from_secs(24 * 3_600);
/// How long a bundle waits for another process, or a renewal, to release the context, and how often it looks.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_LOOK: Duration = Duration::from_millis(100);

/// Follows the authority that a market has joined.
pub(in crate::app) struct TrustFollower {
    market: MarketContext,
    domain: TrustDomain,
    outgoing: ClientTls,
    clock: Clock,
    random: Random,
    /// The number of connections so far, which go to the authority's addresses in turn.
    turn: usize,
    warned_at: Option<Timestamp>,
}

/// Why there is no news for the moment.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error("{} names no address of the authority; join again", .0.display())]
    NoAddress(PathBuf),
    #[error("the authority was not reached, or refused the call: {}", .0.message())]
    Call(#[from] tonic::Status),
    #[error("the authority did not answer in time")]
    Slow,
    #[error("the authority ended the stream")]
    Ended,
    #[error("the roots have changed, and were caught up with")]
    CaughtUp,
    #[error("another process does not release the market's context")]
    Held,
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Update(#[from] RenewalError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("the bundle could not be taken: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl TrustFollower {
    /// Prepares to follow. Until the authority has been reached, the last news is the bundle that the context has.
    pub(in crate::app) fn new(
        market: MarketContext,
        domain: TrustDomain,
        outgoing: ClientTls,
        (clock, random): (Clock, Random),
    ) -> Self {
        market.news.heard_at(clock.now());
        market.pass_on();
        Self { market, domain, outgoing, clock, random, turn: 0, warned_at: None }
    }

    /// Follows until the market shuts down.
    pub(in crate::app) async fn run(mut self, closing: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let since = time::Instant::now();
            let Some(Err(silence)) = closing.run_until_cancelled(self.follow()).await else { return };
            // A stream that lasted is no reason to wait longer than after a first failure.
            if since.elapsed() > LONGEST_PAUSE || matches!(silence, Silence::CaughtUp) {
                pause = FIRST_PAUSE;
            }
            self.report(&silence);
            let shortened = pause.mul_f64(1.0 - self.random.unit() / 2.0);
            if closing.run_until_cancelled(time::sleep(shortened)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Follows one connection until it ends.
    async fn follow(&mut self) -> Result<Infallible, Silence> {
        let target = self.next_target()?;
        let mut stream = match self.watch(&target).await {
            Err(silence) if is_untrusted(&silence) => {
                let MarketContext { context, clock, random, .. } = &self.market;
                if catch_up(context, *clock, *random).await? {
                    self.market.changed();
                }
                // The next connection is made once the new roots have been taken over.
                return Err(Silence::CaughtUp);
            }
            watched => watched?,
        };
        self.market.news.connected();
        let outcome = self.take_all(&mut stream).await;
        self.market.news.heard_at(self.clock.now());
        outcome
    }

    async fn take_all(&self, stream: &mut Streaming<v1::WatchTrustResponse>) -> Result<Infallible, Silence> {
        loop {
            let message = stream.message().await?.ok_or(Silence::Ended)?;
            let signed = SignedBundle::try_from(message.bundle.unwrap_or_default())?;
            self.take(signed).await?;
        }
    }

    /// Puts a bundle into the context, and has it taken over.
    async fn take(&self, signed: SignedBundle) -> Result<(), Silence> {
        let sequence = signed.open()?.sequence;
        let deadline = time::Instant::now() + LOCK_PATIENCE;
        loop {
            let (market, chain) = (self.market.clone(), [signed.clone()]);
            // It reads, writes and flushes files.
            let taking = move || {
                let taken = take(&market.context, &chain, market.clock, market.random)?;
                Ok::<_, RenewalError>((taken, known_sequence(&market.context)?))
            };
            let (taken, known) = tokio::task::spawn_blocking(taking).await??;
            if let Some(accepted) = taken {
                let roots = accepted.bundle().roots.len();
                tracing::info!(sequence, roots, "accepted a trust bundle");
                self.market.changed();
            }
            if known >= sequence {
                return Ok(());
            }
            if time::Instant::now() >= deadline {
                return Err(Silence::Held);
            }
            time::sleep(LOCK_LOOK).await;
        }
    }

    async fn watch(&self, target: &Dial) -> Result<Streaming<v1::WatchTrustResponse>, Silence> {
        let known_sequence = known_sequence(&self.market.context)?;
        let tls = self.outgoing.clone();
        let channel = connector::channel(
            target.clone(),
            Identity::Authority,
            tls,
            &self.domain,
            ConnectOptions::default(),
        );
        let mut client = TrustServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let begun =
            time::timeout(CALL_PATIENCE, client.watch_trust(v1::WatchTrustRequest { known_sequence }));
        Ok(begun.await.map_err(|_| Silence::Slow)??.into_inner())
    }

    /// Returns the next address of the authority, in turn.
    fn next_target(&mut self) -> Result<Dial, Silence> {
        let context = &self.market.context;
        let no_address = || Silence::NoAddress(context.folder().to_owned());
        let known: Vec<Dial> =
            context.description()?.iter().flat_map(|found| found.authorities().cloned()).collect();
        let place = self.turn.checked_rem(known.len()).ok_or_else(no_address)?;
        self.turn = self.turn.wrapping_add(1);
        Ok(known[place].clone())
    }

    fn report(&mut self, silence: &Silence) {
        let now = self.clock.now();
        match silence {
            // Somebody lies, or the authority was restored: that needs the operator at once.
            Silence::Update(RenewalError::Trust(refused)) => {
                tracing::error!("refused a trust bundle: {refused}");
            }
            other => tracing::debug!("no news from the authority: {other}"),
        }
        let age = self.market.news.age_seconds(now);
        let is_due = self.warned_at.is_none_or(|at| now >= at.plus(SILENCE));
        if u64::try_from(age).is_ok_and(|age| age >= SILENCE.as_secs()) && is_due {
            self.warned_at = Some(now);
            tracing::warn!(hours = age / 3_600, "no news from the authority: {silence}");
        }
    }
}

/// Returns whether the authority showed a certificate that the roots and lists here do not verify.
fn is_untrusted(silence: &Silence) -> bool {
    let Silence::Call(status) = silence else { return false };
    matches!(connector::tls_error(status), Some(rustls::Error::InvalidCertificate(_)))
}

//! Follows the authority for trust bundles.

use std::{convert::Infallible, slice, sync::Arc, time::Duration};

use souk_certs::{
    client::ClientTls,
    connector::{self, ConnectOptions, Dial},
    identity::{Identity, TrustDomain},
};
use souk_domain::Timestamp;
use souk_enrolment::{
    renewal::{RenewalError, catch_up, known_sequence, take},
    trust::{Refused, SignedBundle, accept, fetch::MAX_TRUST_MESSAGE_BYTES, trusted_by},
};
use souk_proto::v1::{self, trust_service_client::TrustServiceClient};
use tokio::{task::spawn_blocking, time};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::{
    MarketContext,
    silence::{Reported, Silence, Trouble},
};
use crate::{clock::Clock, random::Random};

/// The pause after a first failure, and the longest one. They double in between, and each is shortened at random by up to a
/// half, so that markets don't return all at once.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a call may take until its stream begins.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// How long the market may be without news before it warns, and how often it repeats the warning.
const SILENCE: Duration = Duration::from_secs(24 * 3_600);
/// How long a bundle waits for another process, or a renewal, to release the context, and how often it looks.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_LOOK: Duration = Duration::from_millis(100);
/// How often it is recorded that there is news, so that a market that starts again knows how old its news is.
const NOTE: Duration = Duration::from_secs(3_600);

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
    reported: Reported,
}

/// What has come of an attempt to put a bundle into the context.
enum Put {
    /// It was taken: it has this many roots.
    Taken { roots: usize },
    /// It is the one in use, or an older one of a chain that somebody else has taken.
    InUse,
    /// Another process holds the context, or a renewal of this one.
    Held,
}

impl TrustFollower {
    /// Prepares to follow. Until the authority has been reached, the last news is that of an earlier process, or the bundle that
    /// the context has. Reads the context.
    pub(in crate::app) fn new(
        market: MarketContext,
        domain: TrustDomain,
        outgoing: ClientTls,
        (clock, random): (Clock, Random),
    ) -> Self {
        market.news.reached_at(market.last_news().map_or(clock.now(), Timestamp::from));
        market.pass_on();
        let reported = Reported::default();
        Self { market, domain, outgoing, clock, random, turn: 0, warned_at: None, reported }
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
        let market = self.market.clone();
        // Reads files and verifies a signature.
        let asked = spawn_blocking(move || known_sequence(&market.context)).await??;
        let mut stream = match self.watch(&target, asked).await {
            Err(silence) if is_untrusted(&silence) => return Err(self.catch_up().await?),
            // Its root may have been retired, which this market does not know yet. It asks without a certificate.
            Err(silence) if Trouble::of(&silence) == Some(Trouble::Expired) => {
                return Err(self.catch_up().await.unwrap_or(silence));
            }
            watched => watched?,
        };
        let outcome = self.take_all(&mut stream, asked).await;
        self.market.news.lost_at(self.clock.now());
        outcome
    }

    /// Catches up with roots that have changed. The next connection is made once they have been taken over.
    async fn catch_up(&self) -> Result<Silence, RenewalError> {
        let MarketContext { context, clock, random, .. } = &self.market;
        if catch_up(context, *clock, *random).await? {
            self.market.changed().await;
        }
        Ok(Silence::CaughtUp)
    }

    /// Takes the bundles of a stream that was asked for those after `asked`. The first one shows that the authority knows the
    /// bundle in use here, or a newer one; a stream that was opened shows nothing.
    async fn take_all(
        &mut self,
        stream: &mut Streaming<v1::WatchTrustResponse>,
        asked: i64,
    ) -> Result<Infallible, Silence> {
        let mut notes = time::interval_at(time::Instant::now() + NOTE, NOTE);
        let mut has_news = false;
        loop {
            tokio::select! {
                message = stream.message() => {
                    let message = message?.ok_or(Silence::Ended)?;
                    let signed = SignedBundle::try_from(message.bundle.unwrap_or_default())?;
                    self.take(signed, asked).await?;
                    has_news = true;
                    self.reported.clear();
                    self.market.news.connected();
                }
                _ = notes.tick() => match has_news {
                    true => self.market.note_news().await,
                    false => self.warn_of_age(&Silence::Nothing),
                },
            }
        }
    }

    /// Puts a bundle into the context, and has it taken over.
    async fn take(&self, signed: SignedBundle, asked: i64) -> Result<(), Silence> {
        let (deadline, signed) = (time::Instant::now() + LOCK_PATIENCE, Arc::new(signed));
        loop {
            let (market, domain, signed) = (self.market.clone(), self.domain.clone(), Arc::clone(&signed));
            // It reads, writes and flushes files, and verifies signatures.
            match spawn_blocking(move || put(&market, &domain, &signed, asked)).await?? {
                Put::Taken { roots } => {
                    tracing::info!(roots, "accepted a trust bundle");
                    self.market.changed().await;
                    return Ok(());
                }
                Put::InUse => return Ok(()),
                Put::Held if time::Instant::now() >= deadline => return Err(Silence::Held),
                Put::Held => time::sleep(LOCK_LOOK).await,
            }
        }
    }

    async fn watch(
        &self,
        target: &Dial,
        known_sequence: i64,
    ) -> Result<Streaming<v1::WatchTrustResponse>, Silence> {
        let tls = self.outgoing.clone();
        let channel = connector::channel(
            target.clone(),
            Identity::Authority,
            tls,
            &self.domain,
            ConnectOptions::default(),
        );
        let mut client = TrustServiceClient::new(channel).max_decoding_message_size(MAX_TRUST_MESSAGE_BYTES);
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
        let trouble = Trouble::of(silence);
        if trouble.is_some_and(Trouble::is_of_bundle) {
            self.market.news.refused();
        }
        match trouble {
            // Somebody lies, the authority was restored, or this market is shut out.
            Some(trouble) if self.reported.is_due(trouble, self.clock.now()) => {
                let advice = trouble.advice(self.market.context.folder());
                tracing::error!("no news from the authority: {silence}; {advice}");
            }
            _ => tracing::debug!("no news from the authority: {silence}"),
        }
        self.warn_of_age(silence);
    }

    /// Warns once a day if there has been no news for a day.
    fn warn_of_age(&mut self, silence: &Silence) {
        let now = self.clock.now();
        let age = self.market.news.age_seconds(now);
        let is_due = self.warned_at.is_none_or(|at| now >= at.plus(SILENCE));
        if u64::try_from(age).is_ok_and(|age| age >= SILENCE.as_secs()) && is_due {
            self.warned_at = Some(now);
            tracing::warn!(hours = age / 3_600, "no news from the authority: {silence}");
        }
    }
}

/// Puts a bundle into the context. `asked` is the sequence after which the stream was asked to begin. Blocks on files.
fn put(
    market: &MarketContext,
    domain: &TrustDomain,
    signed: &SignedBundle,
    asked: i64,
) -> Result<Put, RenewalError> {
    let MarketContext { context, clock, random, .. } = market;
    let take = || take(context, slice::from_ref(signed), *clock, *random);
    // Before the lock, so that a process that holds it delays no verdict.
    let verdict = accept(&trusted_by(context, domain)?, signed, clock.now());
    match verdict.map_err(RenewalError::from).and_then(|_| take()) {
        Ok(Some(accepted)) => Ok(Put::Taken { roots: accepted.bundle().roots.len() }),
        // Or it was taken in between, which the next look shows.
        Ok(None) => Ok(Put::Held),
        Err(RenewalError::Trust(Refused::InUse)) => {
            // Records that there was news.
            take()?;
            Ok(Put::InUse)
        }
        // A renewal, or another process, was faster with the end of the chain. An authority that was restored sends one that is
        // not newer than what it was asked for.
        Err(RenewalError::Trust(Refused::Older { offered, .. })) if offered > asked => Ok(Put::InUse),
        Err(error) => Err(error),
    }
}

/// Returns whether the authority showed a certificate that the roots and lists here do not verify.
fn is_untrusted(silence: &Silence) -> bool {
    let Silence::Call(status) = silence else { return false };
    matches!(connector::tls_error(status), Some(rustls::Error::InvalidCertificate(_)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ::time::Duration as Days;
    use souk_authority::pki::{InitOptions, Pki, Setup};
    use souk_certs::{clock, clock::Clock as CertificateClock, random::Random as CertificateRandom};
    use souk_enrolment::{
        code::InvitationId,
        context::{Context, Description, Generation},
        renewal::Record,
    };
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::trust::TrustNews;

    /// An authority, and a market that has joined it.
    struct Joined {
        pki: Pki,
        market: MarketContext,
        _folder: TempDir,
    }

    impl Joined {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let now = clock::now();
            let mut pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), now).unwrap();
            let public: Dial = "ca.example.org:7442".parse().unwrap();
            let setup = Setup { public: public.clone(), markets: Vec::new(), ephemeral: false };
            pki.set_up(&setup, now).unwrap();
            let market = MarketContext {
                context: Context::at(folder.path().join("market")),
                news: TrustNews::default(),
                adopted: Arc::default(),
                renewal: Arc::default(),
                clock: CertificateClock::SYSTEM,
                random: CertificateRandom::SYSTEM,
            };
            let description = Description {
                identity: Identity::Market,
                name: "m1".to_owned(),
                market: Vec::new(),
                authority: vec![public],
                nearby: Vec::new(),
                trust_domain: TrustDomain::default(),
                invitation: InvitationId([7; 8]),
                ephemeral: false,
            };
            let file = |name: &str| fs::read_to_string(pki.dir().join(name)).unwrap();
            let (newest, locked) = (newest(&pki), market.context.lock().unwrap());
            let (certificate, key, bundle) = (file("market.pem"), file("market.key"), newest.open().unwrap());
            let (roots, lists, trust) = (bundle.ca_pem(), bundle.crl_pem(), newest.to_bytes());
            locked.install(&Generation { certificate, key, roots, lists, trust }).unwrap();
            locked.describe(&description, Uuid::nil()).unwrap();
            drop(locked);
            Self { pki, market, _folder: folder }
        }

        fn next(&mut self) -> SignedBundle {
            self.pki.refresh_crl(clock::now()).unwrap();
            newest(&self.pki)
        }

        fn put(&self, signed: &SignedBundle, asked: i64) -> Result<Put, RenewalError> {
            put(&self.market, &TrustDomain::default(), signed, asked)
        }
    }

    fn newest(pki: &Pki) -> SignedBundle {
        pki.newest_bundle().unwrap().unwrap()
    }

    #[test]
    fn bundle_in_use_is_news_and_an_older_one_is_a_restored_authority() {
        let mut joined = Joined::new();
        let first = newest(&joined.pki);
        let asked = first.open().unwrap().sequence;
        assert!(matches!(joined.put(&first, asked), Ok(Put::InUse)));
        assert!(Record::read(&joined.market.context).trust_at.is_some(), "it is recorded");
        let (second, third) = (joined.next(), joined.next());
        assert!(matches!(joined.put(&third, asked), Ok(Put::Taken { roots: 1 })));
        // The stream was asked for it, and a renewal has brought a newer one meanwhile.
        assert!(matches!(joined.put(&second, asked), Ok(Put::InUse)));
        let asked = third.open().unwrap().sequence;
        for older in [&first, &second] {
            let refused = joined.put(older, asked);
            assert!(matches!(refused, Err(RenewalError::Trust(Refused::Older { .. }))));
        }
    }

    #[test]
    fn older_bundle_is_refused_also_while_the_context_is_held() {
        let mut joined = Joined::new();
        let first = newest(&joined.pki);
        let (second, third) = (joined.next(), joined.next());
        joined.put(&second, 0).unwrap();
        let _held = joined.market.context.lock().unwrap();
        let asked = second.open().unwrap().sequence;
        assert!(matches!(joined.put(&first, asked), Err(RenewalError::Trust(Refused::Older { .. }))));
        assert!(matches!(joined.put(&second, asked), Ok(Put::InUse)));
        assert!(matches!(joined.put(&third, asked), Ok(Put::Held)));
    }

    #[tokio::test]
    async fn age_of_the_news_outlasts_the_process() {
        let joined = Joined::new();
        let made_at = newest(&joined.pki).open().unwrap().created_at;
        let context = &joined.market.context;
        assert_eq!(joined.market.last_news(), Some(made_at), "of the bundle that came with the certificate");
        let note = |trust_at| Record { trust_at: Some(trust_at), ..Record::default() };
        note(made_at - Days::DAY).write(context, Uuid::nil()).unwrap();
        assert_eq!(joined.market.last_news(), Some(made_at));
        note(made_at + Days::DAY).write(context, Uuid::nil()).unwrap();
        assert_eq!(joined.market.last_news(), Some(made_at + Days::DAY));
        let now = clock::now();
        joined.market.note_news().await;
        assert!(joined.market.last_news().unwrap() >= now);
        // Another process is changing the context.
        let (noted, _busy) = (joined.market.last_news(), context.lock().unwrap());
        joined.market.note_news().await;
        assert_eq!(joined.market.last_news(), noted);
    }
}

//! Recovering from a change of roots that was missed, in the middle of a call.

use std::time::Duration;

use souk_certs::{clock::Clock, credentials::Credentials, random::Random};
use souk_enrolment::{context::Context, renewal};
use tokio::{sync::Mutex, time::Instant};

use crate::error::{Distrust, Error, Objection};

/// How long after an attempt there is no other.
const ATTEMPT_EVERY: Duration = Duration::from_secs(10);
/// How long the success of an attempt counts for other calls: those that failed together. One that fails later has another
/// cause, which it reports.
const TOGETHER: Duration = Duration::from_millis(500);

/// What a connection does about a certificate that one side does not accept any more.
#[derive(Debug)]
pub(crate) struct Recovery {
    context: Context,
    clock: Clock,
    random: Random,
    last: Mutex<Option<Attempt>>,
}

#[derive(Debug)]
struct Attempt {
    at: Instant,
    has_changed: bool,
}

impl Recovery {
    pub(crate) fn new(context: Context, clock: Clock, random: Random) -> Self {
        Self { context, clock, random, last: Mutex::default() }
    }

    /// Returns whether an error may be the consequence of roots that changed, or of a certificate that ended.
    pub(crate) fn may_help(error: &Error) -> bool {
        match error {
            Error::Untrusted { distrust, .. } => matches!(
                distrust,
                Distrust::Theirs(Objection::UnknownAuthority)
                    | Distrust::Ours(Objection::UnknownAuthority | Objection::OutOfDate)
            ),
            Error::NoneReached(_) => error.decisive().is_some_and(Self::may_help),
            _ => false,
        }
    }

    /// Brings the context up to date, and has the connection use it by `take_up`. Returns whether anything has changed, so
    /// that the call may succeed now.
    pub(crate) async fn run(&self, take_up: impl Fn(&Credentials) -> Result<(), Error>) -> bool {
        let mut last = self.last.lock().await;
        if let Some(attempt) = last.as_ref().filter(|attempt| attempt.at.elapsed() < ATTEMPT_EVERY) {
            return attempt.has_changed && attempt.at.elapsed() < TOGETHER;
        }
        let has_changed = self.attempt(take_up).await;
        *last = Some(Attempt { at: Instant::now(), has_changed });
        has_changed
    }

    async fn attempt(&self, take_up: impl Fn(&Credentials) -> Result<(), Error>) -> bool {
        let Self { context, clock, random, .. } = self;
        let before = context.number().ok();
        if let Err(error) = renewal::catch_up(context, *clock, *random).await {
            tracing::info!(%error, "the roots were not caught up with");
        }
        if let Err(error) = renewal::renew(context, *clock, *random).await {
            tracing::info!(%error, "the certificate was not renewed");
        }
        if context.number().ok() == before {
            return false;
        }
        let domain = context.description().ok().flatten().map(|found| found.trust_domain);
        let Some(domain) = domain else { return false };
        let loaded =
            Credentials::load(&context.credential_files(), &domain, clock.now()).map_err(Error::from);
        match loaded.and_then(|credentials| take_up(&credentials)) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the renewed context can't be used");
                false
            }
        }
    }
}

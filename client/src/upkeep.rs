//! Keeping a party's context up to date: renewing its certificate, and following what the authority says about roots and
//! revocations.
//!
//! A program that runs starts an [`Upkeep`]. One that makes a call and ends calls [`after_work`]. Either way,
//! [`Connection::follow_context`] catches up with roots that changed while the program was away: the call that finds out
//! is repeated then.

mod trust;

use std::time::Duration;

use souk_certs::{clock::Clock, identity::PeerCertificate, random::Random};
use souk_enrolment::{
    context::Context,
    renewal::{self, Outcome, Record, RenewalError},
};
use time::OffsetDateTime;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

pub use trust::TrustError;

use crate::Connection;

/// How often a program that runs looks whether the certificate is due.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// How often it asks the market for a newer trust bundle. It also asks after it has lost the market.
const TRUST_EVERY: Duration = Duration::from_secs(600);
/// The maximum wait before it asks after it has lost the market, at random below that: many have lost it together.
const AFTER_LOSS: Duration = Duration::from_secs(5);

/// The maximum time that a one-shot command spends on a renewal after its own work.
pub const RENEWAL_LIMIT: Duration = Duration::from_secs(3);
/// The maximum time that it spends on a newer trust bundle.
pub const TRUST_LIMIT: Duration = Duration::from_millis(500);
/// The remaining validity of a certificate below which a renewal that fails is reported, although it may still succeed.
pub const WARN_BELOW: time::Duration = time::Duration::days(14);

/// Keeps a context up to date until it is dropped.
///
/// A new certificate and new roots are written to the context's files. To use them on open connections, follow the
/// files with a [`Renewal`](crate::Renewal).
#[derive(Debug)]
pub struct Upkeep {
    task: JoinHandle<()>,
}

impl Upkeep {
    /// Starts looking after a context: at once, then every hour for the certificate and every ten minutes, and after the
    /// market was lost, for a newer trust bundle. Problems are reported as text. Must be called within a tokio runtime.
    pub fn start(
        context: Context,
        connection: &Connection,
        clock: Clock,
        random: Random,
        report: impl Fn(String) + Send + Sync + 'static,
    ) -> Self {
        let keeper = Keeper { context, connection: connection.silent(), clock, random };
        Self { task: tokio::spawn(async move { keeper.run(report).await }) }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a problem is about.
#[derive(Clone, Copy)]
enum About {
    Certificate,
    Trust,
}

/// The problems that were reported last. Each is reported once, and again after it was gone, however often there is another
/// one about something else.
#[derive(Default)]
struct Reported {
    certificate: Option<String>,
    trust: Option<String>,
}

impl Reported {
    /// Returns the problem if it is to be reported.
    fn news(&mut self, about: About, problem: Option<String>) -> Option<String> {
        let last = match about {
            About::Certificate => &mut self.certificate,
            About::Trust => &mut self.trust,
        };
        let before = std::mem::replace(last, problem.clone());
        problem.filter(|_| before != *last)
    }
}

struct Keeper {
    context: Context,
    connection: Connection,
    clock: Clock,
    random: Random,
}

impl Keeper {
    async fn run(&self, report: impl Fn(String)) {
        let mut losses = self.connection.losses();
        let (mut look, mut trust) = (interval(LOOK_EVERY), interval(TRUST_EVERY));
        for ticks in [&mut look, &mut trust] {
            // A machine that was asleep catches up with one look, not with one for each hour.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut reported = Reported::default();
        loop {
            let (about, problem) = tokio::select! {
                _ = look.tick() => {
                    let renewed = renewal::renew(&self.context, self.clock, self.random).await;
                    (About::Certificate, renewed.err().and_then(|error| self.worth_reporting(&error)))
                }
                _ = trust.tick() => (About::Trust, self.trust().await),
                lost = losses.changed() => {
                    if lost.is_err() {
                        return;
                    }
                    sleep(AFTER_LOSS.mul_f64(self.random.unit())).await;
                    (About::Trust, self.trust().await)
                }
            };
            if let Some(problem) = reported.news(about, problem) {
                report(format!("warning: {problem}"));
            }
        }
    }

    async fn trust(&self) -> Option<String> {
        match trust::ask(&self.connection, &self.context, self.clock, self.random).await {
            Err(error) if error.is_suspicious() => {
                tracing::warn!(%error, "a trust bundle was refused");
                Some(format!("the market's trust bundle was refused: {error}"))
            }
            Err(error) => {
                tracing::debug!(%error, "no newer trust bundle");
                None
            }
            Ok(()) => None,
        }
    }

    fn worth_reporting(&self, error: &RenewalError) -> Option<String> {
        tracing::info!(%error, "the certificate was not renewed");
        warning(&self.context, error, self.clock.now())
    }
}

/// Looks after a context at the end of a program: asks for a newer trust bundle if there is a connection and nobody has
/// asked for an hour, and renews the certificate if it is due and nobody has tried for an hour, or since the bundle. Takes
/// at most [`TRUST_LIMIT`] and [`RENEWAL_LIMIT`].
///
/// Returns what the user should know: that the certificate ends within [`WARN_BELOW`] and was not renewed, that it can't be
/// renewed any more ([`RenewalError::is_final`]), which is said after each command, or that the market has sent a trust bundle
/// that proves nothing.
pub async fn after_work(
    context: &Context,
    connection: Option<&Connection>,
    clock: Clock,
    random: Random,
) -> Option<String> {
    let record = Record::read(context);
    let now = clock.now();
    let before = context.number().ok();
    let mut problem = None;
    if let Some(connection) = connection.filter(|_| record.is_time_for_trust(now)) {
        // Before the question, so that a market that does not answer costs the time once an hour.
        let asked = Record { trust_at: Some(now), ..record.clone() };
        if let Err(error) = asked.write(context, random.uuid_v4()) {
            tracing::info!(%error, "the context can't be written");
            return None;
        }
        let connection = connection.silent();
        let asked = timeout(TRUST_LIMIT, trust::ask(&connection, context, clock, random)).await;
        problem =
            asked.ok().and_then(Result::err).filter(TrustError::is_suspicious).map(|error| error.to_string());
    }
    // A bundle may have another root, of which the certificate is to be.
    if !record.is_time_to_look(now) && context.number().ok() == before {
        return problem.or_else(|| refused(context, &record));
    }
    match timeout(RENEWAL_LIMIT, renewal::renew(context, clock, random)).await {
        Ok(Ok(Outcome::Renewed(_) | Outcome::NotDue)) => problem,
        Ok(Ok(Outcome::Busy)) => problem.or_else(|| refused(context, &record)),
        Ok(Err(error)) => problem.or_else(|| warning(context, &error, now)),
        Err(_) => {
            let late = format!("the authority did not answer within {RENEWAL_LIMIT:?}");
            problem.or_else(|| refused(context, &record)).or_else(|| {
                let until = certificate(context)?.not_after();
                (until - now < WARN_BELOW).then(|| unrenewed(until, &late))
            })
        }
    }
}

/// Returns what to say about a renewal that failed; `None` if it may still succeed, and there is enough time for that.
fn warning(context: &Context, error: &RenewalError, now: OffsetDateTime) -> Option<String> {
    let until = certificate(context)?.not_after();
    (error.is_final() || until - now < WARN_BELOW).then(|| unrenewed(until, error))
}

/// Returns what to say if an earlier look has found that the certificate can't be renewed any more.
fn refused(context: &Context, record: &Record) -> Option<String> {
    let certificate = certificate(context)?;
    record.refusal_of(&certificate).map(|cause| unrenewed(certificate.not_after(), &cause))
}

fn unrenewed(until: OffsetDateTime, cause: &dyn std::fmt::Display) -> String {
    format!("your certificate is valid until {} and was not renewed: {cause}", until.date())
}

/// Returns the context's certificate, if it can be read.
fn certificate(context: &Context) -> Option<PeerCertificate> {
    let domain = context.description().ok().flatten()?.trust_domain;
    context.certificate(&domain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_reported_once_whatever_happens_to_others() {
        let mut reported = Reported::default();
        let due = || Some("not renewed".to_owned());
        let mut news = |about, problem| reported.news(about, problem).is_some();
        assert!(news(About::Certificate, due()));
        assert!(!news(About::Trust, None));
        assert!(!news(About::Certificate, due()), "the other timer has nothing to do with it");
        assert!(news(About::Trust, Some("refused".to_owned())));
        assert!(!news(About::Certificate, due()));
        assert!(!news(About::Certificate, None));
        assert!(news(About::Certificate, due()), "it was gone");
    }
}

//! Keeping a party's context up to date: renewing its certificate, and following what the authority says about roots and
//! revocations.
//!
//! A program that runs starts an [`Upkeep`]. One that makes a call and ends calls [`after_work`]. Either way,
//! [`Connection::follow_context`] catches up with roots that changed while the program was away: the call that finds out
//! is repeated then.

mod trust;

use std::time::Duration;

use souk_certs::{clock::Clock, random::Random};
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
/// The remaining validity of a certificate below which a renewal that fails is reported.
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
        let mut reported = None;
        loop {
            let problem = tokio::select! {
                _ = look.tick() => {
                    let renewed = renewal::renew(&self.context, self.clock, self.random).await;
                    renewed.err().and_then(|error| self.worth_reporting(&error))
                }
                _ = trust.tick() => self.trust().await,
                lost = losses.changed() => {
                    if lost.is_err() {
                        return;
                    }
                    sleep(AFTER_LOSS.mul_f64(self.random.unit())).await;
                    self.trust().await
                }
            };
            // The same problem is reported once, and again after it was gone.
            if problem.is_some() && problem != reported {
                problem.iter().for_each(|problem| report(format!("warning: {problem}")));
            }
            reported = problem;
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
/// Returns what the user should know: that the certificate ends within [`WARN_BELOW`] and was not renewed, or that the
/// market has sent a trust bundle that proves nothing.
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
        return problem;
    }
    match timeout(RENEWAL_LIMIT, renewal::renew(context, clock, random)).await {
        Ok(Ok(Outcome::Renewed(_) | Outcome::NotDue | Outcome::Busy)) => problem,
        Ok(Err(error)) => problem.or_else(|| warning(context, &error, now)),
        Err(_) => {
            let late = format!("the authority did not answer within {RENEWAL_LIMIT:?}");
            problem.or_else(|| ending_soon(context, now).map(|until| unrenewed(until, &late)))
        }
    }
}

/// Returns what to say about a renewal that failed; `None` while there is enough time for others.
fn warning(context: &Context, error: &RenewalError, now: OffsetDateTime) -> Option<String> {
    ending_soon(context, now).map(|until| unrenewed(until, error))
}

fn unrenewed(until: OffsetDateTime, cause: &dyn std::fmt::Display) -> String {
    format!("your certificate is valid until {} and was not renewed: {cause}", until.date())
}

/// Returns the end of the context's certificate, if that is near.
fn ending_soon(context: &Context, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let domain = context.description().ok().flatten()?.trust_domain;
    let until = context.certificate(&domain).ok()?.not_after();
    (until - now < WARN_BELOW).then_some(until)
}

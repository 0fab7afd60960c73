//! Commands that are carried out for several ids, one call each, over the same connection.

use std::time::Duration;

use souk_cli::{CliSession, Failure, Shown, exit, plain};
use souk_proto::Reason;
use tokio::time::sleep;

use super::ids::Picked;

/// The wait before a rate-limited call is repeated, if the market does not say how long to wait.
const PAUSE: Duration = Duration::from_secs(1);
/// The maximum total wait of one call for the rate limit.
const PATIENCE: Duration = Duration::from_secs(30);

/// The outcomes of the calls so far.
#[derive(Default)]
pub(crate) struct Tally {
    done: usize,
    left_out: usize,
    failed: usize,
    /// The exit code of the first that failed.
    exit_code: Option<u8>,
}

impl Tally {
    /// Counts a call that was carried out.
    pub(crate) fn done(&mut self) {
        self.done += 1;
    }

    /// Reports and counts a call that was refused. A refusal that concerns only this row does not stop the command.
    ///
    /// # Errors
    /// Returns a failure that the other calls would have as well, such as an unreachable market.
    pub(crate) fn refused(
        &mut self,
        session: &CliSession,
        (noun, picked): (&str, Picked),
        failure: Failure,
    ) -> Result<(), Failure> {
        let exit_code = failure.exit_code();
        if !matches!(exit_code, exit::USAGE | exit::NOT_FOUND | exit::CONFLICT) {
            session.printer().say(&format!("{} done before this failed", self.done));
            return Err(failure);
        }
        if picked.is_of_range && is_not_found(&failure) {
            self.left_out += 1;
            return Ok(());
        }
        self.failed += 1;
        self.exit_code.get_or_insert(exit_code);
        session.printer().say(&format!("{noun} {}: {}", picked.id, plain(&failure.to_string())));
        Ok(())
    }

    /// Ends the command: an error if a call was refused, or nothing was found. `done` is what was done to the rows,
    /// such as "shipped".
    ///
    /// # Errors
    /// Not everything was done.
    pub(crate) fn end(self, session: &CliSession, noun: &str, done: &str) -> Result<(), Failure> {
        if self.left_out > 0 {
            session.printer().say(&format!("{} numbers of the range are not yours", self.left_out));
        }
        match (self.exit_code, self.done) {
            (Some(exit_code), _) => {
                let all = self.done + self.failed;
                let message = format!("{} of {all} {noun}s were not {done}", self.failed);
                Err(Failure::undone(message, Some("see the reason of each above"), exit_code))
            }
            (None, 0) => {
                let message = format!("none of these {noun}s is yours");
                Err(Failure::undone(message, None, exit::NOT_FOUND))
            }
            (None, _) => Ok(()),
        }
    }
}

pub(super) fn is_not_found(failure: &Failure) -> bool {
    failure.exit_code() == exit::NOT_FOUND
}

/// Carries out a call for each of several ids, and prints the resulting rows. A single id fails with its own error and
/// prints one row. `noun` and `done` are words for messages, such as "order" and "shipped".
///
/// # Errors
/// Not everything was done; the reasons were reported.
pub(crate) async fn each<T: Shown>(
    session: &CliSession,
    (noun, done): (&str, &str),
    picked: &[Picked],
    act: impl AsyncFn(i64) -> Result<T, Failure>,
) -> Result<(), Failure> {
    session.printer().expects::<T>()?;
    if let [Picked { id, is_of_range: false }] = picked {
        return session.printer().one(&act(*id).await?);
    }
    let (mut rows, mut tally, mut fatal) = (Vec::new(), Tally::default(), None);
    for picked in picked {
        match paced(async || act(picked.id).await).await {
            Ok(row) => {
                tally.done();
                rows.push(row);
            }
            Err(failure) => {
                if let Err(failure) = tally.refused(session, (noun, *picked), failure) {
                    fatal = Some(failure);
                    break;
                }
            }
        }
    }
    if !rows.is_empty() {
        session.printer().list(&rows)?;
    }
    match fatal {
        Some(failure) => Err(failure),
        None => tally.end(session, noun, done),
    }
}

/// Makes a call, and repeats it at the market's pace while it is rate-limited. The client library gives up after a few
/// attempts; here, many calls follow that would be rate-limited as well.
///
/// # Errors
/// Returns the failure of the call.
pub(crate) async fn paced<T>(call: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut waited = Duration::ZERO;
    loop {
        let failure = match call().await {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        let limited = failure.refusal().filter(|refusal| refusal.reason() == Some(Reason::RateLimited));
        let pause = limited.map(|refusal| refusal.retry_after().unwrap_or(PAUSE).max(PAUSE / 100));
        match pause {
            Some(pause) if waited < PATIENCE => {
                sleep(pause).await;
                waited += pause;
            }
            _ => return Err(failure),
        }
    }
}

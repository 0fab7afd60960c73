//! Keeps one access token and renews it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use http::HeaderValue;
use souk_certs::random::Random;
use souk_proto::{
    metadata::BEARER_PREFIX,
    v1::{IssueTokenRequest, IssueTokenResponse, account_service_client::AccountServiceClient},
};
use tokio::time::Instant;
use tonic::Status;

use super::Session;
use crate::{
    backoff::{requested, scaled},
    error::Refusal,
};

/// The timeout of IssueToken. A call's own deadline may be earlier.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The wait after a renewal that failed while the old token is still valid; it doubles up to the second value.
const RENEW_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// An access token with its times on this machine's monotonic clock, so that a wrong system clock does no
/// harm.
pub(crate) struct Token {
    bearer: HeaderValue,
    renew_at: Instant,
    end: Instant,
}

/// The state of a token at a given time.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Fresh,
    /// At least two thirds of its lifetime have passed.
    Ageing,
    Over,
}

type Fetched = Result<Arc<Token>, Status>;
type Fetch = Shared<BoxFuture<'static, Fetched>>;

/// Fetches a token when one is needed and none is valid. Concurrent callers share one IssueToken; no lock is
/// held while it is in progress.
pub(crate) struct TokenKeeper {
    account: AccountServiceClient<Session>,
    random: Random,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// The fetch in progress. It lives as long as a caller waits for it: when the last one gives up, it is
    /// dropped, and the next caller starts another.
    fetch: Option<WeakShared<BoxFuture<'static, Fetched>>>,
    failures_in_a_row: u32,
    /// Until when an ageing token is used without another attempt to renew it.
    pause_until: Option<Instant>,
}

impl TokenKeeper {
    /// Creates a keeper for the token of the session's party. `random` spreads the renewals of many clients.
    pub(crate) fn new(session: Session, random: Random) -> Arc<Self> {
        Arc::new(Self { account: AccountServiceClient::new(session), random, state: Mutex::default() })
    }

    /// Returns a token that will be valid for some time.
    ///
    /// # Errors
    /// The status with which IssueToken failed, if there is no earlier token that is still valid.
    pub(crate) async fn token(self: &Arc<Self>) -> Fetched {
        let now = Instant::now();
        // A block, so that the lock is released before the fetch is awaited.
        let (fetch, ageing) = {
            let mut state = self.state();
            let ageing = match state.token.clone() {
                None => None,
                Some(token) => match token.standing(now) {
                    Standing::Fresh => return Ok(token),
                    // One caller renews it; the others keep using the current one.
                    Standing::Ageing if state.is_fetching() || state.is_pausing(now) => return Ok(token),
                    Standing::Ageing => Some(token),
                    Standing::Over => None,
                },
            };
            (self.join_fetch(&mut state), ageing)
        };
        match (fetch.await, ageing) {
            // The old token is still valid, so a failed renewal must not fail the call.
            (Err(status), Some(token)) => {
                tracing::debug!(code = ?status.code(), "the token could not be renewed yet");
                Ok(token)
            }
            (fetched, _) => fetched,
        }
    }

    /// Drops a token that the market rejected, unless it has been replaced meanwhile.
    pub(crate) fn forget(&self, refused: &Arc<Token>) {
        let mut state = self.state();
        // Calls that failed together all report the same token. The later ones must not drop its successor.
        if state.token.as_ref().is_some_and(|token| Arc::ptr_eq(token, refused)) {
            state.token = None;
        }
    }

    fn join_fetch(self: &Arc<Self>, state: &mut State) -> Fetch {
        if let Some(fetch) = state.fetch.as_ref().and_then(WeakShared::upgrade) {
            return fetch;
        }
        let fetch = Arc::clone(self).fetch().boxed().shared();
        // Weak, because the state belongs to the keeper, which the fetch holds: a strong one would be a cycle.
        state.fetch = fetch.downgrade();
        fetch
    }

    async fn fetch(self: Arc<Self>) -> Fetched {
        let asked = Instant::now();
        let mut request = tonic::Request::new(IssueTokenRequest {});
        request.set_timeout(FETCH_TIMEOUT);
        let answer = self.account.clone().issue_token(request).await;
        let fetched = answer.and_then(|answer| Token::read(&answer.into_inner(), asked, self.random.unit()));
        let fetched = fetched.map(Arc::new);
        let mut state = self.state();
        // Cleared with the token under one lock; in between, a caller would start a second fetch.
        state.fetch = None;
        match &fetched {
            Ok(token) => {
                state.token = Some(Arc::clone(token));
                state.failures_in_a_row = 0;
            }
            Err(status) => state.pause(status, self.random.unit()),
        }
        fetched
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state consistent, so a panic elsewhere does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_fetching(&self) -> bool {
        self.fetch.as_ref().is_some_and(|fetch| fetch.upgrade().is_some())
    }

    fn is_pausing(&self, now: Instant) -> bool {
        self.pause_until.is_some_and(|until| now < until)
    }

    /// Postpones the next renewal. Without it, every call would add an IssueToken to the load of a market that can't
    /// issue one.
    fn pause(&mut self, status: &Status, jitter: f64) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let (first, longest) = RENEW_AGAIN;
        let own = scaled(first, longest, self.failures_in_a_row, jitter);
        let wait = requested(Refusal::new(status).retry_after(), own, jitter);
        self.pause_until = Instant::now().checked_add(wait);
    }
}

impl Token {
    /// Returns the value of the `authorization` header.
    pub(crate) fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }

    /// Converts the response. The lifetime is counted from the request, which is earlier than the issue. `jitter`, from
    /// 0 to 1, puts the renewal between two thirds and three quarters of it, so that clients that got their tokens
    /// together do not renew them together.
    fn read(answer: &IssueTokenResponse, asked: Instant, jitter: f64) -> Result<Self, Status> {
        let malformed = |what: &str| Status::internal(format!("the market issued a token {what}"));
        let mut bearer = HeaderValue::try_from(format!("{BEARER_PREFIX}{}", answer.access_token))
            .map_err(|_| malformed("that is no text"))?;
        // Keeps it out of debug output and out of the HPACK table (RFC 7541, section 7.1.3).
        bearer.set_sensitive(true);
        let (Some(issued), Some(expires)) = (&answer.issue_time, &answer.expire_time) else {
            return Err(malformed("without its times"));
        };
        // Only the difference of the two times is used, so the clocks of market and client need not agree.
        let seconds = expires.seconds.saturating_sub(issued.seconds);
        let nanos = i64::from(expires.nanos) - i64::from(issued.nanos);
        let life = u64::try_from(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000))
            .map(Duration::from_millis)
            .map_err(|_| malformed("that ends before it begins"))?;
        // The lifetime is capped at a day, because the clock can't represent very long ones. Then the token
        // is renewed early.
        let life = life.min(Duration::from_secs(86_400));
        let renew_at = asked + life * 2 / 3 + (life / 12).mul_f64(jitter.clamp(0.0, 1.0));
        Ok(Self { bearer, renew_at, end: asked + life })
    }

    fn standing(&self, now: Instant) -> Standing {
        if now < self.renew_at {
            Standing::Fresh
        } else if now < self.end {
            Standing::Ageing
        } else {
            Standing::Over
        }
    }
}

impl fmt::Debug for TokenKeeper {
    /// Leaves out the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeeper").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(issued: (i64, i32), expires: (i64, i32)) -> IssueTokenResponse {
        let time = |(seconds, nanos)| prost_types::Timestamp { seconds, nanos };
        IssueTokenResponse {
            access_token: "a.b.c".into(),
            issue_time: Some(time(issued)),
            expire_time: Some(time(expires)),
        }
    }

    #[test]
    fn a_token_ages_between_two_thirds_and_three_quarters_of_its_life() {
        let asked = Instant::now();
        let answer = answer((1_000, 500_000_000), (1_600, 500_000_000));
        let token = Token::read(&answer, asked, 0.0).expect("a token");
        let last = Token::read(&answer, asked, 1.0).expect("a token");
        let at = |seconds| token.standing(asked + Duration::from_secs(seconds));
        assert_eq!(at(399), Standing::Fresh);
        assert_eq!(at(400), Standing::Ageing);
        assert_eq!(last.standing(asked + Duration::from_secs(449)), Standing::Fresh);
        assert_eq!(last.standing(asked + Duration::from_secs(450)), Standing::Ageing);
        assert_eq!(at(599), Standing::Ageing);
        assert_eq!(at(600), Standing::Over);
        assert_eq!(token.bearer(), "Bearer a.b.c");
        assert!(token.bearer().is_sensitive());
    }

    #[test]
    fn a_token_that_makes_no_sense_is_refused() {
        let now = Instant::now();
        assert!(Token::read(&answer((10, 0), (9, 0)), now, 0.5).is_err());
        assert!(
            Token::read(&IssueTokenResponse { issue_time: None, ..answer((1, 0), (2, 0)) }, now, 0.5)
                .is_err()
        );
        let broken = IssueTokenResponse { access_token: "a\nb".into(), ..answer((1, 0), (2, 0)) };
        assert!(Token::read(&broken, now, 0.5).is_err());
        assert!(Token::read(&answer((0, 0), (i64::MAX, 0)), now, 1.0).is_ok());
    }
}

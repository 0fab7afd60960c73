//! The retry budget of a connection, which keeps retries from multiplying the load of a market in trouble.
//!
//! It is the retry throttling of gRPC ([gRFC A6]): a bucket of tokens that is full at first. A failure that would be
//! retried takes one token; an answer adds a tenth. Calls are retried while more than half of the tokens are there. A
//! market that fails every call thus gets few retries, and in the long run at most one for ten answered calls.
//!
//! An attempt that moves on to another address of the market takes no token: an address that failed is
//! [left out](crate::balance) for a while, which bounds such attempts. Streams are reopened with a back-off of up to
//! [half a minute](crate::MAX_RECONNECT), whatever the budget.
//!
//! [gRFC A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs

use std::sync::atomic::{AtomicU32, Ordering};

/// The size of the bucket.
pub const MAX_TOKENS: u32 = 100;

/// How many answered calls earn one retry.
pub const ANSWERS_PER_RETRY: u32 = 10;

/// The number of tokens at which retries stop.
const THRESHOLD: u32 = MAX_TOKENS / 2;

/// The tokens of one connection, which all of its calls share.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// In tenths of a token, so that every operation is on whole numbers.
    parts: AtomicU32,
}

impl RetryBudget {
    /// Creates a full bucket.
    pub(crate) fn full() -> Self {
        Self { parts: AtomicU32::new(MAX_TOKENS * ANSWERS_PER_RETRY) }
    }

    /// Records that the market answered, with a result or with a refusal that is not retried.
    pub(crate) fn answered(&self) {
        let full = MAX_TOKENS * ANSWERS_PER_RETRY;
        let _ = self.parts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |parts| {
            // Nothing is written while the bucket is full, as it nearly always is.
            (parts < full).then(|| parts + 1)
        });
    }

    /// Records a failure that would be retried. Returns whether it may be.
    #[must_use]
    pub(crate) fn spend(&self) -> bool {
        let take = |parts: u32| Some(parts.saturating_sub(ANSWERS_PER_RETRY));
        let before = self.parts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        // The update never declines, so that both variants hold the value before it.
        let before = before.unwrap_or_else(|parts| parts);
        before.saturating_sub(ANSWERS_PER_RETRY) > THRESHOLD * ANSWERS_PER_RETRY
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_market_that_fails_every_call_gets_few_retries() {
        let budget = RetryBudget::full();
        let allowed = (0..10_000).filter(|_| budget.spend()).count();
        assert_eq!(allowed, (MAX_TOKENS - THRESHOLD - 1) as usize);
    }

    #[test]
    fn ten_answers_earn_one_retry() {
        let budget = RetryBudget::full();
        while budget.spend() {}
        for _ in 0..ANSWERS_PER_RETRY {
            assert!(!budget.spend());
            (0..ANSWERS_PER_RETRY).for_each(|_| budget.answered());
        }
        (0..ANSWERS_PER_RETRY).for_each(|_| budget.answered());
        assert!(!budget.spend(), "that was the failure's own token");
        (0..2 * ANSWERS_PER_RETRY).for_each(|_| budget.answered());
        assert!(budget.spend());
    }

    #[test]
    fn no_more_tokens_are_kept_than_the_bucket_holds() {
        let budget = RetryBudget::full();
        (0..10_000).for_each(|_| budget.answered());
        let allowed = (0..10_000).filter(|_| budget.spend()).count();
        assert_eq!(allowed, (MAX_TOKENS - THRESHOLD - 1) as usize);
    }

    proptest! {
        #[test]
        fn retries_are_at_most_a_tenth_of_the_answers_and_the_bucket(answers in prop::collection::vec(any::<bool>(), 0..4_000)) {
            let budget = RetryBudget::full();
            let (mut answered, mut retried) = (0, 0);
            for is_answered in answers {
                if is_answered {
                    budget.answered();
                    answered += 1;
                } else if budget.spend() {
                    retried += 1;
                }
            }
            prop_assert!(retried <= answered / ANSWERS_PER_RETRY + MAX_TOKENS - THRESHOLD, "{retried} of {answered}");
        }
    }
}

//! Rate limits per party, by the generic cell rate algorithm (GCRA).

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use quick_cache::sync::Cache;
use souk_certs::identity::{Identity, Role};

use crate::config::LimitConfig;

/// Sustained rate of calls per second of an operator, and of a market's certificate. They call rarely, by hand or by a
/// health check; a loop gone wrong must not take the market down.
const OTHERS_PER_SECOND: u32 = 100;
/// Maximum number of parties whose rate is tracked. An evicted party gains at most one full burst.
const PARTIES: usize = 65_536;

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, NoOpMiddleware>;

pub(super) struct Rates {
    sellers: Quota,
    buyers: Quota,
    others: Quota,
    clock: DefaultClock,
    limiters: Cache<Identity, Arc<Limiter>>,
}

impl Rates {
    pub(super) fn new(config: &LimitConfig) -> Self {
        let quota = |per_second: u32| {
            // Loading the settings has rejected 0.
            let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
            Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(config.burst_calls))
        };
        Self {
            sellers: quota(config.seller_calls_per_second),
            buyers: quota(config.buyer_calls_per_second),
            others: quota(OTHERS_PER_SECOND),
            clock: DefaultClock::default(),
            limiters: Cache::new(PARTIES),
        }
    }

    /// Counts a call. Returns the time to wait if it exceeds the limit.
    pub(super) fn count(&self, party: Identity) -> Result<(), Duration> {
        // A bounded cache of single limiters. The keyed limiter of `governor` grows with every key until somebody shrinks it.
        let limiter = match self.limiters.get(&party) {
            Some(limiter) => limiter,
            None => {
                let quota = match party.role() {
                    Role::Seller => self.sellers,
                    Role::Buyer => self.buyers,
                    Role::Operator | Role::Market => self.others,
                };
                let fresh = Arc::new(RateLimiter::direct_with_clock(quota, self.clock.clone()));
                // Two threads may both insert at first contact. The later one wins, which costs at most one
                // burst and saves a lock on every call.
                self.limiters.insert(party, Arc::clone(&fresh));
                fresh
            }
        };
        limiter.check().map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

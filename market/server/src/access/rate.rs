//! How much one party may ask for: a generic cell rate algorithm (GCRA) per party.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use quick_cache::sync::Cache;
use souk_domain::{PartyId, Role};

use crate::config::LimitConfig;

/// How many parties' rates are kept. A party that drops out starts with a full burst, no more.
const PARTIES: usize = 65_536;

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, NoOpMiddleware>;

pub(super) struct Rates {
    sellers: Quota,
    buyers: Quota,
    clock: DefaultClock,
    limiters: Cache<PartyId, Arc<Limiter>>,
}

impl Rates {
    pub(super) fn new(config: &LimitConfig) -> Self {
        let quota = |per_second: u32| {
            // Checked when the settings were loaded; 1 is the least that makes sense.
            let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
            Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(config.burst_calls))
        };
        Self {
            sellers: quota(config.seller_calls_per_second),
            buyers: quota(config.buyer_calls_per_second),
            clock: DefaultClock::default(),
            limiters: Cache::new(PARTIES),
        }
    }

    /// Counts a call; when it is one too many, says how long to wait.
    pub(super) fn count(&self, party: PartyId, role: Role) -> Result<(), Duration> {
        let limiter = match self.limiters.get(&party) {
            Some(limiter) => limiter,
            None => {
                let quota = match role {
                    Role::Seller => self.sellers,
                    Role::Buyer => self.buyers,
                };
                let fresh = Arc::new(RateLimiter::direct_with_clock(quota, self.clock.clone()));
                self.limiters.insert(party, Arc::clone(&fresh));
                fresh
            }
        };
        limiter.check().map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

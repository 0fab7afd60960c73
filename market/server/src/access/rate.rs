//! Rate limits per party, by the generic cell rate algorithm (GCRA).

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use quick_cache::sync::Cache;
use souk_certs::{
    acceptor::PeerInfo,
    identity::{Identity, Role},
};
use souk_proto::Reason;
use tonic::Status;

use crate::{config::LimitConfig, wire};

/// Sustained rate of calls per second of an operator, and of a market's certificate. They call rarely, by hand or by a
/// health check; a loop gone wrong must not take the market down. It is apart from the parties' rates, so that operators
/// can act while parties flood the market.
const OTHERS_PER_SECOND: u32 = 100;
/// Maximum number of parties whose rate is tracked. An evicted party gains at most one full burst.
const PARTIES: usize = 65_536;

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, NoOpMiddleware>;

/// Counts the calls of each party. Clones share the counts.
#[derive(Clone)]
pub struct CallRates(Arc<Shared>);

struct Shared {
    sellers: Quota,
    buyers: Quota,
    others: Quota,
    clock: DefaultClock,
    limiters: Cache<Identity, Arc<Limiter>>,
}

impl fmt::Debug for CallRates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallRates").finish_non_exhaustive()
    }
}

impl CallRates {
    /// Creates empty counts with the rates of the settings.
    pub fn new(config: &LimitConfig) -> Self {
        let quota = |per_second: u32| {
            // Loading the settings has rejected 0.
            let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
            Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(config.burst_calls))
        };
        Self(Arc::new(Shared {
            sellers: quota(config.seller_calls_per_second),
            buyers: quota(config.buyer_calls_per_second),
            others: quota(OTHERS_PER_SECOND),
            clock: DefaultClock::default(),
            limiters: Cache::new(PARTIES),
        }))
    }

    /// Counts a call by the party of the connection's certificate, which TLS has verified, and not by `x-party-id`,
    /// with which a caller could use up another party's share. Returns the time to wait if the call exceeds the rate.
    pub fn count(&self, peer: &PeerInfo) -> Result<(), Duration> {
        let Self(shared) = self;
        let party = peer.certificate.identity();
        // A bounded cache of single limiters. The keyed limiter of `governor` grows with every key until somebody shrinks it.
        let limiter = match shared.limiters.get(&party) {
            Some(limiter) => limiter,
            None => {
                let quota = match party.role() {
                    Role::Seller => shared.sellers,
                    Role::Buyer => shared.buyers,
                    Role::Operator | Role::Market => shared.others,
                };
                let fresh = Arc::new(RateLimiter::direct_with_clock(quota, shared.clock.clone()));
                // Two threads may both insert at first contact. The later one wins, which costs at most one
                // burst and saves a lock on every call.
                shared.limiters.insert(party, Arc::clone(&fresh));
                fresh
            }
        };
        limiter.check().map_err(|not_until| not_until.wait_time_from(shared.clock.now()))
    }
}

/// Returns the status of a call that exceeds its party's rate.
pub fn rate_limited(wait: Duration) -> Status {
    wire::try_again(Reason::RateLimited, "you send more calls than your share; slow down", wait)
}

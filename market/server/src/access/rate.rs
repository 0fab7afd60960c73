//! Rate limits per party, by the generic cell rate algorithm (GCRA).

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use quick_cache::sync::Cache;
use souk_certs::identity::{Identity, Role};
use souk_proto::Reason;
use tonic::Status;

use crate::{
    by_party::{ByParty, OfParty},
    config::LimitConfig,
    wire,
};

/// Sustained rate of calls per second of an operator, and of a market's certificate. They call rarely, by hand or by a
/// health check; a loop gone wrong must not take the market down. It is apart from the parties' rates, so that operators
/// can act while parties flood the market.
const OTHERS_PER_SECOND: u32 = 100;
/// Maximum number of parties without connections whose rate is still tracked. An evicted party gains at most one full
/// burst when it connects again.
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
    /// Of the parties with connections.
    connected: ByParty<Arc<Limiter>>,
    /// Of all parties. Bounded, unlike the keyed limiter of `governor`, which grows with every key until it is shrunk.
    limiters: Cache<Identity, Arc<Limiter>>,
}

/// The rate of a party. Its connections share it, so that a call finds it without a look-up. Clones are the same rate.
#[derive(Clone)]
pub struct PartyRate {
    limiter: Arc<OfParty<Arc<Limiter>>>,
    clock: DefaultClock,
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
            connected: ByParty::default(),
            limiters: Cache::new(PARTIES),
        }))
    }

    /// Returns the rate of a new connection of a party. The party is that of the connection's certificate, which TLS has
    /// verified, and not `x-party-id`, with which a caller could use up another party's share.
    pub fn of(&self, party: Identity) -> PartyRate {
        let Self(shared) = self;
        let limiter = shared.connected.of(party, || {
            shared.limiters.get(&party).unwrap_or_else(|| {
                let fresh =
                    Arc::new(RateLimiter::direct_with_clock(shared.quota(party), shared.clock.clone()));
                shared.limiters.insert(party, Arc::clone(&fresh));
                fresh
            })
        });
        PartyRate { limiter, clock: shared.clock.clone() }
    }
}

impl Shared {
    fn quota(&self, party: Identity) -> Quota {
        match party.role() {
            Role::Seller => self.sellers,
            Role::Buyer => self.buyers,
            Role::Operator | Role::Market | Role::Authority => self.others,
        }
    }
}

impl PartyRate {
    /// Counts a call. Returns the time to wait if it exceeds the rate.
    pub fn count(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

impl fmt::Debug for PartyRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartyRate").finish_non_exhaustive()
    }
}

/// Returns the status of a call that exceeds its party's rate.
pub fn rate_limited(wait: Duration) -> Status {
    wire::try_again(Reason::RateLimited, "you send more calls than your share; slow down", wait)
}

//! Who calls: the chain from certificate to caller.
//!
//! Every connection has a client certificate of our own authority (mutual TLS). On top of that, every
//! call is checked by the [`Guard`], a tonic interceptor, in this order:
//!
//! 1. certificate: parsed once per connection; still valid and not revoked at the time of the call,
//! 2. rate: the certificate's party may call at all now,
//! 3. party id: exactly one `x-party-id`, canonical, equal to the certificate's,
//!    and the party is not suspended,
//! 4. token: exactly one bearer token of bounded size, its header, signature and claims,
//! 5. binding: the token was issued to this very certificate, party and role, in the present epoch,
//! 6. role: the service is meant for it.
//!
//! What passes is a [`Caller`] in the request's extensions. Handlers never read metadata.

mod callback;
mod caller;
mod epochs;
mod guard;
mod keys;
mod rate;
mod suspended;
#[cfg(test)]
mod tests;
mod token;

use std::{collections::HashSet, sync::Arc};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use souk_domain::PartyId;
use souk_store::Standing;

pub use callback::CallbackPolicy;
pub use caller::{Caller, Operator, TokenInfo};
pub use guard::{Admission, Guard};
pub use keys::{TokenKeyError, TokenKeys};
pub use suspended::Suspended;
pub use token::{IssuedToken, TOKEN_LIFE, TokenError, TokenFault, Tokens, VerifiedToken};

use crate::{audit::Refusals, clock::Clock, config::LimitConfig};
use epochs::Epochs;
use rate::Rates;
use token::TokenPrint;

/// How many verified tokens are remembered, so that their signatures are checked once only.
const VERIFIED_TOKENS: usize = 65_536;

/// What the guards of all services share.
pub struct Access {
    tokens: Arc<Tokens>,
    revoked: ArcSwap<HashSet<Vec<u8>>>,
    epochs: Epochs,
    suspended: Suspended,
    rates: Rates,
    verified: Cache<TokenPrint, Arc<VerifiedToken>>,
    refusals: Refusals,
    clock: Clock,
}

/// What [`Access`] is made of.
pub struct AccessParts {
    /// Verifies tokens.
    pub tokens: Arc<Tokens>,
    /// Serial numbers of revoked certificates.
    pub revoked: Arc<HashSet<Vec<u8>>>,
    /// Parties whose tokens of an older epoch are void.
    pub epochs: Vec<(PartyId, i64)>,
    /// Parties that are shut out.
    pub suspended: Suspended,
    /// How much one party may ask for.
    pub rates: LimitConfig,
    /// Takes in who was turned away.
    pub refusals: Refusals,
    /// Tells the time.
    pub clock: Clock,
}

impl Access {
    /// Puts the chain together.
    pub fn open(parts: AccessParts) -> Self {
        Self {
            tokens: parts.tokens,
            revoked: ArcSwap::from(parts.revoked),
            epochs: Epochs::new(parts.epochs),
            suspended: parts.suspended,
            rates: Rates::new(&parts.rates),
            verified: Cache::new(VERIFIED_TOKENS),
            refusals: parts.refusals,
            clock: parts.clock,
        }
    }

    /// Takes a new set of revoked certificates over; it holds from the next call on.
    pub fn revoke(&self, serials: Arc<HashSet<Vec<u8>>>) {
        self.revoked.store(serials);
    }

    /// Verifies every token anew: the keys have changed.
    pub fn forget_tokens(&self) {
        self.verified.clear();
    }

    /// Shuts a party out, or lets it in again, and makes its tokens of an older epoch void, from the next
    /// call on.
    pub fn note_standing(&self, standing: &Standing) {
        let Standing { party, epoch, is_suspended } = *standing;
        if epoch > self.epochs.current(party) {
            self.epochs.raise(party, epoch);
        }
        if is_suspended != self.suspended.contains(party) {
            self.suspended.set(party, is_suspended);
        }
    }
}

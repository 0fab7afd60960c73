//! Authentication and authorization: from the certificate to the [`Caller`].
//!
//! Every connection has a client certificate of our own authority (mutual TLS). Before a request is routed,
//! `transport` counts it against its party's rate ([`PartyRate`]). Then the [`Guard`], a tonic interceptor, checks every
//! call in this order:
//!
//! 1. certificate: parsed once per connection; neither expired nor revoked at the time of the call,
//! 2. party id: exactly one `x-party-id`, canonical and equal to the certificate's, and the party is not suspended,
//! 3. token: exactly one bearer token of bounded size, with a valid header, signature and claims,
//! 4. binding: the token was issued to this certificate, party and role, in the current epoch,
//! 5. role: the service admits the role.
//!
//! [`KnownPeer`] remembers the results that can't change while the connection is open.
//!
//! The result is a [`Caller`] in the request's extensions. Handlers never read metadata.

mod callback;
mod caller;
mod epochs;
mod guard;
mod keys;
mod known_peer;
mod market_key;
mod published;
mod rate;
mod resolver;
mod suspended;
#[cfg(test)]
mod tests;
mod token;
mod unknown_key;

use std::{collections::HashSet, sync::Arc};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use souk_store::Standing;

pub use callback::CallbackPolicy;
pub use caller::{Caller, Operator, TokenInfo};
pub use epochs::Epochs;
pub use guard::{Admission, Guard};
pub use keys::{TokenKeyError, TokenKeys};
pub use known_peer::KnownPeer;
pub use published::{PublishError, PublishedKeys};
pub use rate::{CallRates, PartyRate, rate_limited};
pub use suspended::Suspended;
pub use token::{IssuedToken, TOKEN_LIFE, TokenError, TokenFault, Tokens, VerifiedToken};
pub use unknown_key::AwaitKeys;

use crate::{audit::Refusals, clock::Clock};
use token::TokenPrint;

/// Capacity of the cache of verified tokens, which spares repeated signature checks.
const VERIFIED_TOKENS: usize = 65_536;

/// The state shared by the guards of all services.
pub struct Access {
    tokens: Arc<Tokens>,
    published: Arc<PublishedKeys>,
    revoked: ArcSwap<HashSet<Vec<u8>>>,
    epochs: Epochs,
    suspended: Suspended,
    verified: Cache<TokenPrint, VerifiedToken>,
    refusals: Refusals,
    clock: Clock,
}

/// The dependencies of [`Access`].
pub struct AccessParts {
    /// Verifies tokens, and is shared with the service that issues them.
    pub tokens: Arc<Tokens>,
    /// The keys of other markets on the same store.
    pub published: Arc<PublishedKeys>,
    /// Serial numbers of revoked certificates, big-endian without leading zeros.
    pub revoked: Arc<HashSet<Vec<u8>>>,
    /// The epochs of parties, shared with the service that issues tokens.
    pub epochs: Epochs,
    /// The suspended parties, shared with other components.
    pub suspended: Suspended,
    /// Receives rejected calls for the audit log.
    pub refusals: Refusals,
    /// The clock against which certificates and tokens expire.
    pub clock: Clock,
}

impl Access {
    /// Creates the shared state of the guards.
    pub fn open(parts: AccessParts) -> Self {
        Self {
            tokens: parts.tokens,
            published: parts.published,
            revoked: ArcSwap::from(parts.revoked),
            epochs: parts.epochs,
            suspended: parts.suspended,
            verified: Cache::new(VERIFIED_TOKENS),
            refusals: parts.refusals,
            clock: parts.clock,
        }
    }

    /// Returns the keys of other markets on the same store.
    pub(crate) fn published(&self) -> Arc<PublishedKeys> {
        Arc::clone(&self.published)
    }

    /// Replaces the set of revoked certificates. It applies from the next call on.
    pub fn revoke(&self, serials: Arc<HashSet<Vec<u8>>>) {
        self.revoked.store(serials);
    }

    /// Clears the cache of verified tokens, after a change of keys.
    pub fn forget_tokens(&self) {
        // Only frees memory: the key generation is part of the cache key, so old results can no longer be found.
        self.verified.clear();
    }

    /// Applies a party's suspension and epoch. Both take effect at the next call. The epoch only ever rises, so
    /// standings may arrive in any order.
    pub fn note_standing(&self, standing: &Standing) {
        let Standing { party, epoch, is_suspended } = *standing;
        self.epochs.note(party, epoch);
        // Compared first, because a change copies the whole set, and polling reports the same standings again and again.
        if is_suspended != self.suspended.contains(party) {
            self.suspended.set(party, is_suspended);
        }
    }
}

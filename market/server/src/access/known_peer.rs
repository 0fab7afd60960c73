//! The peer of a connection, with what the guard has found out about it.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use souk_certs::acceptor::PeerInfo;
use souk_domain::Timestamp;
use uuid::{Uuid, fmt::Hyphenated};

use super::token::VerifiedToken;

/// The peer of a connection. The transport adds it to the extensions of each request, so that the guard does not repeat
/// the same work for each call. Clones are the same peer.
///
/// Nothing that can change while the connection is open is remembered: expiry, revocation, suspension and epoch are
/// checked at each call.
#[derive(Clone)]
pub struct KnownPeer(Arc<Known>);

struct Known {
    peer: PeerInfo,
    /// The end of the certificate.
    not_after: Timestamp,
    /// The only accepted form of `x-party-id`. `None` for a market, which has none.
    party_id: Option<[u8; Hyphenated::LENGTH]>,
    /// The last token of the connection that was verified.
    last: Mutex<Option<Remembered>>,
}

struct Remembered {
    /// The value of `authorization`, with the scheme.
    authorization: Box<[u8]>,
    /// The generation of the keys that verified it.
    generation: u64,
    verified: VerifiedToken,
}

impl KnownPeer {
    /// Remembers nothing yet about the peer of a new connection.
    pub fn new(peer: PeerInfo) -> Self {
        let not_after = peer.certificate.not_after().into();
        let party_id = peer.certificate.identity().uuid().map(canonical);
        Self(Arc::new(Known { peer, not_after, party_id, last: Mutex::default() }))
    }

    /// Returns the end of the certificate.
    pub(super) fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// Returns whether a value of `x-party-id` is the party's, in canonical form. Compared as text: parsing would also
    /// admit upper case, braces and `urn:uuid:`.
    pub(super) fn is_party_id(&self, value: &[u8]) -> bool {
        self.0.party_id.is_some_and(|own| own == value)
    }

    /// Returns the token of an `authorization` if it is the one that keys of this generation have verified last on this
    /// connection. Whether it is good now is still to be checked.
    pub(super) fn recall(&self, authorization: &[u8], generation: u64) -> Option<VerifiedToken> {
        let last = self.last();
        let last = last.as_ref().filter(|last| last.generation == generation)?;
        // In constant time, so that the time says nothing about a secret.
        verify_slices_are_equal(&last.authorization, authorization).ok().map(|()| last.verified)
    }

    /// Remembers a token that keys of this generation have verified for the certificate of this connection.
    pub(super) fn remember(&self, authorization: &[u8], generation: u64, verified: VerifiedToken) {
        *self.last() = Some(Remembered { authorization: authorization.into(), generation, verified });
    }

    /// Locks the last token. A poisoned lock is safe to use: it is replaced as a whole.
    fn last(&self) -> MutexGuard<'_, Option<Remembered>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn canonical(uuid: Uuid) -> [u8; Hyphenated::LENGTH] {
    let mut text = [0; Hyphenated::LENGTH];
    uuid.hyphenated().encode_lower(&mut text);
    text
}

impl Deref for KnownPeer {
    type Target = PeerInfo;

    fn deref(&self) -> &PeerInfo {
        &self.0.peer
    }
}

impl fmt::Debug for KnownPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token, which is a secret.
        f.debug_tuple("KnownPeer").field(&self.0.peer).finish_non_exhaustive()
    }
}
